"""The sentences of several scopes: a line each, with name and number of every scope as far as the line holds them."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

from reports.analysis.contrasts import Part

#: characters of a sentence at most, where one scope a group can be named in them
LINE = 200
#: what is compared, the difference by scope, and the scopes in which nothing is decided about it
Clause = tuple[str, Mapping[str, Part | None], Collection[str]]
BETTER, WORSE, UNDECIDED, UNMEASURED = GROUPS = ("better", "worse", "undecided", "not measured")


def listed(clauses: Sequence[Clause]) -> str:
    """The clauses of a sentence, with as many scopes by name as a line holds; the others are counted."""
    for named in range(max(len(parts) for _, parts, _ in clauses), 0, -1):
        text = "; ".join(f"{subject}: {_grouped(parts, doubtful, named)}" for subject, parts, doubtful in clauses)
        if len(text) <= LINE:
            break
    return text


def _grouped(parts: Mapping[str, Part | None], doubtful: Collection[str], named: int) -> str:
    """Scopes by direction, in the order of the report. named: how many of a group are named."""
    groups: dict[str, list[str]] = {group: [] for group in GROUPS}
    for scope, part in parts.items():
        if part is None or math.isnan(part.estimate.effect):
            groups[UNMEASURED].append(scope)
        else:
            groups[_direction(part, scope in doubtful)].append(f"{scope} ({100 * part.estimate.effect:+.1f})")
    return ", ".join(f"{group} on {_few(scopes, named)}" for group, scopes in groups.items() if scopes)


def _direction(part: Part, is_doubtful: bool) -> str:
    if is_doubtful or not (part.low > 0 or part.high < 0):
        return UNDECIDED
    return BETTER if part.low > 0 else WORSE


def _few(scopes: Sequence[str], named: int) -> str:
    rest = len(scopes) - named
    return ", ".join(scopes[:named]) + (f" and {rest} more" if rest > 0 else "")
