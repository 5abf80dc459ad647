"""What a person reads: one self-contained HTML file, the same in Markdown, tables for a paper. Names are escaped."""

import base64
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup, escape

from carft.config.cell import display_form
from reports.analysis.contrasts import ASSUMED
from reports.claims import notes
from reports.claims.claim import ICONS, Claim, Verdict
from reports.claims.power import ENOUGH
from reports.evidence.evidence import Evidence, label
from reports.evidence.origins import PluginUse, plugins_used
from reports.figures.contexts import confusion_sentences
from reports.figures.figure import DrawnFigure
from reports.figures.style import prompt_words
from reports.render import formatting
from reports.render.formatting import FormattedTable, axes_of, formatted, mark_of, notes_of
from reports.render.pictures import Gallery
from reports.render.provenance import cell_block, made_by, provenance
from reports.tables.table import Sources, rows_of, table_cards
from reports.words import verdict as of_verdicts
from reports.words.answer import QUESTION
from reports.words.caveats import caution_words, seal_words

#: how a sentence names a claim
CLAIM = re.compile(r"\bC\d+[a-z]?\b")
#: marks a page as one of this package, whose folder a report may write to again
GENERATOR = Markup('<meta name="generator" content="carft">')
#: signs of the notes below the table of claims, before numbers
SIGNS = ("†", "‡", "§", "¶")
#: what the terms of a report mean; page and report.md list them, and the page shows one where it is used
TERMS: Mapping[str, str] = {
    "alpha": "Weight of the fine-tuned model in WiSE-FT: 0 is the pretrained model, 1 the fine-tuned one.",
    "CAR-FT": "Fine-tuning with one more term, which holds the model's context distribution near that of the "
    "pretrained model.",
    "cell": "One fully specified run: task, method, hyperparameters, seed, training recipe.",
    "claim": "A statement of the paper, or about it, with the rule that decides it.",
    "confirm seed": "A fresh seed with which the winner of a search is trained again. Test numbers come from these.",
    "context": "How an image shows its subject, in the words of a prompt, such as “a sketch of”.",
    "context recognition": "The share of images whose context the model names, averaged over contexts. Guessing "
    "among K contexts recognises one in K: that is chance.",
    "FT": "Plain fine-tuning: all weights of the image encoder, cross-entropy alone.",
    "group": "Images that are not independent of each other, such as those of one drawing. A group is one observation.",
    "Holm's correction": "Makes it harder to decide when several parts are tested at once, so that chance does not.",
    "ID test": "The test set of the distribution that was trained on (in distribution).",
    "interval": "95 % interval: in 95 of 100 repetitions such an interval holds the true value.",
    "KL weight": "Weight of CAR-FT's additional term. At 0, CAR-FT is plain fine-tuning.",
    "margin": "The size of a difference that a claim calls relevant. That of a shipped claim was fixed in advance.",
    "null check": "Something that must hold by construction, such as CAR-FT with weight 0 predicting what FT does.",
    "OOD": "Out of distribution: sets that differ from the training data, such as sketches.",
    "power": "How often a claim would be decided if the truth were what others report, or "
    f"{100 * ASSUMED:g} points beyond each margin where nothing is on record. Below {100 * ENOUGH:g} % an open claim "
    "is not decidable at this size.",
    "points": "Percentage points of accuracy.",
    "scale": "What was run: miniature (drawings, a tiny CLIP), paper (the paper's data sets) or own (your images). "
    "Scales are never pooled.",
    "study": "The search for the hyperparameters of one method on one task.",
    "suite": "A test set under a shift of distribution, such as renditions.",
    "top-1": "Accuracy: the share of images whose most probable class is the right one.",
    "trial": "One setting of the hyperparameters that a search trains and scores on validation.",
    "tuning luck": "Another search could have found another winner. With one search a study, intervals leave it out.",
    "unsealed": "Evaluated on the test set and the suites, which searches never see.",
    "verdict": "The answer to a claim: reproduced, contradicted, no difference above a margin, inconclusive, not "
    "decidable at this size, cannot be asked here, not comparable, or not run. From one search it is suggested at "
    "most. In doubt, it rests on evidence of which a part is missing or unsound.",
    "visible from": "The smallest true difference that the experiment would show in 80 % of repetitions. That all "
    "deciding parts of a claim show theirs at once is less likely.",
    "WiSE-FT": "The mean of the weights of the pretrained and the fine-tuned model, weighted by alpha.",
    "worst": "Of several parts that all must hold, the one whose interval lies least on the claim's side.",
    "zero-shot": "The pretrained model as it is, with classes given as prompts.",
}


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

    @property
    def of_ledger(self) -> list[Verdict]:
        """The verdicts on claims of the ledger."""
        return [verdict for verdict in self.verdicts if not verdict.asked.own]

    @property
    def of_own(self) -> list[Verdict]:
        """The verdicts on a reader's own claims."""
        return [verdict for verdict in self.verdicts if verdict.asked.own]

    @cached_property
    def tables(self) -> list[FormattedTable]:
        """The tables of the page."""
        made, cards = self.sources.tables(), table_cards()
        return [formatted(card, made[name], made.methods) for name, card in cards.items() if card.on_page]

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
        return sorted(Counter(made_by(record.made_with) for record in self.evidence.records.values()).items())

    @cached_property
    def plugins(self) -> list[PluginUse]:
        """Plug-ins that processes of cells had loaded."""
        return plugins_used(self.evidence.archive.protocol.journal, self.evidence.records)

    def section(self, name: str) -> list[DrawnFigure]:
        """The figures of a section of the page."""
        return [drawn for drawn in self.figures if drawn.figure.section == name]

    @property
    def scopes(self) -> list[str]:
        """Those in which something was decided."""
        decided = {verdict.scope for verdict in self.verdicts if not verdict.missing}
        return [view.name for view in self.evidence.views() if view.name in decided]

    @property
    def has_scopes(self) -> bool:
        """Whether verdicts are on several things that must not be pooled."""
        return len({self.evidence.name, *self.scopes}) > 1

    @cached_property
    def axes(self) -> dict[str, float]:
        """Kind of verdict -> the half width of the axis that its intervals share."""
        return axes_of(self.verdicts)

    @property
    def matrix(self) -> list[tuple[Claim, list[Verdict | None]]]:
        """Each claim of the ledger with its verdict in every scope; with one alone where no scope can be asked."""
        by_claim: dict[str, dict[str, Verdict]] = {}
        for verdict in self.of_ledger:
            by_claim.setdefault(verdict.claim, {})[verdict.scope] = verdict
        return [
            (next(iter(of.values())).asked, [of[""]] if "" in of else [of.get(scope) for scope in self.scopes])
            for of in by_claim.values()
        ]

    @property
    def key(self) -> dict[str, str]:
        """Icon of the verdicts -> its word."""
        return {mark_of(v).icon: v.verdict.partition(",")[0] for v in self.verdicts if v.basis == "records"}

    @cached_property
    def notes(self) -> dict[str, str]:
        """What holds of several verdicts -> the sign that stands for it in the table of claims."""
        shared = dict.fromkeys(note for verdict in self.verdicts for note in notes_of(verdict))
        return dict(zip(shared, SIGNS + tuple(f"({k})" for k in range(1, len(shared) + 1)), strict=False))

    def linked(self, sentence: str, scope: str) -> Markup:
        """A sentence on a scope; its claims are links to their places."""
        anchors = {v.claim: self.anchor(v) for v in self.verdicts if v.scope == scope}

        def link(match: re.Match[str]) -> str:
            return f'<a href="#{anchors[match[0]]}">{match[0]}</a>' if match[0] in anchors else match[0]

        return Markup(CLAIM.sub(link, str(escape(sentence))))

    def row(self, verdict: Verdict) -> int:
        """The row of a verdict in the table ``claims``."""
        return next(k for k, other in enumerate(self.verdicts) if other is verdict)

    def first_part(self, verdict: Verdict) -> int:
        """The row of a verdict's first part in the table ``verdicts``."""
        return sum(len(other.parts) for other in self.verdicts[: self.row(verdict)])

    def anchor(self, verdict: Verdict) -> str:
        """Where the page tells of a verdict: ``claim-ID``; a number is added for the claim's further scopes."""
        place = sum(other.claim == verdict.claim for other in self.verdicts[: self.row(verdict)])
        return f"claim-{verdict.claim}" + (f"-{place + 1}" if place else "")


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


