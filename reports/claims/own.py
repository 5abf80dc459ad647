"""Claims of one's own, from a YAML file: two methods, a set, a margin and a direction (docs/claims.md).

They are decided as the claims of the ledger are: the same pairing, intervals, corrections and verdicts.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Literal, get_args

from pydantic import BaseModel, Field, ValidationInfo, field_validator

from carft.config.registry import MethodCard
from carft.core.errors import UserError, unknown
from carft.core.files import read_given
from carft.core.yaml_file import parse_yaml
from reports.analysis.contrasts import Contrast, Sets, every_set, every_suite, id_test, suite_set
from reports.claims.ledger import ledger
from reports.claims.rules import MeanClaim
from reports.evidence.evidence import Entry, entries_of, label

#: the copy that a report keeps of the claims that it was asked for
NAME = "claims.yaml"
#: ledgers of other papers that ship as examples
SHIPPED = {"wise-ft": "ledger_wise_ft.yaml", "flyp": "ledger_flyp.yaml"}
Kind = Literal["several", "single", "imagenet", "domainbed"]
SETS: Mapping[str, tuple[str, Sets, str]] = {
    "id": ("test sets", id_test, "test"),
    "ood": ("mean of the sets under shift", every_suite, "suites"),
    "all": ("mean of all held-out sets", every_set, "test"),
}
SUITE = "ood/"


class OwnClaim(BaseModel, extra="forbid", strict=True, frozen=True):
    """One claim."""

    id: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9]{0,11}$")
    """Short name, such as W1."""
    title: str = Field(min_length=1, max_length=120)
    """What is claimed, in a few words."""
    first: str
    """Method that is said to be better: a name, ``wise_ft(ft)``, ``wise_ft(ft) alpha 0.5`` or ``soup(ft) greedy``; or
    what tables show of it, such as ``WiSE-FT of FT alpha 0.5``."""
    second: str
    """Method that it is compared with."""
    set: str
    """``id``, ``ood`` (mean of all sets under shift), ``all``, or ``ood/NAME`` for one of them."""
    metric: Literal["top1", "context"] = "top1"
    """Accuracy, or context recognition."""
    margin: float = Field(default=0, ge=-100, le=100)
    """Points that the interval of first minus second must lie above, or below."""
    has_own_margin: bool = False
    """Whether the margin is this audit's and not the source's."""
    direction: Literal["above", "below"] = "above"
    """On which side of the margin."""
    statement: str = ""
    """The claim in a sentence; default: made from the fields above."""
    source: str = ""
    """Where the claim is from."""
    asked_of: list[Kind] = list(get_args(Kind))
    """Kinds of families that are asked."""

    @field_validator("first", "second")
    @classmethod
    def _known(cls, label: str, info: ValidationInfo) -> str:
        try:
            entry_of(label, (info.context or {})["methods"])
        except UserError as error:
            raise ValueError(str(error).removesuffix(".")) from error
        return label

    @field_validator("set")
    @classmethod
    def _is_set(cls, name: str) -> str:
        if name not in SETS and not (name.startswith(SUITE) and len(name) > len(SUITE)):
            raise ValueError(f"there is no set '{name}': write {', '.join(SETS)} or ood/NAME")
        return name

    def claim(self, methods: Mapping[str, MethodCard]) -> MeanClaim:
        """The claim as an entry of a ledger."""
        if self.set in SETS:
            place, sets, needs = SETS[self.set]
            where = f"the {place}"
        else:
            place = where = self.set.removeprefix(SUITE)
            sets, needs = suite_set(place), "suites"
        what = "top-1"
        if self.metric == "context":
            what, needs = "context recognition", "contexts"
        bound = "lower bound above" if self.direction == "above" else "upper bound below"
        rule = f"{self.first} minus {self.second}, {what}, {where}, mean over tasks: {bound} {self.margin:g} points."
        first, second = entry_of(self.first, methods), entry_of(self.second, methods)
        run = [first.method, first.parent, second.method, second.parent]
        return MeanClaim(
            self.id,
            self.title,
            self.statement or rule,
            rule,
            self.source,
            self.margin,
            self.has_own_margin,
            asked_of=tuple(self.asked_of),
            needs=needs,
            contrast=Contrast(first, second, self.metric, sets),
            sides=f"{self.first} - {self.second}",
            place=place,
            side=self.direction,
            missing=(self.first, self.second),
            own=True,
            run=[method for method in run if method],
        )


class ClaimsFile(BaseModel, extra="forbid", strict=True, frozen=True):
    """The file."""

    claims: list[OwnClaim] = Field(min_length=1)


def entry_of(name: str, methods: Mapping[str, MethodCard]) -> Entry:
    """The row of the tables with this name, or that is shown so. Raises ``UserError`` for what is none."""
    row, _, alpha = name.partition(" alpha ")
    rows: dict[str, Entry] = {}
    for entry in entries_of(methods):
        rows[label(entry.label, methods)] = entry
        rows[entry.label] = entry
    if row not in rows:
        raise unknown("method", row, rows)
    if not alpha:
        return rows[row]
    if rows[row].method != "wise_ft" or not re.fullmatch(r"0|1|0\.\d+|1\.0+", alpha):
        raise UserError(f"'{name}' is no method.", "wise_ft has an alpha in 0 to 1, and no other method has one.")
    return replace(rows[row], alpha=float(alpha))


def claims_text(name: str) -> str:
    """The text of a shipped ledger (``wise-ft``, ``flyp``), or of a file; empty for an empty name."""
    if not name:
        return ""
    if name in SHIPPED:
        return files("reports.claims").joinpath(SHIPPED[name]).read_text(encoding="utf-8")
    if not name.endswith((".yaml", ".yml")):
        raise unknown("ledger", name, SHIPPED)
    return read_given(Path(name), "claims file", "Give the path of a YAML file.")


def read_claims(text: str, source: str, methods: Mapping[str, MethodCard]) -> list[MeanClaim]:
    """The claims of a YAML text.

    source: the file, for messages; none: no claims. methods: those that a claim can name. Raises ``UserError``, with
    the line, for what cannot be, and for an id that another claim, also of the ledger, has.
    """
    if not source:
        return []
    claims = parse_yaml(ClaimsFile, text, source, "claims file", context={"methods": methods}).claims
    counts = Counter([*ledger(), *(claim.id for claim in claims)])
    for name, count in counts.items():
        if count > 1:
            raise UserError(f"'{source}' has a claim '{name}', as it or the ledger has already.", "Give it another id.")
    return [claim.claim(methods) for claim in claims]
