"""The family of your own data: folders and tables by their path, and named tasks. No torch."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from carft.core.errors import UserError
from carft.data.card import STANDARD, Card, DataOptions
from carft.data.checking import UNREADABLE, left_out
from carft.data.decoding import decode_pixels
from carft.data.facts import imagenet_templates
from carft.data.family import SWEEP, Family, Pool, Sizes, image_file
from carft.data.fixtures import is_fixture
from carft.data.folder.images import ImageTable
from carft.data.folder.named import NamedTask, located
from carft.data.folder.naming import PREFIX, Name, is_folder, labels, parse, without_place
from carft.data.folder.reading import LICENCE, data_set_at, read
from carft.data.indexing import indexed
from carft.data.loading import image_set, joined, require_every_class
from carft.data.sets import DataSet

if TYPE_CHECKING:
    import numpy as np

    from carft.data.task import ImageSet, Sealed, Task


@dataclass(frozen=True, eq=False)
class OwnData(Family):
    """Tasks on folders and tables. ``folder:PATH`` is a task by itself; a named task is known by :attr:`named`."""

    name: str = "folder"
    cards: Mapping[str, Card] = field(default_factory=dict)
    named: Mapping[str, NamedTask] = field(default_factory=dict)
    """Name -> named task."""

    def card(self, task: str) -> Card | None:
        if is_folder(task):
            return card_of(task)
        return named_card(self.named[task]) if task in self.named else None

    def located(self, task: str) -> tuple[ImageTable, Name]:
        """Return the images of a task, and its domains. Raises ``UserError`` where the folder is not known here."""
        return located(task, self.named.get(task))

    def require_present(self, card: Card, options: DataOptions) -> None:
        require_whole(card, *self.located(card.name))

    def require_sealed(self, card: Card, options: DataOptions) -> None:
        self.require_present(card, options)

    def open_task(self, card: Card, options: DataOptions, holdout: str = "stable") -> Task:
        from carft.data.task import Task

        table, name = self.located(card.name)
        broken = _unreadable(table, options)
        train, val = (joined([_images(table, d, split, broken) for d in name.id_domains]) for split in ("train", "val"))
        return Task(card.name, require_every_class(train, card), val, _digests(table, broken))

    def open_sealed(self, card: Card, options: DataOptions, target_split: str = "all") -> Sealed:
        from carft.data.task import Sealed

        table, name = self.located(card.name)
        broken = _unreadable(table, options)
        return Sealed(
            test=joined([_images(table, d, "test", broken) for d in name.id_domains]),
            suites={d: _images(table, d, "test", broken) for d in name.ood_domains},
        )

    def count(self, card: Card, options: DataOptions) -> Sizes:
        table, name = self.located(card.name)
        images = Counter[str]()
        for size in table.split_sizes(name.id_domains, name.ood_domains):
            images[size.split] += size.images if size.used else 0
        return Sizes(images["train"], images["val"], images["test"])

    def picture(self, card: Card, held_out: str, name: str, root: Path | None = None) -> np.ndarray:
        table, _ = self.located(card.name)
        if not card.version.startswith(table.version):
            raise UserError(f"'{table.root}' changed since {card.name} was run.", "Its pictures are left out.")
        return decode_pixels(image_file(card, table.base, "", name))

    def pools(self, studied: Iterable[str]) -> tuple[Pool, ...]:
        """Return how the tasks are pooled.

        Named tasks are one pool if their names share what stands before the last slash. The leave-one-domain-out tasks
        of one folder are one. Any other folder stands alone.
        """
        folders = [task for task in studied if is_folder(task)]
        shown = labels(folders)
        folders = [task for task in folders if _is_readable(task)]
        left_out = self._left_out(folders)
        pooled = {task for pool in left_out for task in pool.tasks}
        alone = (task for task in folders if task not in pooled)
        single = (self._pool(shown[task], "single", shown[task], (task,), sweep_of(task)) for task in alone)
        by_family = groupby(sorted(self.named.values(), key=_pool_key), _pool_key)
        named = (self._named_pool(list(tasks)) for _, tasks in by_family)
        return (*left_out, *single, *named)

    def _pool(self, name: str, kind: str, title: str, tasks: tuple[str, ...], command: str) -> Pool:
        card = self.card(tasks[0])
        assert card is not None
        return Pool(name, kind, title, tasks, command, card)

    def _left_out(self, folders: Sequence[str]) -> list[Pool]:
        """The folders of which at least two domains were held out, each with all others in distribution."""
        held_out = [name for name in map(parse, folders) if len(name.ood_domains) == 1]
        counts = Counter(Name(name.path, tuple(sorted((*name.id_domains, *name.ood_domains)))) for name in held_out)
        wholes = [whole for whole, count in counts.items() if count > 1]
        shown = labels(f"folder:{whole.path}" for whole in wholes)
        pools = []
        for whole in wholes:
            title = f"{shown[f'folder:{whole.path}']}, one domain left out"
            domains = whole.id_domains
            tasks = [str(Name(whole.path, tuple(d for d in domains if d != one), (one,))) for one in domains]
            command = f"{SWEEP} folder:PATH --leave-one-out"
            pools.append(self._pool(title, "domainbed", title, tuple(tasks), command))
        return pools

    def _named_pool(self, tasks: Sequence[NamedTask]) -> Pool:
        first, names = tasks[0], tuple(sorted(task.name for task in tasks))
        if first.held_out:
            title = f"{first.family}, one domain left out"
            command = f"{SWEEP} {shlex.quote(first.family)}=PATH --leave-one-out"
            return self._pool(title, "domainbed", title, names, command)
        sides = {(task.id_domains, task.ood_domains) for task in tasks}
        more = "" if len(names) == 1 else ",..."
        command = f"{SWEEP} {shlex.quote(names[0])}=PATH{more}"
        if len(sides) > 1 or any(task.in_file for task in tasks):
            command = f"{SWEEP.removesuffix(' --tasks')} --tasks-file FILE"
        else:
            given = {"--id-domains": first.id_domains, "--ood-domains": first.ood_domains}
            command += "".join(f" {option} {shlex.quote(','.join(names))}" for option, names in given.items() if names)
        if len(names) == 1:
            return self._pool(names[0], "single", names[0], names, command)
        return self._pool(first.family, "nine", f"the {len(names)} tasks of {first.family}", names, command)


def _images(table: ImageTable, domain: str, split: str, broken: Collection[Path]) -> ImageSet:
    part = table.part(domain, split)
    index = part.rows([i for i, path in enumerate(part.paths) if path not in broken])
    names = [path.relative_to(table.base).as_posix() for path in index.paths]
    return image_set(index, names, table.domains.index(domain) if len(table.domains) > 1 else -1)


def _unreadable(table: ImageTable, options: DataOptions) -> Collection[Path]:
    """The images that are left out."""
    return _indexed_unreadable(table.root, table.digest) if options.skip_unreadable else ()


@lru_cache(maxsize=8)
def _indexed_unreadable(root: Path, digest: str) -> frozenset[Path]:
    return frozenset(indexed(data_set_of(f"{PREFIX}{root}"), Path(), decoded=True).unreadable)


def _digests(table: ImageTable, broken: Collection[Path]) -> dict[str, str]:
    """The record's digests. That of the images is the version of the card, so ``attested`` is mostly ``yes``."""
    if is_fixture(table.base):
        attested = "no: fixture"
    elif broken:
        attested = f"no: {UNREADABLE}: {len(broken)}, left out"
    else:
        attested = "yes"
    names = left_out(path.relative_to(table.base).as_posix() for path in broken)
    return {"folder": table.digest, "attested": attested, **names}


