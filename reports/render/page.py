"""What a person reads: one self-contained HTML file, the same in Markdown, tables for a paper. Names are escaped."""

from __future__ import annotations

import base64
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from carft.store.edges import edge_words
from reports.analysis.contrasts import ASSUMED
from reports.analysis.selection import scope_one_trial
from reports.claims.amendments import Amendment, amendments, chance_words
from reports.claims.answer import PageAnswer
from reports.claims.notes import first_sight
from reports.claims.power import ENOUGH
from reports.claims.verdicts import Claim, Verdict, as_asked
from reports.evidence.evidence import Evidence
from reports.evidence.results import stopped_trials
from reports.figures.figures import Plot, label
from reports.render.formatting import (
    ICONS,
    FormattedTable,
    amount,
    cell_block,
    formatted,
    interval,
    made_by,
    mark_of,
    points,
    rests_on,
)
from reports.render.svg import Scatter, bar, scatter, span_of
from reports.tables.registry import TABLES, Tables
from reports.tables.rows import rows_of

#: a hyphen that is the sign of a number
SIGN = re.compile(r"(?<![\w.-])-(?=\d)")

#: scopes that the counts of verdicts name
NAMED_SCOPES = 3


@dataclass(frozen=True)
class Content:
    """What all pages show."""

    scale: str
    question: str
    answer: PageAnswer
    counts: str
    rests_on: str
    trials_worth: str
    one_trial: str
    seal: str
    chance: str
    amendments: Sequence[Amendment]
    claims: Sequence[tuple[Claim, Verdict]]
    span: float
    tables: Sequence[FormattedTable]
    scatter: Scatter | None
    cells: Mapping[str, Any]
    plots: Sequence[Plot]
    problems: Sequence[Mapping[str, Any]]
    provenance: Sequence[tuple[str, int]]
    fingerprint: str

    @staticmethod
    def of(sources: Tables, plots: Sequence[Plot], fingerprint: str) -> Content:
        """Gather the words and numbers of a report. fingerprint: of the records it was made from."""
        evidence, tables, verdicts = sources.evidence, sources.tables(), sources.verdicts
        return Content(
            scale=evidence.scale,
            question="Does CAR-FT beat plain fine-tuning, in and out of distribution?",
            answer=sources.answer,
            counts=_counts(verdicts),
            rests_on=_rests_on(evidence, tables),
            trials_worth=_trials_worth(_of_scope(tables["best_of_n"], evidence), _of_scope(tables["trials"], evidence))
            + _given_up(evidence)
            + f" {edge_words(evidence.archive.studies)}".rstrip(),
            one_trial=scope_one_trial(evidence, tables["trials"]),
            seal=sources.unsealings.words(),
            chance=chance_words(verdicts),
            amendments=amendments(),
            claims=[(as_asked(v, evidence), v) for v in verdicts],
            span=span_of([bound for v in verdicts if v.unit == "points" for bound in (v.low, v.high)]),
            tables=[formatted(name, card, tables[name]) for name, card in TABLES.items() if card.on_page],
            scatter=scatter(_of_scope(tables["tasks"], evidence), _of_scope(tables["wise"], evidence)),
            cells=cell_block(sources),
            plots=plots,
            problems=rows_of(tables["problems"]),
            provenance=sorted(Counter(made_by(r.provenance) for r in evidence.records.values()).items()),
            fingerprint=fingerprint,
        )

    @property
    def first_plot(self) -> Plot | None:
        """The figure beside the answer."""
        return next((plot for plot in self.plots if plot.name == "answer"), None)

    @property
    def has_scopes(self) -> bool:
        """Whether verdicts are on several things that must not be pooled."""
        return _is_several([v for _, v in self.claims])

    def anchor(self, verdict: Verdict) -> str:
        """Where the page tells of a verdict: ``claim-C3``; a number is added for the claim's further scopes."""
        same = [v for _, v in self.claims if v.claim == verdict.claim]
        place = next(k for k, v in enumerate(same) if v is verdict)
        return f"claim-{verdict.claim}" + (f"-{place + 1}" if place else "")


