"""The page a person reads: one self-contained HTML file, and the same in Markdown. Every name is escaped."""

from __future__ import annotations

import base64
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from reports.evidence import Evidence
from reports.figures import Plot, label
from reports.references import SHOWN_SETS
from reports.verdicts import Claim, Verdict, ledger

ICONS = {"reproduced": "✔", "contradicted": "✘", "inconclusive": "≈", "not comparable": "≠", "not run": "…"}


@dataclass(frozen=True)
class Content:
    """What both pages show."""

    scale: str
    question: str
    rests_on: str
    trials_worth: str
    claims: Sequence[tuple[Claim, Verdict]]
    tables: Mapping[str, pd.DataFrame]
    suites: Sequence[str]
    reference_sets: Sequence[str]
    plots: Sequence[Plot]
    dropped: Sequence[Mapping[str, Any]]
    failures: Sequence[Mapping[str, Any]]
    provenance: Sequence[tuple[str, int]]

    @staticmethod
    def of(
        evidence: Evidence, verdicts: Sequence[Verdict], tables: Mapping[str, pd.DataFrame], plots: Sequence[Plot]
    ) -> Content:
        """Gather the words and numbers of a report; sentences speak of the scope that is reported first."""
        first = {name: t[t["scope"] == evidence.name] if "scope" in t else t for name, t in tables.items()}
        return Content(
            scale=evidence.scale,
            question="Does CAR-FT beat plain fine-tuning, in and out of distribution?",
            rests_on=_rests_on(evidence, first),
            trials_worth=_trials_worth(first["best_of_n"], first["trials"]),
            claims=[(ledger()[v.claim], v) for v in verdicts],
            tables=tables,
            suites=evidence.suite_names(),
            reference_sets=SHOWN_SETS,
            plots=plots,
            dropped=evidence.dropped,
            failures=evidence.store.failures(),
            provenance=_provenance(evidence),
        )


def _rests_on(evidence: Evidence, tables: Mapping[str, pd.DataFrame]) -> str:
    models = {(r.cell.model, r.cell.pretrained) for r in evidence.records.values()}
    named = ", ".join(f"{model} (weights '{weights}')" for model, weights in sorted(models))
    tasks = tables["tasks"]
    seeds = tasks.loc[tasks["method"] != "zeroshot", "n_seeds"] if len(tasks) else pd.Series(dtype=int)
    groups = tasks.groupby("task")["n_groups"].first() if len(tasks) else pd.Series(dtype=int)
    epochs = int(evidence.studies[0]["training"]["epochs"])
    unit = evidence.card(evidence.tasks[0]).group
    counted = f"{len(evidence.tasks)} task{'s' * (len(evidence.tasks) > 1)}, {len(evidence.records)} cells"
    trained = f"{epochs} training epoch{'s' * (epochs > 1)}, {_span(seeds)} confirm seeds"
    return f"{counted}, {trained}, {_span(groups)} test {unit}s a task, model {named}."


def _span(counts: pd.Series) -> str:
    """``3``, or ``31 to 44``, or ``no`` for none."""
    if counts.empty:
        return "no"
    return f"{counts.min()}" if counts.min() == counts.max() else f"{counts.min()} to {counts.max()}"


def _trials_worth(best_of_n: pd.DataFrame, trials: pd.DataFrame) -> str:
    """What the search budget is worth, in words."""
    if trials.empty:
        return "No search was run."
    counts = trials.groupby(["task", "method"]).size()
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
    return (
        f"Every study had {spent}. Against one trial, the expected validation accuracy of the winner rose by: "
        f"{'; '.join(gains)}. Those gains are measured on the validation images that also chose the winner, so they "
        f"flatter it. {high} trials do not find an optimum; they guard against a single unlucky guess. No interval on "
        f"this page holds the luck of the search, those of the verdicts included, except the parts named 'tasks as a "
        f"sample'."
    )


def _provenance(evidence: Evidence) -> list[tuple[str, int]]:
    """What the cells were made with, and how many cells each."""
    lines: Counter[str] = Counter()
    for record in evidence.records.values():
        p = record.provenance
        packages = ", ".join(
            f"{k} {v}" for k, v in p["packages"].items() if k in ("torch", "open_clip_torch", "ray", "optuna")
        )
        execution, attested = p["execution"], p["digests"].get("attested", "unknown")
        lines[
            f"carft {p['carft']} (NUMERICS {p['numerics']}), Python {p['python']}, {packages}; "
            f"{execution['device']}, {execution['workers']} worker(s); data attested: {attested}"
        ] += 1
    return sorted(lines.items())


def points(value: float | None, sign: bool = True) -> str:
    """A share of 1 in points of accuracy with one decimal; a dash for none."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    return f"{100 * value:+.1f}" if sign else f"{100 * value:.1f}"


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("reports", "templates"),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["points"] = points
    environment.filters["share"] = lambda value: points(value, sign=False)
    environment.filters["percent"] = lambda value: "–" if math.isnan(value) else f"{value:.2f}"
    environment.filters["records"] = lambda table: table.to_dict("records")
    environment.filters["embed"] = lambda plot: (
        "data:image/svg+xml;base64," + base64.b64encode(plot.svg.read_bytes()).decode()
    )
    environment.filters["name"] = label
    environment.globals["icons"] = ICONS
    return environment


def render_page(content: Content) -> str:
    """index.html as text."""
    return _environment().get_template("index.html").render(c=content)


def render_markdown(content: Content) -> str:
    """report.md as text."""
    return _environment().get_template("report.md").render(c=content)
