"""Scopes: what may be pooled with what. A report never averages over two of them (docs/statistics.md).

A scope is a family of tasks at one scale, with one model, one set of weights and one version of the data.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from carft.catalog.catalog import BUILT_IN, Catalog
from carft.config.cell import DIGEST_MARK, LOCAL_DIR, Cell, display_form, id_form
from carft.data.family import Pool
from carft.store.study_file import StudyFile
from reports.read.references import BACKBONES, SHOWN_BACKBONE, same_start

#: the pools of this package by name, in the order of reports
BUILT_IN_POOLS: Mapping[str, Pool] = {pool.name: pool for pool in BUILT_IN.pools(())}
#: stands before the model in the name of a scope
WITH = " with "


@dataclass(frozen=True)
class Scope:
    """A family with what its cells have in common. stale: a version of the data other than the catalog's, or ""."""

    family: Pool
    scale: str
    model: str = field(compare=False)
    pretrained: str = field(compare=False)
    stale: str = ""
    start: tuple[str, str] = field(init=False)
    """Model and weights as ids count them: the same weights in two files are one scope."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "start", id_form(self.model, self.pretrained))

    @staticmethod
    def of(study: StudyFile | Cell, catalog: Catalog, pools: Sequence[Pool]) -> Scope:
        """The scope of a study or cell; ``UserError`` when its task is not in the catalog. pools: of the catalog."""
        card = catalog.card(study.task)
        stale = "" if study.data_version == card.version else study.data_version
        return Scope(catalog.pool(card.name, pools), card.scale, study.model, study.pretrained, stale)

    @property
    def name(self) -> str:
        """How tables name it: the family, and the data version when it is not the catalog's."""
        if not self.stale:
            return self.family.name
        return f"{self.family.name} (data {self.stale})"

    @property
    def is_default(self) -> bool:
        """Whether model and weights are those that the family's tasks have unless told otherwise."""
        card = self.family.card
        return (self.model, self.pretrained) == (card.model, card.pretrained)

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
        options = f" --model {shlex.quote(self.model)}"
        if self.model != self.pretrained:
            weights = "FILE" if DIGEST_MARK in self.pretrained else shlex.quote(self.pretrained)
            options += f" --pretrained {weights}"
        return options

    @property
    def is_of_references(self) -> bool:
        """Whether model, weights and data are those that the reference tables began with."""
        is_start = same_start(self.model, self.pretrained, BACKBONES[SHOWN_BACKBONE])
        return self.scale == "paper" and not self.stale and is_start

    @property
    def sort_key(self) -> tuple[object, ...]:
        """Paper scale first, then earlier worlds and the families' order, own tasks last; current data before old, the
        own model first."""
        name, order = self.family.name, [*BUILT_IN_POOLS]
        after = -1 if self.family.built_in else len(order)
        position = order.index(name) if name in order else after
        place = (position, not self.family.built_in and self.family.kind == "single", name)
        return (self.scale != "paper", *place, self.stale, not self.is_default, *self.start)


def named(scopes: Sequence[Scope]) -> dict[Scope, str]:
    """A name for each scope that no other has.

    Where several scopes would share one, that of the family's own model keeps it, so that a second model changes no
    name. The others get their model, and their weights where those are not the family's own.
    """
    plain = Counter(scope.name for scope in scopes)
    names = {}
    for scope in scopes:
        names[scope] = scope.name
        if plain[scope.name] > 1 and not scope.is_default:
            model, weights = display_form(scope.model, scope.pretrained)
            names[scope] += f"{WITH}{model}"
            if scope.pretrained != scope.family.card.pretrained:
                names[scope] += f" {weights}"
    return names
