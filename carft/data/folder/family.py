"""The family of tasks on your own data. No torch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from carft.core.errors import UserError, typed
from carft.data.card import STANDARD, Card, DataOptions
from carft.data.facts import imagenet_templates
from carft.data.family import DataSetFamily, Pool, Sizes, TrainingParts
from carft.data.folder.images import ImageTable
from carft.data.folder.named import NamedTask
from carft.data.folder.reading import LICENCE, OwnFiles, own_files, read
from carft.data.sets import DataSet, Splits

#: stands for the tasks file in proposed commands: no published file names it
TASKS_FILE = "--tasks-file FILE"


@dataclass(frozen=True, eq=False)
class OwnData(DataSetFamily):
    """Named tasks on folders and tables."""

    name: str = "folder"
    cards: Mapping[str, Card] = field(default_factory=dict)
    named: Mapping[str, NamedTask] = field(default_factory=dict)
    """Name -> task."""

    def card(self, task: str) -> Card | None:
        return named_card(self.named[task]) if task in self.named else None

    def table(self, task: str) -> ImageTable:
        """Return the images of a task.

        Raises ``UserError`` for invalid data, and where it is not known on this machine where they lie.
        """
        named = self.named[task]
        if not named.folder:
            first = typed("train", "--method", "zeroshot", "--task", task, "--tasks-file", "FILE")
            raise UserError(
                f"Where the images of '{task}' lie on this machine is not known.",
                f"Name the tasks file once, to this results folder: {first}",
            )
        table = read(Path(named.folder))
        if named.whole:
            return table.with_whole_shifts(named.id_domains)
        return table

    def files(self, task: str) -> OwnFiles:
        """Return the images of a task as a data set. Those of one domain have no known context."""
        table = self.table(task)
        return replace(own_files(table.root), domains=table.domains if len(table.domains) > 1 else ())

    def require_present(self, card: Card, options: DataOptions) -> None:
        """Raise ``UserError`` if the images changed after the card was made, or if a split or class is empty."""
        table, named = self._unchanged(card), self.named[card.name]
        remedy = "Add images, or name the images of each split in a table with the column split (docs/folder.md)."
        sets = table.sets(named.id_domains, named.ood_domains)
        trained = set(sets["train"].labels)
        for label, name in enumerate(table.classes):
            if label not in trained:
                domains = ", ".join(named.id_domains)
                raise UserError(f"The class '{name}' has no image to train on in {domains} of '{table.root}'.", remedy)
        for name, index in sets.items():
            if not len(index):
                raise UserError(f"'{table.root}' has no image for {name}.", remedy)

    def require_sealed(self, card: Card, options: DataOptions) -> None:
        self.require_present(card, options)

    def training(self, card: Card, root: Path | None, holdout: str) -> TrainingParts:
        table, domains = self._unchanged(card), self.named[card.name].id_domains
        train = {domain: table.part(domain, "train") for domain in domains}
        val = {domain: table.part(domain, "val") for domain in domains}
        return TrainingParts(self.files(card.name), train, val, {"folder": table.digest, "attested": "yes"})

    def held_out(self, card: Card, root: Path | None, target_split: str = "all") -> dict[str, tuple[DataSet, Splits]]:
        table, named, files = self._unchanged(card), self.named[card.name], self.files(card.name)
        test = {domain: table.part(domain, "test") for domain in named.id_domains}
        found: dict[str, tuple[DataSet, Splits]] = {"test": (files, test)}
        for domain in named.ood_domains:
            found[f"ood/{domain}"] = (files, {domain: table.part(domain, "test")})
        return found

    def count(self, card: Card, options: DataOptions) -> Sizes:
        named = self.named[card.name]
        sets = self.table(card.name).sets(named.id_domains, named.ood_domains)
        train, val, *sealed = map(len, sets.values())
        return Sizes(train, val, sum(sealed))

    def _unchanged(self, card: Card) -> ImageTable:
        table = self.table(card.name)
        if not card.version.startswith(table.version):
            raise UserError(f"'{table.root}' changed since {card.name} was named.", "Run the command again.")
        return table

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
        group="group",
        metric=task.metric,
        licence=LICENCE,
        source="your own folder",
        loader="",
        banks=banks,
        contexts=contexts,
    )


FAMILY: OwnData = OwnData()
