"""Images that a task needs and that cannot be decoded, found before anything is trained. No torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from carft.core.commands import typed
from carft.core.errors import UserError, first_of
from carft.data.card import DataOptions
from carft.data.catalog import TaskCatalog
from carft.data.checking import NAMED
from carft.data.indexing import current_index, indexed
from carft.data.listing import unreadable
from carft.data.sets import DataSet

#: images of a data set up to which all are decoded
ALL = 20_000
#: images of a larger data set that are decoded, evenly spread
SAMPLE = 1_024
#: images below which decoding takes no time that a person notices
QUICK = 500


def require_readable(
    catalog: TaskCatalog,
    task: str,
    options: DataOptions,
    log: Callable[[str], None],
    known: dict[str, Mapping[Path, str]],
) -> None:
    """Raise ``UserError``, with names, if images that a task needs cannot be decoded, and are not to be left out.

    log: gets a sentence before many images are decoded. known: data set -> what :func:`find_unreadable` returned; the
    sets of this task are added.
    """
    if options.skip_unreadable:
        return
    needed, root, check = None, options.root or Path(), ("--data", str(options.root))
    if (named := catalog.named(task)) is not None:
        sets = catalog.own.table(task).sets(named.id_domains, named.ood_domains)
        needed = {path for index in sets.values() for path in index.paths}
        check = ("--tasks-file", named.file or "FILE")
    elif options.root is None:
        return
    for data_set in catalog.data_sets(task):
        if data_set.name not in known:
            known[data_set.name] = find_unreadable(data_set, root, log)
        base = root / data_set.folder
        images = (path for path in known[data_set.name] if needed is None or path in needed)
        if broken := [path.relative_to(base).as_posix() for path in images]:
            raise UserError(
                f"Images in '{base}' that the sweep needs cannot be decoded: {first_of(broken, NAMED)}.",
                "Replace them with complete copies, or leave them out with --skip-unreadable; records then name them. "
                f"For the reasons: {typed('data', 'check', task if named else data_set.name, *check)}",
            )


def find_unreadable(chosen: DataSet, root: Path, log: Callable[[str], None]) -> Mapping[Path, str]:
    """Return path -> reason for images of a data set that cannot be decoded.

    Where the index of the set knows them, no image is decoded. Otherwise up to :data:`ALL` images are decoded, once:
    the index keeps the result. Of a larger set, :data:`SAMPLE` images are decoded each time.
    """
    if chosen.packed:
        return {}
    if (index := current_index(chosen, root)) is not None:
        return index.unreadable
    paths = [path for part in indexed(chosen, root).splits.values() for path in part.paths]
    if len(paths) <= ALL:
        if len(paths) > QUICK:
            log(f"Decoding {len(paths):,} images of {chosen.name}, once, to find those that cannot be read ...")
        return indexed(chosen, root, decoded=True).unreadable
    log(f"Decoding {SAMPLE:,} of {len(paths):,} images of {chosen.name}; data check finds all that cannot be.")
    return unreadable([paths[int(row)] for row in np.linspace(0, len(paths) - 1, SAMPLE)])
