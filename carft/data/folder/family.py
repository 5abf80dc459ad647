"""The family of tasks on your own data. No torch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from carft.core.errors import UserError, typed
from carft.data.card import STANDARD, Card, DataOptions
from carft.data.checking import UNREADABLE, left_out
from carft.data.decoding import decode_pixels
from carft.data.facts import imagenet_templates
from carft.data.family import Family, Pool, Sizes, require_every_class
from carft.data.folder.images import ImageTable
from carft.data.folder.named import NamedTask
from carft.data.folder.reading import LICENCE, OwnFiles, own_files, read
from carft.data.index import Index
from carft.data.sets import image_file

if TYPE_CHECKING:
    import numpy as np

    from carft.data.task import ImageSet, Sealed, Task

#: stands for the tasks file in proposed commands: no published file names it
TASKS_FILE = "--tasks-file FILE"


@dataclass(frozen=True, eq=False)
class OwnData(Family):
    """Named tasks on folders and tables."""

    name: str = "folder"
    cards: Mapping[str, Card] = field(default_factory=dict)
    named: Mapping[str, NamedTask] = field(default_factory=dict)
    """Name -> task."""

    def card(self, task: str) -> Card | None:
        return named_card(self.named[task]) if task in self.named else None

    def table(self, task: str, skip_unreadable: bool = False) -> ImageTable:
        """Return the images of a task; ``skip_unreadable``: its parts are without those that cannot be decoded.

        Raises ``UserError`` for invalid data, and where it is not known on this machine where they lie.
        """
        named = self.named[task]
        if not named.folder:
            first = typed("train", "--method", "zeroshot", "--task", task, "--tasks-file", "FILE")
            raise UserError(
                f"Where the images of '{task}' lie on this machine is not known.",
                f"Name the tasks file once, to this results folder: {first}",
            )
        table = read(Path(named.folder), named.group, skip_unreadable)
        if named.whole:
            return table.with_whole_shifts(named.id_domains)
        return table

    def files(self, task: str) -> OwnFiles:
        """Return the images of a task as a data set."""
        return own_files(self.table(task).root, self.named[task].group)

    def require_present(self, card: Card, options: DataOptions) -> None:
        """Raise ``UserError`` if the images changed after the card was made, or if a split or class is empty."""
        table, named = self.table(card.name), self.named[card.name]
        if not card.version.startswith(table.version):
            raise UserError(f"'{table.root}' changed since this task was named.", "Run the command again.")
        remedy = "Add images, or name the images of each split in a table with the column split (docs/folder.md)."
        sets = table.sets(named.id_domains, named.ood_domains)
        bare = _classes_without_image(table, sets["train"])
        if bare:
            domains = ", ".join(named.id_domains)
            raise UserError(f"The class '{bare[0]}' has no image to train on in {domains} of '{table.root}'.", remedy)
        for name, index in sets.items():
            if not len(index):
                raise UserError(f"'{table.root}' has no image for {name}.", remedy)

    def require_sealed(self, card: Card, options: DataOptions) -> None:
        self.require_present(card, options)

    def open_task(self, card: Card, options: DataOptions, holdout: str = "stable") -> Task:
        from carft.data.task import Task

        table, named = self.table(card.name, options.skip_unreadable), self.named[card.name]
        train = _images(table, named.id_domains, "train")
        val = _images(table, named.id_domains, "val")
        broken = [table.name_of(path) for path in table.unreadable]
        attested = "yes"
        if broken:
            attested = f"no: {UNREADABLE}: {len(broken)}, left out"
        digests = {"folder": table.digest, "attested": attested, **left_out(broken)}
        return Task(card.name, require_every_class(train, card), val, digests)

    def open_sealed(self, card: Card, options: DataOptions, target_split: str = "all") -> Sealed:
        from carft.data.task import Sealed

        table, named = self.table(card.name, options.skip_unreadable), self.named[card.name]
        suites = {domain: _images(table, [domain], "test") for domain in named.ood_domains}
        return Sealed(_images(table, named.id_domains, "test"), suites)

    def count(self, card: Card, options: DataOptions) -> Sizes:
        named = self.named[card.name]
        sets = self.table(card.name).sets(named.id_domains, named.ood_domains)
        train, val, *sealed = map(len, sets.values())
        return Sizes(train, val, sum(sealed))

    def picture(self, card: Card, held_out: str, name: str, root: Path | None = None) -> np.ndarray:
        table = self.table(card.name)
        if not card.version.startswith(table.version):
            raise UserError(f"'{table.root}' changed since {card.name} was run.", "Its pictures are left out.")
        return decode_pixels(image_file(card.name, table.base, name))

    def pools(self, studied: Iterable[str]) -> tuple[Pool, ...]:
        """Return how the tasks are pooled: those that share what stands before the last slash of their names.

        The tasks of ``leave_one_out`` are pooled apart from others. A task without a family stands alone.
        """

        pooled: dict[tuple[str, bool], list[str]] = defaultdict(list)
        for name, task in sorted(self.named.items()):
            pooled[task.family or name, task.held_out].append(name)
        pools = []
        for (family, held_out), names in sorted(pooled.items()):
            name, kind, title = family, "several", f"the {len(names)} tasks of {family}"
            if held_out:
                name, kind, title = f"{family}, one domain left out", "domainbed", f"{family}, one domain left out"
            elif len(names) == 1:
                name, kind, title = names[0], "single", names[0]
            command = f"{typed('sweep', 'downstream')} {TASKS_FILE}"
            pools.append(Pool(name, kind, title, tuple(names), command, named_card(self.named[names[0]])))
        return tuple(pools)


def _images(table: ImageTable, domains: Sequence[str], split: str) -> ImageSet:
    from carft.data.task import ImageSet

    parts, names, contexts = [], [], []
    for domain in domains:
        part = table.part(domain, split)
        parts.append(part)
        names.append([table.name_of(path) for path in part.paths])
        contexts.append(table.domains.index(domain) if len(table.domains) > 1 else -1)
    return ImageSet.of(parts, names, contexts)


def named_card(task: NamedTask) -> Card:
    """Return the card of a task. It does not say where the folder lies.

    Images of one domain have no known context and no set under shift.
    """
    shift = f"shift to {', '.join(task.ood_domains)}" if task.ood_domains else "no shift"
    templates = task.templates or imagenet_templates()
    banks = {STANDARD: templates}
    contexts: tuple[str, ...] = ()
    if len(task.prompts) > 1:
        contexts = task.prompts
        banks["domains"] = contexts
    return Card(
        name=task.name,
        measures=f"Your own data: trained on {', '.join(task.id_domains)}; {shift}",
        scale="own",
        version=task.version,
        classes=task.classes,
        templates=templates,
        suites=task.ood_domains,
        group=task.unit,
        metric=task.metric,
        licence=LICENCE,
        source="your own folder",
        loader="",
        banks=banks,
        contexts=contexts,
    )


def _classes_without_image(table: ImageTable, index: Index) -> list[str]:
    labels = set(index.labels)
    return [name for label, name in enumerate(table.classes) if label not in labels]


FAMILY: OwnData = OwnData()
