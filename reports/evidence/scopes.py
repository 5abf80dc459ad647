"""Scopes: what may be pooled with what. A report never averages over two of them (docs/statistics.md).

A scope is a family of tasks at one scale, with one model, one set of weights and one version of the data.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from carft.data.catalog import CARDS, DOWNSTREAM_ICONS, FULL_ICONS, ICON_DOMAINS, card
from carft.data.folder.named import NamedTask
from carft.data.folder.naming import Name, is_folder, labels, parse, without_place
from carft.spec.weights import DIGEST_MARK, LOCAL_DIR, display_form, id_form
from carft.store.study import StudyFile
from reports.evidence.references import BACKBONES, SHOWN_BACKBONE, same_start

DOWNSTREAM = ("cifar10", "cifar100", "dtd", "food101", "sun397", "cars", "aircraft", "pets", "flowers")
#: how a sweep over tasks that are named begins
SWEEP = "python cli.py sweep downstream --tasks"
#: stands before the model in the name of a scope
WITH = " with "
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

    @property
    def is_own(self) -> bool:
        """Whether its tasks are on your own data."""
        return self.name not in FAMILIES

    @property
    def recipe(self) -> str:
        """Name of the recipe of its sweep."""
        return self.command.removeprefix("python cli.py sweep ").split()[0]

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


def family_of(task: str, own: Mapping[str, Family] | None = None) -> Family:
    """The family of a task; a task that belongs to none is a family of its own. own: those of :func:`own_families`."""
    for family in FAMILIES.values():
        if task in family.tasks:
            return family
    if own and task in own:
        return own[task]
    return _alone(task, task)


def _alone(task: str, shown: str) -> Family:
    return Family(shown, "single", shown, (task,), f"{SWEEP} {shlex.quote(without_place(task))}")


def own_families(studied: Iterable[str], named: Iterable[NamedTask]) -> dict[str, Family]:
    """Task on your own data -> its family.

    Named tasks form a family if their names share what stands before the last slash. The leave-one-domain-out tasks of
    one folder form one. Any other task stands alone.

    Args:
        studied: The tasks of all studies of a results folder.
        named: Its named tasks. A claim on a family needs all of them.
    """
    folders = [task for task in studied if is_folder(task)]
    shown = labels(folders)
    alone = [_alone(task, shown[task]) for task in folders]
    by_family = groupby(sorted(named, key=_family_key), _family_key)
    families = [*alone, *_left_out(folders), *(_named_family(list(tasks)) for _, tasks in by_family)]
    return {task: family for family in families for task in family.tasks}


def _left_out(folders: Sequence[str]) -> list[Family]:
    """The folders of which at least two domains were held out, each with all others in distribution."""
    held_out = [name for name in map(parse, folders) if len(name.ood_domains) == 1]
    counts = Counter(Name(name.path, tuple(sorted((*name.id_domains, *name.ood_domains)))) for name in held_out)
    wholes = [whole for whole, count in counts.items() if count > 1]
    shown = labels(f"folder:{whole.path}" for whole in wholes)
    families = []
    for whole in wholes:
        title = f"{shown[f'folder:{whole.path}']}, one domain left out"
        domains = whole.id_domains
        tasks = [str(Name(whole.path, tuple(d for d in domains if d != one), (one,))) for one in domains]
        command = f"{SWEEP} folder:PATH --leave-one-out"
        families.append(Family(title, "domainbed", title, tuple(tasks), command))
    return families


def _family_key(task: NamedTask) -> tuple[str, bool]:
    return (task.family or task.name, task.held_out)


def _named_family(tasks: Sequence[NamedTask]) -> Family:
    first, names = tasks[0], tuple(sorted(task.name for task in tasks))
    if first.held_out:
        title = f"{first.family}, one domain left out"
        return Family(title, "domainbed", title, names, f"{SWEEP} {shlex.quote(first.family)}=PATH --leave-one-out")
    sides = {(task.id_domains, task.ood_domains) for task in tasks}
    more = "" if len(names) == 1 else ",..."
    command = f"{SWEEP} {shlex.quote(names[0])}=PATH{more}"
    if len(sides) > 1 or any(task.in_file for task in tasks):
        command = f"{SWEEP.removesuffix(' --tasks')} --tasks-file FILE"
    else:
        given = {"--id-domains": first.id_domains, "--ood-domains": first.ood_domains}
        command += "".join(f" {option} {shlex.quote(','.join(names))}" for option, names in given.items() if names)
    if len(names) == 1:
        return Family(names[0], "single", names[0], names, command)
    return Family(first.family, "nine", f"the {len(names)} tasks of {first.family}", names, command)


@dataclass(frozen=True)
class Scope:
    """A family with what its cells have in common. stale: a version of the data other than the catalog's, or ""."""

    family: Family
    scale: str
    model: str = field(compare=False)
    pretrained: str = field(compare=False)
    stale: str = ""
    start: tuple[str, str] = field(init=False)
    """Model and weights as ids count them: the same weights in two files are one scope."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "start", id_form(self.model, self.pretrained))

    @staticmethod
    def of(study: StudyFile, own: Mapping[str, Family] | None = None) -> Scope:
        """The scope of a study; ``UserError`` when its task is not in the catalog. own: see :func:`own_families`."""
        known = card(study.task)
        stale = "" if study.data_version == known.version else study.data_version
        return Scope(family_of(known.name, own), known.scale, study.model, study.pretrained, stale)

    @property
    def name(self) -> str:
        """How tables name it: the family, and the data version when it is not the catalog's."""
        return self.family.name + (f" (data {self.stale})" if self.stale else "")

    @property
    def is_default(self) -> bool:
        """Whether model and weights are those that the family's tasks have unless told otherwise."""
        first = card(self.family.tasks[0])
        return (self.model, self.pretrained) == (first.model, first.pretrained)

    @property
    def command(self) -> str:
        """The sweep that fills the family with this model, without the path of weights."""
        return self.family.command + self.options

    @property
    def options(self) -> str:
        """The options that name this model where it is not that of the family's first task; they begin with a space."""
        if self.is_default:
            return ""
        if self.model.startswith(LOCAL_DIR):
            return f" --model {LOCAL_DIR}FOLDER"
        weights = "" if self.model == self.pretrained else " --pretrained "
        weights += "" if not weights else "FILE" if DIGEST_MARK in self.pretrained else shlex.quote(self.pretrained)
        return f" --model {shlex.quote(self.model)}{weights}"

    @property
    def is_of_references(self) -> bool:
        """Whether model, weights and data are those that the reference tables began with."""
        is_start = same_start(self.model, self.pretrained, BACKBONES[SHOWN_BACKBONE])
        return self.scale == "paper" and not self.stale and is_start

    @property
    def sort_key(self) -> tuple[object, ...]:
        """Paper scale first, then the families' order, own tasks last; current data before old, the own model first."""
        name, order = self.family.name, [*FAMILIES, self.family.name]
        place = (order.index(name), self.family.is_own and self.family.kind == "single", name)
        return (self.scale != "paper", *place, self.stale, not self.is_default, *self.start)


def named(scopes: Sequence[Scope]) -> dict[Scope, str]:
    """A name for each scope that no other has.

    Where several scopes would share one, that of the family's own model keeps it, so that a second model changes no
    name. The others get their model, and their weights where those are not the family's own.
    """
    plain = [scope.name for scope in scopes]
    return {
        scope: scope.name if plain.count(scope.name) == 1 or scope.is_default else _with_model(scope)
        for scope in scopes
    }


def _with_model(scope: Scope) -> str:
    model, weights = display_form(scope.model, scope.pretrained)
    other = scope.pretrained != card(scope.family.tasks[0]).pretrained
    return f"{scope.name}{WITH}{model}{f' {weights}' if other else ''}"


def model_words(name: str) -> str:
    """What the name of a scope adds to say its model, as `` with icons-vit``; empty for the family's own model."""
    return WITH + name.partition(WITH)[2] if WITH in name else ""
