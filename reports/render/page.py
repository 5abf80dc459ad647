"""What a person reads: one self-contained HTML file, the same in Markdown, tables for a paper. Names are escaped."""

from __future__ import annotations

import base64
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup, escape

from reports.claims.claim import Claim, Verdict, VerdictNumber
from reports.evidence.evidence import ORACLE
from reports.figures.figure import DrawnFigure
from reports.render import formatting
from reports.render.formatting import FormattedTable, formatted, mark_of
from reports.render.pictures import Gallery
from reports.render.provenance import cell_block, provenance
from reports.tables.table import Sources, rows_of, table_cards
from reports.words import verdict_words as of_verdicts
from reports.words.figures_words import prompt_words
from reports.words.glossary import TERMS
from reports.words.page_words import count_words, notes_of, others_words, rests_on
from reports.words.provenance_words import about_words, maker_words, rests_on_words

if TYPE_CHECKING:
    pass

#: marks a page as one of this package, whose folder a report may write to again
GENERATOR = Markup('<meta name="generator" content="carft">')
#: signs of the notes below the table of claims, before numbers
SIGNS = ("†", "‡", "§", "¶")


@dataclass(frozen=True)
class Place:
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

    sources: Sources
    figures: Sequence[DrawnFigure]
    fingerprint: str
    """Of the records that the report was made from."""
    pictures: Mapping[str, str] = field(default_factory=dict)
    """Name -> ``data:`` address of the pictures that were made."""
    first: Sequence[Verdict] = field(init=False)
    """Of each claim the verdict in the first scope where it was run, then those that were run in none."""
    further: dict[str, list[Verdict]] = field(init=False, default_factory=dict)
    """Scope -> the other verdicts, those that were not run at the end."""

    def __post_init__(self) -> None:
        self.evidence = self.sources.evidence
        self.verdicts = self.sources.verdicts
        first: dict[str, Verdict] = {}
        for verdict in sorted(self.verdicts, key=lambda verdict: bool(verdict.missing)):
            if first.setdefault(verdict.claim, verdict) is not verdict:
                self.further.setdefault(verdict.scope, []).append(verdict)
        self.first = list(first.values())

    @cached_property
    def tables(self) -> list[FormattedTable]:
        """The tables of the page."""
        made = self.sources.tables()
        tables = []
        for name, card in table_cards().items():
            if card.on_page:
                tables.append(formatted(card, made[name], made.methods))
        return tables

    @cached_property
    def cells(self) -> Mapping[str, Any]:
        """The list of all cells."""
        return cell_block(self.sources)

    @cached_property
    def why(self) -> Mapping[str, Any]:
        """Where the numbers of the page come from."""
        return provenance(self.sources, self.tables, self.cells)

    @cached_property
    def gallery(self) -> Gallery:
        return Gallery.of(self.sources, self.pictures)

    @cached_property
    def problems(self) -> list[dict[str, Any]]:
        """What could not be used."""
        return rows_of(self.sources.table("problems"))

    def makers(self) -> list[tuple[str, int]]:
        """Versions and machines, each with the number of cells that it made."""
        cells = Counter[str]()
        for record in self.evidence.records.values():
            cells[maker_words(record.made_with)] += 1
        return sorted(cells.items())

    def section(self, name: str) -> list[DrawnFigure]:
        """The figures of a section of the page."""
        return [drawn for drawn in self.figures if drawn.figure.section == name]

    @property
    def scopes(self) -> list[str]:
        """Those in which something was decided."""
        decided = set[str]()
        for verdict in self.verdicts:
            if not verdict.missing:
                decided.add(verdict.scope)
        return [view.name for view in self.evidence.views() if view.name in decided]

    @property
    def has_scopes(self) -> bool:
        """Whether verdicts are on several things that must not be pooled."""
        return len({self.evidence.name, *self.scopes}) > 1

    @property
    def matrix(self) -> list[tuple[Claim, list[Verdict | None]]]:
        """Each claim of the ledger with its verdict in every scope; with one alone where no scope can be asked."""
        by_claim: dict[str, dict[str, Verdict]] = {}
        claims: dict[str, Claim] = {}
        for verdict in self.verdicts:
            claims.setdefault(verdict.claim, verdict.asked)
            by_claim.setdefault(verdict.claim, {})[verdict.scope] = verdict
        rows: list[tuple[Claim, list[Verdict | None]]] = []
        for name, by_scope in by_claim.items():
            if "" in by_scope:
                rows.append((claims[name], [by_scope[""]]))
            else:
                rows.append((claims[name], [by_scope.get(scope) for scope in self.scopes]))
        return rows

    @cached_property
    def axes(self) -> dict[str, float]:
        """Kind of verdict -> half the width of the axis of its intervals, a share of 1."""
        numbers: dict[str, list[VerdictNumber]] = {"accuracy": [], "contexts": []}
        for verdict in self.verdicts:
            if verdict.number.unit == "points":
                numbers[formatting.kind_of(verdict)].append(verdict.number)
        return {kind: formatting.axis(of_kind) for kind, of_kind in numbers.items()}

    @property
    def key(self) -> dict[str, str]:
        """Icon of the verdicts -> its word."""
        key = {}
        for verdict in self.verdicts:
            if verdict.basis == "records":
                key[mark_of(verdict).icon] = verdict.verdict
        return key

    @cached_property
    def notes(self) -> dict[str, str]:
        """What holds of several verdicts -> the sign that stands for it in the table of claims."""
        shared: dict[str, None] = {}
        for verdict in self.verdicts:
            shared |= dict.fromkeys(notes_of(verdict))
        signs = {}
        for place, note in enumerate(shared):
            signs[note] = SIGNS[place] if place < len(SIGNS) else f"({place - len(SIGNS) + 1})"
        return signs

    @cached_property
    def places(self) -> Mapping[tuple[str, str], Place]:
        """(claim, scope) of each verdict -> its place on the page."""
        places = {}
        scopes = Counter[str]()
        part = 0
        for row, verdict in enumerate(self.verdicts):
            scopes[verdict.claim] += 1
            anchor = f"claim-{verdict.claim}-{scopes[verdict.claim]}".removesuffix("-1")
            places[verdict.claim, verdict.scope] = Place(row, part, anchor)
            part += len(verdict.parts)
        return places

    def place(self, verdict: Verdict) -> Place:
        """Where the page tells of a verdict."""
        return self.places[verdict.claim, verdict.scope]

    def anchor(self, verdict: Verdict) -> str:
        """The address of a verdict on the page."""
        return self.place(verdict).anchor


