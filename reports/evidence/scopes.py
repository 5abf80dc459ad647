"""Scopes: what may be pooled with what. A report never averages over two of them (docs/statistics.md).

A scope is a family of tasks at one scale, with one model, one set of weights and one version of the data.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from carft.data.catalog import CARDS, DOWNSTREAM_ICONS, FULL_ICONS, ICON_DOMAINS, card
from carft.store.study import StudyFile
from reports.evidence.references import same_start

DOWNSTREAM = ("cifar10", "cifar100", "dtd", "food101", "sun397", "cars", "aircraft", "pets", "flowers")
DOMAINBED = {
    "vlcs": "VLCS",
    "pacs": "PACS",
    "officehome": "OfficeHome",
    "terraincognita": "TerraIncognita",
    "domainnet": "DomainNet",
}


#: one task per held-out domain
HELD_OUT = tuple(name for name in CARDS if name.partition("/")[0] in DOMAINBED)


@dataclass(frozen=True)
class Family:
    """Tasks that belong together. tasks: those that a claim needs.

    kind: what the ledger's claims are asked of. command: the sweep that fills it.
    """

    name: str
    kind: str
    title: str
    tasks: tuple[str, ...]
    command: str

    @property
    def scale(self) -> str:
        """The scale of its tasks."""
        return card(self.tasks[0]).scale

    def has(self, what: str) -> bool:
        """Whether its tasks have what a claim needs, as far as their cards say."""
        first = card(self.tasks[0])
        parts = {"test": first.has_test, "suites": bool(first.suites), "contexts": bool(first.contexts)}
        return parts.get(what, True)


FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        Family("icons", "nine", "nine icon tasks", DOWNSTREAM_ICONS, "python cli.py sweep downstream"),
        Family(
            "icons-full", "nine", "nine icon tasks, full test sets", FULL_ICONS, "python cli.py sweep miniature-full"
        ),
        Family("icons/all", "single", "all icons in one task", ("icons/all",), "python cli.py sweep readings"),
        Family(
            "icons/domains", "domainbed", "icons, one domain left out", ICON_DOMAINS, "python cli.py sweep domainbed"
        ),
        Family("downstream", "nine", "nine downstream tasks", DOWNSTREAM, "python cli.py sweep downstream --data ROOT"),
        Family("imagenet", "imagenet", "ImageNet and its shifts", ("imagenet",), "python cli.py sweep ood --data ROOT"),
        Family("domainbed", "domainbed", "DomainBed", HELD_OUT, "python cli.py sweep domainbed --data ROOT"),
    )
}


def family_of(task: str) -> Family:
    """The family of a task; a task that belongs to none is a family of its own."""
    for family in FAMILIES.values():
        if task in family.tasks:
            return family
    return Family(task, "single", task, (task,), f"python cli.py sweep downstream --tasks {shlex.quote(task)}")


@dataclass(frozen=True)
class Scope:
    """A family with what its cells have in common. stale: a version of the data other than the catalog's, or ""."""

    family: Family
    scale: str
    model: str
    pretrained: str
    stale: str = ""

    @staticmethod
    def of(study: StudyFile) -> Scope:
        """The scope of a study; ``UserError`` when its task is not in the catalog."""
        known = card(study.task)
        stale = "" if study.data_version == known.version else study.data_version
        return Scope(family_of(known.name), known.scale, study.model, study.pretrained, stale)

    @property
    def name(self) -> str:
        """How tables name it: the family, and the data version when it is not the catalog's."""
        return self.family.name + (f" (data {self.stale})" if self.stale else "")

    def starts_from_openai(self, model: str) -> bool:
        """Whether model, weights and data are those that a reference table began with."""
        is_start = same_start(self.model, self.pretrained, (model, "openai"))
        return self.scale == "paper" and not self.stale and is_start

    @property
    def sort_key(self) -> tuple[object, ...]:
        """Paper scale first, then the families' order, current data before old."""
        order = [*FAMILIES, self.family.name]
        return (self.scale != "paper", order.index(self.family.name), self.stale, self.model, self.pretrained)


def named(scopes: Sequence[Scope]) -> dict[Scope, str]:
    """A name for each scope that no other has: model and weights are added where two would share one."""
    plain = [scope.name for scope in scopes]
    return {
        scope: scope.name if plain.count(scope.name) == 1 else f"{scope.name}, {scope.model} {scope.pretrained[:24]}"
        for scope in scopes
    }