def _counts(verdicts: Sequence[Verdict]) -> str:
    """How many claims came out how, with their names: ``2 contradicted (C2, C4b)``; C7 apart."""
    several = _is_several(verdicts)
    ours, others = ([v for v in verdicts if (v.basis == "records") == here] for here in (True, False))
    groups = {word: [v for v in ours if v.verdict == word] for word in ICONS}
    counted = [f"{len(found)} {word} ({', '.join(_names(found, several))})" for word, found in groups.items() if found]
    apart = "".join(f" From the numbers of others alone: {v.claim} {v.verdict}." for v in others)
    return f"Of {len(ours)} {'questions' if several else 'claims'}: {'; '.join(counted)}.{apart}"


def _is_several(verdicts: Sequence[Verdict]) -> bool:
    """Whether verdicts are on several things that must not be pooled."""
    return len({v.scope for v in verdicts if v.scope and v.verdict != "not run"}) > 1


def _names(verdicts: Sequence[Verdict], several: bool) -> list[str]:
    """Claims; of several scopes with the scope, or where they are many with the number of scopes: ``C3 on 8``."""
    asked = [(v.claim, v.scope if several and v.verdict != "not run" else "") for v in verdicts]
    if len({scope for _, scope in asked if scope}) <= NAMED_SCOPES:
        return list(dict.fromkeys(f"{claim} on {scope}" if scope else claim for claim, scope in asked))
    counts = Counter(claim for claim, _ in asked)
    return [f"{claim} on {count}" for claim, count in counts.items()]


def _rests_on(evidence: Evidence, tables: Mapping[str, pd.DataFrame]) -> str:
    models = sorted({(s.model, s.pretrained) for s in evidence.studies})
    named = ", ".join(f"{model} (weights '{weights}')" for model, weights in models)
    tasks = _of_scope(tables["tasks"], evidence)
    seeds = tasks.loc[tasks["method"] != "zeroshot", "n_seeds"] if len(tasks) else pd.Series(dtype=int)
    groups = tasks.groupby("task")["n_groups"].first() if len(tasks) else pd.Series(dtype=int)
    epochs = int(evidence.studies[0].training.epochs)
    unit = evidence.card(evidence.tasks[0]).group
    counted = f"{len(evidence.tasks)} task{'s' * (len(evidence.tasks) > 1)}, {len(evidence.records):,} cells"
    trained = f"{epochs} training epoch{'s' * (epochs > 1)}, {_span(seeds)} confirm seeds"
    trained += f" of {searches} searches" if (searches := _searches(_of_scope(tables["trials"], evidence))) > 1 else ""
    words = f"{counted}, {trained}, {_span(groups)} test {unit}s a task, model {named}."
    trials = _of_scope(tables["trials"], evidence)
    untuned = len(trials) and trials.groupby(_study_keys(trials)).size().max() == 1
    return (
        f"{words} Nothing was tuned: every study had one trial, so read nothing into the verdicts."
        if untuned
        else words
    )


def _of_scope(table: pd.DataFrame, evidence: Evidence) -> pd.DataFrame:
    """The rows of the scope that is reported first."""
    return table[table["scope"] == evidence.name] if "scope" in table else table


def _span(counts: pd.Series) -> str:
    """``3``, or ``31 to 44``, or ``no`` for none."""
    if counts.empty:
        return "no"
    return f"{counts.min()}" if counts.min() == counts.max() else f"{counts.min()} to {counts.max()}"


def _trials_worth(best_of_n: pd.DataFrame, trials: pd.DataFrame) -> str:
    """What the search budget is worth, in words."""
    if trials.empty:
        return "No search was run."
    counts = trials.groupby(_study_keys(trials)).size()
    low, high = int(counts.min()), int(counts.max())
    if high == 1:
        return (
            "Every study had one trial, the recipe's first guess: nothing was tuned, and a different guess could "
            "reverse any comparison. Read nothing into the verdicts of such a run."
        )
    gains = []
    for method, part in best_of_n.groupby("method"):
        ordered = part.sort_values("n")["expected_best"].tolist()
        if len(ordered) > 1:
            last = 100 * (ordered[-1] - ordered[-2])
            total = 100 * (ordered[-1] - ordered[0])
            gains.append(f"{label(str(method))} {total:+.1f} points over {len(ordered)} trials (the last {last:+.1f})")
    spent = f"{high} finished trials" if low == high else f"{low} to {high} finished trials"
    several = _searches(trials)
    spent += f" in each of {several} independent searches" if several > 1 else ""
    luck = (
        "The intervals of verdicts and differences hold the luck of the search: a search with its seeds is one "
        "replicate of them."
        if several > 1
        else "No interval on this page holds the luck of the search, those of the verdicts included, except the parts "
        "named 'tasks as a sample'."
    )
    if not gains:
        return f"Every study had {spent}."
    return (
        f"Every study had {spent}. Against one trial, the expected validation accuracy of the winner rose by: "
        f"{'; '.join(gains)}. Those gains are measured on the validation images that also chose the winner, so they "
        f"flatter it. {high} trials do not find an optimum; they guard against a single unlucky guess. {luck}"
    )


