"""What a person reads: one self-contained HTML file, the same in Markdown, tables for a paper. Names are escaped."""

from __future__ import annotations

import base64
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup, escape

from carft.config.weights import display_form
from reports.claims.answer import QUESTION, PageAnswer
from reports.claims.claim import Claim, Verdict
from reports.claims.notes import Amendment, amendments, chance_words, first_sight, worst_of
from reports.evidence.evidence import Evidence, label
from reports.figures.contexts import confusion_sentences
from reports.figures.figure import DrawnFigure, figures
from reports.figures.style import prompt_words
from reports.render.checklist import checklist
from reports.render.encoding import latex, markdown, minus, minuses, packed_cells, packed_json
from reports.render.formatting import (
    ICONS,
    FormattedTable,
    amount,
    axes_of,
    bar,
    beside_words,
    formatted,
    interval,
    kind_of,
    margin_of,
    mark_of,
    notes_of,
    others_words,
    points,
    rests_on,
    span_of,
)
from reports.render.glossary import TERMS, anchor_of, term
from reports.render.pictures import Gallery
from reports.render.provenance import cell_block, made_by, provenance
from reports.tables.table import Sources, rows_of, table_cards

#: how a sentence names a claim
CLAIM = re.compile(r"\bC\d+[a-z]?\b")
#: signs of the notes below the table of claims, before numbers
SIGNS = ("†", "‡", "§", "¶")