def winners_again(sources: Sources) -> str:
    """What winners of the first scope reach on validation when they are chosen and with fresh seeds.

    Empty where nothing was chosen.
    """
    evidence, trials, tasks = sources.evidence, sources.table("trials"), sources.table("tasks")
    if trials.empty or tasks.empty:
        return ""
    trials, tasks = (table[table["scope"] == evidence.name] for table in (trials, tasks))
    if trials.groupby(["task", "method", "search"]).size().max() == 1:
        return ""
    chosen = trials[trials["won"].astype(bool)].groupby(["method", "task"], sort=False)["val/top1"].mean()
    again = tasks.set_index(["method", "task"])["val_top1"]
    means = 100 * chosen.to_frame().join(again, how="inner").dropna().groupby("method", sort=False).mean()
    parts = [f"{label(m, evidence.methods)} {c:.1f} and {a:.1f} ({a - c:+.1f})" for m, c, a in means.itertuples()]
    words = "Validation top-1 of winners in %, mean over tasks, in the search and with fresh seeds"
    return f"{words}: {'; '.join(parts)}. The first number chose the winner, so it flatters it." if parts else ""


#: what templates call by name, as functions and as filters
CALLED: Sequence[Callable[..., Any]] = (
    *(about_words, confusion_sentences, count_words, embedded_svg, mark_of, notes_of, prompt_words, rests_on_words),
    *(winners_again, formatting.amount, formatting.bar, formatting.interval),
    *(formatting.kind_of, formatting.minus, formatting.others_words, formatting.packed_json),
    *(formatting.rests_on, formatting.span_of, anchor_of, term, notes.amendments),
    *(notes.worst_of, seal_words, of_verdicts.beside_words, of_verdicts.chance_words),
    *(of_verdicts.first_sight, of_verdicts.headline, of_verdicts.power_words, of_verdicts.reason_words),
    *(of_verdicts.tuning_words, caution_words),
)
#: page of a report, by file name -> how its environment escapes names
PAGES: Mapping[str, Mapping[str, Any]] = {
    "index.html": {"autoescape": select_autoescape(["html"])},
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
    environment.globals.update(called, glossary=terms, question=QUESTION, generator=GENERATOR)
    return environment