def _study_keys(trials: pd.DataFrame) -> list[str]:
    """The columns that name a study."""
    return [name for name in ("task", "method", "search") if name in trials]


def _searches(trials: pd.DataFrame) -> int:
    """How many independent searches each question has at least."""
    return int(trials.groupby(["task", "method"])["search"].nunique().min()) if "search" in trials else 1


def _given_up(evidence: Evidence) -> str:
    """What early stopping left out of the searches of this folder, in words; empty where it was off."""
    studies = [study for study in evidence.archive.studies if study.rungs]
    if not studies:
        return ""
    trials = sum(len(study.trials) for study in studies)
    stopped = sum(len(stopped_trials(study, evidence.store)) for study in studies)
    rungs = " or ".join(dict.fromkeys(", ".join(map(str, study.rungs)) for study in studies))
    return (
        f" Early stopping was on in {len(studies)} studies: {stopped} of {trials} trials were given up after epoch "
        f"{rungs}, being below the median of the trials that earlier rounds of their study brought there. They count "
        f"as tried and cannot win. What fewer trials would have shown is not said of such searches: the trials that "
        f"were left are no sample of them."
    )


def _environment(**settings: Any) -> Environment:
    environment = Environment(
        loader=PackageLoader("reports.render", "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        **settings,
    )
    environment.filters["points"] = points
    environment.filters["amount"] = amount
    environment.filters["share"] = lambda value: points(value, sign=False)
    environment.filters["name"] = label
    environment.filters.update(mark=mark_of, interval=interval, rests_on=rests_on, first_sight=first_sight)
    environment.globals.update(bar=bar, span_of=span_of, assumed=ASSUMED, enough=ENOUGH)
    return environment


def _embedded(plot: Plot) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(plot.svg.read_bytes()).decode()


def _minus(text: Any) -> Any:
    """A number with the minus sign that printers use."""
    return text.replace("-", "−", 1) if isinstance(text, str) and re.match(r"-\d", text) else text


def _minuses(text: str) -> str:
    """Words whose negative numbers have the minus sign that printers use."""
    return SIGN.sub("−", text)


def markdown(value: Any) -> Any:
    """A value as Markdown shows it: on one line, and never as markup, a table's bar or HTML."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    escaped = re.sub(r"([\\`*\[\]|])", r"\\\1", value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"))
    return " ".join(escaped.split())


TEX = {
    **{c: f"\\{c}" for c in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "–": "--",
    "−": "$-$",
    "“": "``",
    "”": "''",
}


def latex(value: Any) -> Any:
    """A value as LaTeX prints it: every special character escaped, on one line; minus signs set as such."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return " ".join("".join(TEX.get(c, c) for c in _minus(value)).split())


@cache
def _environments() -> dict[str, Environment]:
    html = _environment(autoescape=select_autoescape(["html"]))
    html.filters.update(embed=_embedded, minus=_minus, minuses=_minuses)
    return {
        "index.html": html,
        "report.md": _environment(finalize=markdown),
        "tables.tex": _environment(finalize=latex),
    }


def _rendering(name: str) -> Callable[[Content], str]:
    return lambda content: _environments()[name].get_template(name).render(c=content)


#: file name -> how it is rendered
PAGES: dict[str, Callable[[Content], str]] = {
    name: _rendering(name) for name in ("index.html", "report.md", "tables.tex")
}
