"""What a person reads: one self-contained HTML file, the same in Markdown, tables for a paper. Names are escaped."""

from __future__ import annotations

import base64
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup, escape

from reports.judge.claims.claim import Verdict, VerdictNumber
from reports.judge.evidence import ORACLE
from reports.judge.findings import Findings
from reports.render import formatting
from reports.render.figures.figure import DrawnFigure
from reports.render.formatting import FormattedTable, formatted
from reports.render.pictures import Pictures
from reports.render.provenance import cell_block, provenance
from reports.render.tables.table import Tables, rows_of, table_cards
from reports.render.words import page_words
from reports.render.words import verdict_words as of_verdicts
from reports.render.words.answer_words import PageAnswer
from reports.render.words.glossary import TERMS

#: marks a page as one of this package, whose folder a report may write to again
GENERATOR = Markup('<meta name="generator" content="carft">')


@dataclass(frozen=True)
class VerdictPlace:
    """Where the page tells of a verdict."""

    row: int
    """In the table ``claims``."""
    part: int
    """The row of its first part in the table ``verdicts``."""
    anchor: str
    """``claim-ID``; a number is added for the claim's further scopes."""


@dataclass
class Content:
    """What the pages show of a report. Templates know it as ``c``."""

    findings: Findings
    made: Tables
    """All tables."""
    answer: PageAnswer
    figures: Sequence[DrawnFigure]
    fingerprint: str
    """Of the records that the report was made from."""
    pictures: Pictures = field(default_factory=Pictures)
    first: Sequence[Verdict] = field(init=False)
    """Of each claim the verdict in the first scope where it was run, then those that were run in none."""
    further: dict[str, list[Verdict]] = field(init=False, default_factory=dict)
    """Scope -> the other verdicts, those that were not run at the end."""

    def __post_init__(self) -> None:
        self.evidence = self.findings.evidence
        self.verdicts = self.findings.verdicts
        first: dict[str, Verdict] = {}
        for verdict in sorted(self.verdicts, key=lambda verdict: bool(verdict.missing)):
            if first.setdefault(verdict.claim, verdict) is not verdict:
                self.further.setdefault(verdict.scope, []).append(verdict)
        self.first = list(first.values())

    @cached_property
    def tables(self) -> list[FormattedTable]:
        """The tables of the page."""
        tables = []
        for name, card in table_cards().items():
            if card.on_page:
                tables.append(formatted(card, self.made[name], self.made.methods))
        return tables

    @cached_property
    def cells(self) -> Mapping[str, Any]:
        """The list of all cells."""
        return cell_block(self.findings.evidence, self.made["cells"])

    @cached_property
    def why(self) -> Mapping[str, Any]:
        """Where the numbers of the page come from."""
        return provenance(self.findings.verdicts, self.made, self.tables, self.cells)

    @cached_property
    def problems(self) -> list[dict[str, Any]]:
        """What could not be used."""
        return rows_of(self.made["problems"])

    def makers(self) -> list[tuple[str, int]]:
        """Versions and machines, each with the number of cells that it made."""
        cells = Counter[str]()
        for record in self.evidence.records.values():
            cells[page_words.maker_words(record.made_with)] += 1
        return sorted(cells.items())

    def section(self, name: str) -> list[DrawnFigure]:
        """The figures of a section of the page."""
        return [drawn for drawn in self.figures if drawn.figure.section == name]

    @cached_property
    def scopes(self) -> list[str]:
        """Those in which something was decided."""
        decided = {verdict.scope for verdict in self.verdicts if not verdict.missing}
        return [view.name for view in self.evidence.views() if view.name in decided]

    @property
    def has_scopes(self) -> bool:
        """Whether verdicts are on several things that must not be pooled."""
        return len({self.evidence.name, *self.scopes}) > 1

    @property
    def matrix(self) -> Mapping[str, Mapping[str, Verdict]]:
        """Claim of the ledger -> scope -> verdict. What no scope decides stands in the first."""
        by_claim: dict[str, dict[str, Verdict]] = {}
        for verdict in self.verdicts:
            by_claim.setdefault(verdict.claim, {})[verdict.scope or self.evidence.name] = verdict
        return by_claim

    @cached_property
    def axes(self) -> dict[str, float]:
        """Kind of verdict -> half the width of the axis of its intervals, a share of 1."""
        numbers: dict[str, list[VerdictNumber]] = {"accuracy": [], "contexts": []}
        for verdict in self.verdicts:
            if verdict.number.unit == "points":
                numbers[formatting.kind_of(verdict)].append(verdict.number)
        return {kind: formatting.axis(of_kind) for kind, of_kind in numbers.items()}

    @cached_property
    def notes(self) -> dict[str, str]:
        """What holds of several verdicts -> the sign that stands for it in the table of claims."""
        signs: dict[str, str] = {}
        for verdict in self.verdicts:
            for note in page_words.notes_of(verdict):
                signs.setdefault(note, "†" * (1 + len(signs)))
        return signs

    @cached_property
    def places(self) -> Mapping[tuple[str, str], VerdictPlace]:
        """(claim, scope) of each verdict -> its place on the page."""
        places = {}
        scopes = Counter[str]()
        part = 0
        for row, verdict in enumerate(self.verdicts):
            scopes[verdict.claim] += 1
            anchor = f"claim-{verdict.claim}-{scopes[verdict.claim]}".removesuffix("-1")
            places[verdict.claim, verdict.scope] = VerdictPlace(row, part, anchor)
            part += len(verdict.parts)
        return places

    def place(self, verdict: Verdict) -> VerdictPlace:
        """Where the page tells of a verdict."""
        return self.places[verdict.claim, verdict.scope]


