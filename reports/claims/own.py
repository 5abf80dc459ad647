"""Claims of one's own, from a YAML file: two methods, a set, a margin and a direction (docs/claims.md).

They are decided as the claims of the ledger are: the same pairing, intervals, corrections and verdicts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator

from carft.core.errors import UserError, unknown
from carft.core.yaml_file import parse_yaml
from reports.analysis.contrasts import Contrast, Sets, every_set, every_suite, id_test, suite_set
from reports.claims.rules import MeanClaim, set_own, shipped
from reports.evidence.evidence import Entry, Evidence
from reports.evidence.methods import method_card, methods

#: the copy that a report keeps of the claims that it was asked for
NAME = "claims.yaml"
#: ledgers of other papers that ship as examples
SHIPPED = {"wise-ft": "ledger_wise_ft.yaml", "flyp": "ledger_flyp.yaml"}
Kind = Literal["nine", "single", "imagenet", "domainbed"]
SETS: Mapping[str, tuple[str, Sets, str]] = {
    "id": ("the test sets", id_test, "test"),
    "ood": ("the mean of the sets under shift", every_suite, "suites"),
    "all": ("the mean of all held-out sets", every_set, "test"),
}
SUITE = "ood/"
_ENTRY = re.compile(r"(\w+)(?:\((\w+)\)(?: alpha (\d(?:\.\d+)?)| (greedy))?)?")
#: the same as tables show it: ``WiSE-FT of FT alpha 0.5``, ``greedy soup of FT``
_SHOWN_ENTRY = re.compile(
    r"(?P<greedy>greedy )?(?P<method>.+?)(?: of (?P<parent>.+?))?(?: alpha (?P<alpha>\d(?:\.\d+)?))?"
)


class OwnClaim(BaseModel):
    """One claim."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

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
    def _known(cls, label: str) -> str:
        try:
            entry_of(label)
        except UserError as error:
            raise ValueError(str(error).removesuffix(".")) from error
        return label

    @field_validator("set")
    @classmethod
    def _is_set(cls, name: str) -> str:
        if name not in SETS and not (name.startswith(SUITE) and len(name) > len(SUITE)):
            raise ValueError(f"there is no set '{name}': write {', '.join(SETS)} or ood/NAME")
        return name

    @property
    def sets(self) -> tuple[str, Sets, str]:
        """What the set is called, its sets of a task, and what a family needs to be asked."""
        name = self.set.removeprefix(SUITE)
        return SETS.get(self.set) or (name, suite_set(name), "suites")

    def claim(self) -> DeclaredClaim:
        """The claim as an entry of a ledger."""
        words, sets, needs = self.sets
        what = "top-1" if self.metric == "top1" else "context recognition"
        bound = "lower bound above" if self.direction == "above" else "upper bound below"
        rule = f"{self.first} minus {self.second}, {what}, {words}, mean over tasks: {bound} {self.margin:g} points."
        needs = "contexts" if self.metric == "context" else needs
        words_of = (self.title, self.statement or rule, rule, self.source)
        return DeclaredClaim(
            self.id,
            *words_of,
            self.margin,
            tuple(self.asked_of),
            needs,
            contrast=Contrast(entry_of(self.first), entry_of(self.second), self.metric, sets),
            name=f"{self.first} - {self.second}, {words.removeprefix('the ')}",
            side=self.direction,
            missing=f"{self.first} and {self.second}",
        )


class DeclaredClaim(MeanClaim):
    """A claim of a file: the difference of two entries lies on one side of a margin."""

    def command(self, evidence: Evidence) -> str:
        return _command(evidence, self.contrast.first, self.contrast.second)


class ClaimsFile(BaseModel):
    """The file."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    claims: list[OwnClaim] = Field(min_length=1)


def entry_of(label: str) -> Entry:
    """The row of the tables with this label, or that is shown so. Raises ``UserError`` for what is none."""
    method, parent, alpha, greedy = _parsed(label)
    kind = method_card(method).kind
    if (kind == "post-hoc") != (parent is not None) or (parent and method_card(parent).kind != "trained"):
        raise UserError(f"'{label}' is no method.", "wise_ft and soup are of a trained method, as wise_ft(ft).")
    rule = float(bool(greedy)) if method == "soup" else None
    if (alpha and method != "wise_ft") or (greedy and method != "soup") or float(alpha or 0) > 1:
        raise UserError(f"'{label}' is no method.", "wise_ft has an alpha in 0 to 1, soup may be greedy.")
    return Entry(method, parent, None if alpha is None else float(alpha), rule)


def _parsed(label: str) -> tuple[str, str | None, str | None, str | None]:
    """Method, parent, alpha and rule of a row's label, by names or as tables show it; a method's label may be both."""
    names = {card.label: name for name, card in methods().items()}
    if label in names:
        return names[label], None, None, None
    if match := _ENTRY.fullmatch(label):
        method, parent, alpha, greedy = match.groups()
        return method, parent, alpha, greedy
    shown = _SHOWN_ENTRY.fullmatch(label)
    if shown is None or shown["method"] not in names or (shown["parent"] or "FT") not in names:
        raise UserError(f"'{label}' is no method.", "Write a name such as ft, or wise_ft(ft) alpha 0.5")
    parent = names[shown["parent"]] if shown["parent"] else None
    return names[shown["method"]], parent, shown["alpha"], shown["greedy"]


def _command(evidence: Evidence, first: Entry, second: Entry) -> str:
    """The sweep that runs both sides."""
    wanted = {name for entry in (first, second) for name in (entry.method, entry.parent) if name}
    sweep = evidence.scope.command if evidence.scope else "python cli.py sweep downstream"
    plugin = " --plugin FILE" if any(evidence.archive.catalog.plugged(name) for name in wanted) else ""
    return f"{sweep} --methods {','.join(name for name in evidence.methods if name in wanted | {'zeroshot'})}{plugin}"


def read_claims(text: str, source: str) -> list[OwnClaim]:
    """The claims of a YAML text. Raises ``UserError``, with the line, for what cannot be."""
    claims = parse_yaml(ClaimsFile, text, source, "claims file").claims
    names = [claim.id for claim in claims]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UserError(f"'{source}' has two claims called '{twice}'.", "Give each its own id.")
    return claims


def ask(text: str, source: str) -> None:
    """Ask the claims of a YAML text after those of the ledger, and no others; an empty text asks none.

    It holds for this process until the next call. Raises ``UserError`` as above, and for an id or title of the ledger.
    """
    claims = read_claims(text, source) if text else []
    titles = {claim.title.casefold() for claim in shipped().values()}
    if taken := next((claim.title for claim in claims if claim.title.strip().casefold() in titles), None):
        raise UserError(f"'{source}' has a claim with the title of one in the ledger, '{taken}'.", "Give it another.")
    set_own({claim.id: claim.claim() for claim in claims}, source)


def claims_text(name: str) -> str:
    """The text of a shipped ledger (``wise-ft``, ``flyp``), or of a file. Raises ``UserError`` for neither."""
    if name in SHIPPED:
        return files("reports.claims").joinpath(SHIPPED[name]).read_text(encoding="utf-8")
    if not name.endswith((".yaml", ".yml")):
        raise unknown("ledger", name, SHIPPED)
    try:
        text = Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"The claims file '{name}' cannot be read: {error}.", "Give the path of a YAML file."
        ) from error
    read_claims(text, name)
    return text


def ask_again(folder: Path) -> None:
    """Ask the claims of one's own that a report was asked for; none where it has no copy of them."""
    path = folder / NAME
    ask(path.read_text(encoding="utf-8") if path.is_file() else "", str(path))