def card_of(name: str) -> Card:
    """Return the card of ``folder:PATH?id=...&ood=...``. Raises ``UserError`` for invalid data or domains.

    The name of the card is the canonical one: all domains are listed and the path is absolute.
    """
    table, parts = located(name, None)
    domains = parts.id_domains, parts.ood_domains
    task = NamedTask(str(parts), table.version, *domains, table.words, table.prompts, unit=table.unit)
    return replace(named_card(task), source=data_set_at(table.root).source)


def named_card(task: NamedTask) -> Card:
    """Return the card of a named task. It does not say where the folder lies.

    Images of one domain have no known context and no set under shift.
    """
    shift = f"shift to {', '.join(task.ood_domains)}" if task.ood_domains else "no shift"
    contexts = task.prompts if len(task.prompts) > 1 else ()
    return Card(
        name=task.name,
        measures=f"Your own data: trained on {', '.join(task.id_domains)}; {shift}",
        scale="own",
        version=task.version,
        classes=task.classes,
        templates=imagenet_templates(),
        suites=task.ood_domains,
        group=task.unit,
        metric=task.metric,
        licence=LICENCE,
        source="your own folder",
        loader="",
        banks={STANDARD: imagenet_templates(), **({"domains": contexts} if contexts else {})},
        contexts=contexts,
    )