def anchor_of(term: str) -> str:
    """Where the page defines a term: ``term-confirm-seed``."""
    return "term-" + re.sub(r"[^a-z0-9]+", "-", term.lower()).strip("-")


def term(name: str, shown: str = "") -> Markup:
    """A link from a term to its definition. shown: the words on the page, by default the term; KeyError if unknown."""
    if name not in TERMS:
        raise KeyError(name)
    place = anchor_of(name)
    return Markup('<a class="term" href="#{0}" aria-describedby="{0}">{1}</a>').format(place, escape(shown or name))


def embedded_svg(path: Path) -> str:
    """The ``data:`` address of an SVG file."""
    return "data:image/svg+xml;base64," + base64.b64encode(path.read_bytes()).decode()


#: what templates call by name, as functions and as filters
CALLED: Sequence[Callable[..., Any]] = (
    *(formatting.amount, formatting.axis, formatting.bar, formatting.interval, formatting.mark_of),
    *(formatting.kind_of, formatting.minus, formatting.packed_json, anchor_of, embedded_svg, term),
    *(page_words.count_words, page_words.notes_of, page_words.others_words, page_words.prompt_words),
    *(page_words.rests_on, page_words.size_words, of_verdicts.beside_words, of_verdicts.first_sight),
    *(of_verdicts.power_words, of_verdicts.reason_words, of_verdicts.tuning_words, of_verdicts.worst_of),
)
#: page of a report, by file name -> how its environment escapes names
FRONT = "index.html"
PAGES: Mapping[str, Mapping[str, Any]] = {
    FRONT: {"autoescape": select_autoescape(["html"])},
    "report.md": {"finalize": formatting.markdown},
    "tables.tex": {"finalize": formatting.latex},
}


def rendered(name: str, content: Content) -> str:
    """The text of a page."""
    return _environment(name).get_template(name).render(c=content)


@cache
def _environment(page: str) -> Environment:
    loader = PackageLoader("reports.render", "templates")
    environment = Environment(
        loader=loader, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, **PAGES[page]
    )
    called = {function.__name__: function for function in CALLED}
    environment.filters.update(called)
    terms = sorted(TERMS.items(), key=lambda entry: entry[0].lower())
    environment.globals.update(called, glossary=terms, generator=GENERATOR, oracle=ORACLE)
    return environment
