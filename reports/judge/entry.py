"""The rows of tables: methods, and what is made of their cells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from carft.config.registry import COMBINED, METHODS, MethodCard, SoupRule


@dataclass(frozen=True)
class Entry:
    """A row of the tables: a method; or what was made of the cells of ``parent``.

    alpha: of an interpolation (None: by validation). greedy: the rule of a soup over a study's search cells.
    """

    method: str
    parent: str | None = None
    alpha: float | None = None
    greedy: float | None = None

    @property
    def searched(self) -> str:
        """The method whose searches gave the entry."""
        return self.parent or self.method

    @property
    def label(self) -> str:
        """A short name for tables and figures."""
        if self.parent is None:
            return self.method
        name = f"{self.method}({self.parent})"
        if self.greedy:
            return f"{name} greedy"
        if self.alpha is not None:
            return f"{name} alpha {self.alpha:g}"
        return name

    @staticmethod
    def parse(label: str) -> Entry:
        """The entry with a label."""
        method, _, rest = label.partition("(")
        parent, _, rule = rest.partition(")")
        entry = Entry(method, parent or None)
        kind, _, alpha = rule.strip().partition(" ")
        if kind == "greedy":
            return replace(entry, greedy=SoupRule.GREEDY.value)
        return replace(entry, alpha=float(alpha)) if kind == "alpha" else entry


ZERO_SHOT, FT, CAR_FT = Entry("zeroshot"), Entry("ft"), Entry("car_ft")
#: CAR-FT with random unit vectors in place of its context prompts, the first of its controls
RANDOM = Entry("car_ft_random")
WISE, WISE_CAR = Entry("wise_ft", "ft"), Entry("wise_ft", "car_ft")


def entries_of(methods: Mapping[str, MethodCard]) -> tuple[Entry, ...]:
    """The rows of tables: every method, the interpolations of every trained one, soups, and what ``combine`` makes."""
    entries, interpolations, soups, made = [], [], [], list[Entry]()
    for name, method in methods.items():
        if method.kind != "post-hoc":
            entries.append(Entry(name))
        if method.kind == "trained":
            interpolations.append(Entry("wise_ft", name))
            for combined in COMBINED:
                space = METHODS[combined].space
                alpha = space["alpha"].first_guess if "alpha" in space else None
                made.append(Entry(combined, name, alpha=alpha))
        if method.in_soups:
            soups += [Entry("soup", name, greedy=rule.value) for rule in SoupRule]
    return (*entries, *interpolations, *soups, *made)


def label(entry: str, methods: Mapping[str, MethodCard] = METHODS) -> str:
    """An entry's display name: ``wise_ft(ft)`` is "WiSE-FT of FT", ``soup(ft) greedy`` "greedy soup of FT"."""
    row = Entry.parse(entry)
    name = methods[row.method].label
    if row.greedy:
        name = f"greedy {name}"
    return f"{name} of {methods[row.parent].label}" if row.parent else name


#: what pictures, levels and sentences set side by side
COMPARED = (ZERO_SHOT, FT, CAR_FT)