def anchor_of(term: str) -> str:
    """Where the page defines a term: ``term-confirm-seed``."""
    return "term-" + re.sub(r"[^a-z0-9]+", "-", term.lower()).strip("-")


def term(name: str, shown: str = "") -> Markup:
    """A link from a term to its definition. shown: the words on the page, by default the term; KeyError if unknown."""
    if name not in TERMS:
        raise KeyError(name)
    place = anchor_of(name)
    return Markup('<a class="term" href="#{0}" aria-describedby="{0}">{1}</a>').format(place, escape(shown or name))


def embedded_svg(drawn: DrawnFigure) -> str:
    """The ``data:`` address of a figure."""
    return "data:image/svg+xml;base64," + base64.b64encode(drawn.svg.read_bytes()).decode()


#: what templates call by name, as functions and as filters
CALLED: Sequence[Callable[..., Any]] = (
    *(about_words, count_words, embedded_svg, mark_of, notes_of, prompt_words, rests_on_words),
    *(formatting.amount, formatting.axis, formatting.bar, formatting.interval),
    *(formatting.kind_of, formatting.minus, others_words, formatting.packed_json),
    *(rests_on, anchor_of, term),
    *(of_verdicts.worst_of, of_verdicts.beside_words, of_verdicts.chance_words),
    *(of_verdicts.first_sight, of_verdicts.power_words, of_verdicts.reason_words),
    of_verdicts.tuning_words,
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