def data_set_of(name: str, named: NamedTask | None = None) -> DataSet:
    """Return your own data as a data set, for ``data check`` and ``data fixture``.

    name, named: the task. The folder of a ``folder:`` task may not exist yet. An index is made again if any file
    changed.
    """
    if named is None and not (path := parse(name).path).exists():
        return data_set_at(path)
    table = located(name, named, full=True)[0] if named else read(path, full=True)
    return data_set_at(
        table.root,
        name=name if named else f"{PREFIX}{table.root}",
        classes=table.words,
        counts={domain: len(index) for domain, index in table.images.items()},
        version=table.version,
        labels=table.folders,
    )


def require_whole(card: Card, table: ImageTable, name: Name) -> None:
    """Raise ``UserError`` if the images changed after the card was made, or if a split or class is empty."""
    if not card.version.startswith(table.version):
        raise UserError(f"'{table.root}' changed since this task was named.", "Run the command again.")
    everywhere = [table.part(domain, "train") for domain in name.id_domains]
    trained = {label for index in everywhere for label in index.labels}
    if bare := [word for label, word in enumerate(table.words) if label not in trained]:
        raise UserError(
            f"The class '{bare[0]}' has no image to train on in {', '.join(name.id_domains)} of '{table.root}'.",
            f"Add images, or {_split_words(table, 'images for training')}.",
        )
    needed = [("val", name.id_domains), ("test", name.id_domains), *(("test", (d,)) for d in name.ood_domains)]
    for split, domains in needed:
        if domains and not any(len(table.part(domain, split)) for domain in domains):
            raise UserError(
                f"'{table.root}' has no image for {split} in {', '.join(domains)}.",
                f"Add images, or {_split_words(table, 'the images of each split')}.",
            )


def unmeasured(table: ImageTable, name: Name) -> list[str]:
    """Return a sentence for validation and test each where classes have no image there, so that no number is theirs."""
    lines = []
    for split in ("val", "test"):
        labels = {label for domain in name.id_domains for label in table.part(domain, split).labels}
        if 0 < len(labels) < len(table.words):
            bare = [word for label, word in enumerate(table.words) if label not in labels]
            lines.append(
                f"{len(bare)} of {len(table.words)} classes have no image for {split} in {', '.join(name.id_domains)}, "
                f"'{bare[0]}' first: accuracy there is not about them."
            )
    return lines


def _split_words(table: ImageTable, what: str) -> str:
    """How a person says which images a split has."""
    if table.root == table.base:
        return f"list {what} by stem in split.json"
    return f"name {what} in the table's column split"


def _is_readable(task: str) -> bool:
    try:
        return bool(card_of(task))
    except UserError:
        return False


def sweep_of(task: str) -> str:
    """Return the sweep of one task, without where its folder lies."""
    return f"{SWEEP} {shlex.quote(without_place(task))}"


def _pool_key(task: NamedTask) -> tuple[str, bool]:
    return (task.family or task.name, task.held_out)


FAMILY: OwnData = OwnData()