@dataclass(frozen=True)
class Content:
    """What all pages show."""

    scale: str
    about: str
    question: str
    answer: PageAnswer
    scope: str
    """The one that is reported first."""
    scopes: Sequence[str]
    """Those in which something was decided."""
    counts: str
    rests_on: str
    winners: str
    seal: str
    chance: str
    amendments: Sequence[Amendment]
    claims: Sequence[tuple[Claim, Verdict]]
    tables: Sequence[FormattedTable]
    gallery: Gallery
    confusion: Sequence[str]
    checklist: Sequence[tuple[str, str]]
    cells: Mapping[str, Any]
    why: Mapping[str, Any]
    figures: Sequence[DrawnFigure]
    problems: Sequence[Mapping[str, Any]]
    provenance: Sequence[tuple[str, int]]
    fingerprint: str

    @staticmethod
    def of(
        sources: Sources, figures: Sequence[DrawnFigure], fingerprint: str, pictures: Mapping[str, str] | None = None
    ) -> Content:
        """Gather the words and numbers of a report.

        fingerprint: of the records it was made from. pictures: name -> ``data:`` address of those that were made.
        """
        evidence, tables, verdicts = sources.evidence, sources.tables(), sources.verdicts
        shown = [formatted(card, tables[name], tables.methods) for name, card in table_cards().items() if card.on_page]
        cells, decided = cell_block(sources), [v for v in verdicts if not v.missing]
        return Content(
            scale=evidence.scale,
            about=about_words(evidence),
            question=QUESTION,
            answer=sources.answer,
            scope=evidence.name,
            scopes=[v.name for v in evidence.views() if v.name in {verdict.scope for verdict in decided}],
            counts=count_words(verdicts),
            rests_on=rests_on_words(evidence),
            winners=winners_again(evidence, tables["trials"], tables["tasks"]),
            seal=sources.unsealings.words(),
            chance=chance_words(verdicts),
            amendments=amendments(),
            claims=[(v.asked, v) for v in verdicts],
            tables=shown,
            gallery=Gallery.of(sources, pictures or {}),
            confusion=confusion_sentences(tables["confusion"]),
            checklist=checklist(evidence),
            cells=cells,
            why=provenance(sources, shown, cells),
            figures=figures,
            problems=rows_of(tables["problems"]),
            provenance=sorted(Counter(made_by(r.provenance) for r in evidence.records.values()).items()),
            fingerprint=fingerprint,
        )

    def section(self, name: str) -> list[DrawnFigure]:
        """The figures of a section of the page, those of all scopes of one together."""
        order = list(figures())
        chosen = [drawn for drawn in self.figures if drawn.figure.section == name]
        return sorted(chosen, key=lambda drawn: order.index(drawn.figure.name))

    @property
    def axes(self) -> dict[str, float]:
        """Kind of verdict -> the half width of the axis that its intervals share."""
        return axes_of([v for _, v in self.claims])

    @property
    def has_scopes(self) -> bool:
        """Whether verdicts are on several things that must not be pooled."""
        return len({self.scope, *self.scopes}) > 1

    @property
    def first(self) -> list[tuple[Claim, Verdict]]:
        """Of each claim the verdict in the first scope where it was run, then those that were run in none."""
        by_claim: dict[str, tuple[Claim, Verdict]] = {}
        for claim, v in sorted(self.claims, key=lambda pair: bool(pair[1].missing)):
            by_claim.setdefault(claim.id, (claim, v))
        return list(by_claim.values())

    @property
    def further(self) -> dict[str, list[tuple[Claim, Verdict]]]:
        """Scope -> the other verdicts, those that were not run at the end."""
        listed = {id(v) for _, v in self.first}
        scopes: dict[str, list[tuple[Claim, Verdict]]] = {v.scope: [] for _, v in self.claims if id(v) not in listed}
        for claim, v in sorted(self.claims, key=lambda pair: bool(pair[1].missing)):
            if id(v) not in listed:
                scopes[v.scope].append((claim, v))
        return scopes

    @property
    def matrix(self) -> list[tuple[Claim, list[Verdict | None]]]:
        """Each claim with its verdict in every scope; with one alone where no scope can be asked."""
        by_claim: dict[str, tuple[Claim, dict[str, Verdict]]] = {}
        for claim, v in self.claims:
            by_claim.setdefault(claim.id, (claim, {}))[1][v.scope] = v
        return [
            (claim, [of[""]] if "" in of else [of.get(scope) for scope in self.scopes])
            for claim, of in by_claim.values()
        ]

    @property
    def key(self) -> list[tuple[str, str]]:
        """(icon, word) of the verdicts, each icon once."""
        marks = {mark_of(v).icon: v.verdict.partition(",")[0] for _, v in self.claims if v.basis == "records"}
        return list(marks.items())

    @property
    def notes(self) -> dict[str, str]:
        """What holds of several verdicts -> the sign that stands for it in the table of claims."""
        notes = dict.fromkeys(note for _, verdict in self.claims for note in notes_of(verdict))
        return dict(zip(notes, SIGNS + tuple(f"({k})" for k in range(1, len(notes) + 1)), strict=False))

    def linked(self, sentence: str, scope: str) -> Markup:
        """A sentence on a scope; its claims are links to their places."""
        anchors = {v.claim: self.anchor(v) for _, v in self.claims if v.scope == scope}

        def link(match: re.Match[str]) -> str:
            return f'<a href="#{anchors[match[0]]}">{match[0]}</a>' if match[0] in anchors else match[0]

        return Markup(CLAIM.sub(link, str(escape(sentence))))

    def row(self, verdict: Verdict) -> int:
        """The row of a verdict in the table ``claims``."""
        return next(k for k, (_, v) in enumerate(self.claims) if v is verdict)

    def first_part(self, verdict: Verdict) -> int:
        """The row of a verdict's first part in the table ``verdicts``."""
        return sum(len(v.parts) for _, v in self.claims[: self.row(verdict)])

    def anchor(self, verdict: Verdict) -> str:
        """Where the page tells of a verdict: ``claim-ID``; a number is added for the claim's further scopes."""
        same = [v for _, v in self.claims if v.claim == verdict.claim]
        place = next(k for k, v in enumerate(same) if v is verdict)
        return f"claim-{verdict.claim}" + (f"-{place + 1}" if place else "")


def _environment(**settings: Any) -> Environment:
    environment = Environment(
        loader=PackageLoader("reports.render", "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        **settings,
    )
    environment.filters.update(amount=amount, share=partial(points, sign=False), prompt=prompt_words)
    environment.filters.update(step=lambda span: f"{100 * span:g}")
    environment.filters.update(
        kind=kind_of, mark=mark_of, margin=margin_of, interval=interval, rests_on=rests_on, notes=notes_of
    )
    environment.filters.update(first_sight=first_sight, worst_of=worst_of, beside=beside_words, others=others_words)
    glossary = sorted(TERMS.items(), key=lambda entry: entry[0].lower())
    environment.globals.update(glossary=glossary, term=term, anchor_of=anchor_of)
    environment.globals.update(bar=bar, span_of=span_of)
    return environment


@cache
def _environments() -> dict[str, Environment]:
    html = _environment(autoescape=select_autoescape(["html"]))
    html.filters["embed"] = lambda drawn: (
        "data:image/svg+xml;base64," + base64.b64encode(drawn.svg.read_bytes()).decode()
    )
    html.filters["packed_svg"] = lambda drawn: packed_json(drawn.svg.read_text(encoding="utf-8"))
    html.filters.update(minus=minus, minuses=minuses)
    html.filters.update(packed_cells=packed_cells, packed=packed_json)
    return {
        "index.html": html,
        "report.md": _environment(finalize=markdown),
        "tables.tex": _environment(finalize=latex),
    }


#: pages of a report, by file name
PAGES = ("index.html", "report.md", "tables.tex")


def rendered(name: str, content: Content) -> str:
    """The text of a page."""
    return _environments()[name].get_template(name).render(c=content)


def count_words(verdicts: Sequence[Verdict]) -> str:
    """How many claims came out how: ``2 contradicted``, with the ids of the claims unless there are several scopes.

    What was not run is counted at the end, and so is a claim that needs no run.
    """
    several = len({v.scope for v in verdicts if v.scope}) > 1  # several things that must not be pooled
    ours, others = ([v for v in verdicts if (v.basis == "records") == here] for here in (True, False))
    groups = {word: [v.claim for v in ours if v.verdict == word] for word in ICONS}
    counted = [
        f"{len(claims)} {word}" + ("" if several else f" ({', '.join(dict.fromkeys(claims))})")
        for word, claims in groups.items()
        if claims
    ]
    apart = "".join(f" Without any run: {v.claim} {mark_of(v).words}." for v in others)
    return f"Of {len(ours)} {'questions' if several else 'claims'}: {'; '.join(counted)}.{apart}"


def rests_on_words(evidence: Evidence) -> str:
    """How many cells and tasks there are, and the model and epochs of the first scope."""
    tasks, epochs = sum(len(view.tasks) for view in evidence.views()), int(evidence.studies[0].training.epochs)
    models = sorted({display_form(s.model, s.pretrained) for s in evidence.studies})
    named = ", ".join(f"{model} (weights '{weights}')" for model, weights in models)
    return (
        f"{len(evidence.records):,} cells, {tasks} task{'s' * (tasks > 1)}; {evidence.name}: model {named}, "
        f"{epochs} training epoch{'s' * (epochs > 1)}."
    )


def about_words(evidence: Evidence) -> str:
    """What the report is about: the tasks or family of the first scope, and how many more scopes there are."""
    more = len(evidence.others)
    return evidence.name + (f" and {more} other scope{'s' * (more > 1)}" if more else "")


def winners_again(evidence: Evidence, trials: pd.DataFrame, tasks: pd.DataFrame) -> str:
    """What winners of the first scope reach on validation when they are chosen and with fresh seeds.

    Empty where nothing was chosen. trials and tasks: the tables.
    """
    trials, tasks = (table[table["scope"] == evidence.name] if "scope" in table else table for table in (trials, tasks))
    keys = [name for name in ("task", "method", "search") if name in trials]
    if trials.empty or tasks.empty or trials.groupby(keys).size().max() == 1:
        return ""
    chosen = trials[trials["won"].astype(bool)].groupby(["method", "task"], sort=False)["val/top1"].mean()
    pairs = pd.DataFrame({"chosen": chosen, "again": tasks.set_index(["method", "task"])["val_top1"]}).dropna()
    means = 100 * pairs.groupby("method").mean().reindex(chosen.index.unique("method")).dropna()
    parts = [f"{label(m, evidence.methods)} {c:.1f} and {a:.1f} ({a - c:+.1f})" for m, c, a in means.itertuples()]
    if not parts:
        return ""
    return (
        f"Validation top-1 of winners in %, mean over tasks, in the search and with fresh seeds: {'; '.join(parts)}. "
        "The first number chose the winner, so it flatters it."
    )
