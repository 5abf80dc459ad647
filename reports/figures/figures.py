"""The figures of a report, name -> drawing, and how they are written: PNG, SVG, and CSV with the drawn numbers.

Every caption says what the figure cannot show.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from reports.figures import accuracy_figures, context_figures, findings, search_figures
from reports.figures.figure_data import figure_data
from reports.figures.style import Drawing, Plot, Tables

#: dots per inch of a PNG
DPI = 150


def draw_all(tables: Tables, scale: str, folder: Path) -> list[Plot]:
    """Draw every figure whose tables have rows, one per scope.

    File names of the second and later scopes end with the scope's name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    plots = []
    for scope, of_scope, part in _by_scope(tables, scale):
        for name, drawing in DRAWINGS.items():
            if any(table not in part or part[table].empty for table in drawing.needs):
                continue
            if (figure := drawing.draw(part)) is not None:
                stem = name + (f"-{re.sub('[^a-z0-9]+', '-', scope.lower()).strip('-')}" if scope else "")
                title = drawing.title + (f" ({scope})" if scope else "")
                files = _write(figure, of_scope, folder / stem)
                plots.append(Plot(stem, title, drawing.caption, *files, drawing.tell(part)))
    return plots


def _write(figure: Figure, scale: str, path: Path) -> tuple[Path, Path]:
    """Write and close a figure; the paths of PNG and SVG. path: without ending."""
    figure.get_layout_engine().set(rect=(0, 0, 0.98, 1))  # type: ignore[union-attr,call-arg]
    figure.text(0.998, 0.5, f"scale: {scale}", ha="right", va="center", rotation=90, fontsize=7, color="#555555")
    figure.draw_without_rendering()
    figure.set_layout_engine(None)  # laid out once, and not again for each file
    png, svg, numbers = (path.parent / f"{path.name}.{ending}" for ending in ("png", "svg", "csv"))
    figure.savefig(png, dpi=DPI, metadata={"Software": None})
    figure.savefig(svg, metadata={"Date": None})
    figure_data(figure).to_csv(numbers, index=False)
    plt.close(figure)
    return png, svg


def _by_scope(tables: Tables, scale: str) -> Iterator[tuple[str, str, Tables]]:
    """(scope, its scale, tables of that scope alone). The name of the first scope is empty."""
    tasks = tables["tasks"]
    scopes = list(dict.fromkeys(tasks["scope"])) if len(tasks) else []
    for place, scope in enumerate(scopes or [None]):
        part = {
            name: table[table["scope"] == scope] if scope is not None and "scope" in table else table
            for name, table in tables.items()
        }
        scales = part["tasks"]["scale"].unique() if scope is not None else [scale]
        yield ("" if place == 0 else str(scope)), str(scales[0]), part


DRAWINGS: dict[str, Drawing] = {
    "answer": Drawing(
        "What came out",
        "Means over tasks with 95 % intervals (seeds, test images and, where there are several, searches), all on one "
        "scale of points. Two intervals that overlap do not show that the methods are equal: the paired differences "
        "are narrower.",
        accuracy_figures.levels,
        findings.answer,
        needs=("levels",),
    ),
    "differences": Drawing(
        "CAR-FT against FT, task by task",
        "Each triangle is CAR-FT minus FT on one task, paired by seed and image, with its 95 % interval (seeds "
        "and drawings vary, and searches where there are several). An interval that crosses zero decides nothing; the "
        "intervals are not corrected for their number. The figure cannot show whether other hyperparameters would have "
        "changed the order.",
        accuracy_figures.differences,
        findings.differences,
        needs=("differences",),
    ),
    "id_ood": Drawing(
        "In distribution against out of distribution",
        "Every point is the mean over confirm seeds; up and right is better. The lines are WiSE-FT's curves from the "
        "pretrained (alpha 0) to the fine-tuned model (alpha 1). Points that differ by less than the intervals of the "
        "tables are not different. Axes differ from panel to panel.",
        accuracy_figures.id_ood,
        findings.id_ood,
        needs=("tasks",),
    ),
    "contexts": Drawing(
        "Context recognition before and after",
        "Share of test and suite images whose context the model's context head names, per context, all tasks and seeds "
        "together. Loss of recognition reads as FT left of zero-shot. Shares carry no interval here: claims C1 and C2 "
        "do. The known context of a rendering is exact in the icons world; photographs have no such label.",
        context_figures.contexts,
        findings.contexts,
        needs=("contexts",),
    ),
    "search": Drawing(
        "What the search saw",
        "Every search trial of every task, as validation top-1 minus the task's mean over all its trials, so that easy "
        "and hard tasks share one axis. Differences of a few points are within what a validation set of this size can "
        "resolve. With so few trials the figure shows where was looked, not where the optimum is.",
        search_figures.search,
        findings.search,
        needs=("trials",),
    ),
    "training": Drawing(
        "Training curves of the confirm cells",
        "Means over tasks and seeds per epoch. The training loss of CAR-FT includes its KL term, so the two losses are "
        "not on one scale. Validation curves were not used to stop early.",
        search_figures.training,
        findings.training,
        needs=("history",),
    ),
    "best_of_n": Drawing(
        "What more trials buy",
        "Expected validation top-1 of the best of n trials, drawn without replacement from the trials that were run, "
        "mean over tasks, up to the number that every study finished. It is validation accuracy of the selected trial, "
        "which flatters every method more the more trials it has; it says nothing about test accuracy.",
        search_figures.best_of_n,
        findings.best_of_n,
        needs=("best_of_n",),
    ),
    "readings": Drawing(
        "Specification curve: every reading of what the paper leaves open",
        "Each column is one reading. Above: CAR-FT minus FT with its 95 % interval, out of distribution (triangles), "
        "and the ID effect of the same reading (bars). Below: what was chosen; a black dot marks the value. Intervals "
        "are not corrected for the number of readings. The figure cannot show readings that were not run; sorting by "
        "effect makes any noise look like a trend.",
        accuracy_figures.specification,
        findings.readings,
        needs=("readings",),
    ),
    "one_trial": Drawing(
        "What a reader would have seen had the baseline been tuned less",
        "Validation top-1 of each method after its whole search, minus FT's expected best of n trials, mean over "
        "tasks. The last point compares equal budgets; all others flatter the method. Validation only: it cannot show "
        "what the test sets would have said.",
        search_figures.one_trial,
        findings.one_trial,
        needs=("one_trial",),
    ),
    "confusion": Drawing(
        "Which contexts are taken for which",
        "Rows are known contexts, columns what the model's context head names, in % of the row; all tasks, seeds and "
        "sealed sets together. A bright diagonal is recognition. The shares carry no interval.",
        context_figures.confusion,
        findings.confusion,
        needs=("confusion",),
    ),
    "reliability": Drawing(
        "Calibration of p_ctx",
        "Share of images whose context is recognised against the probability p_ctx gives its first choice, in 15 bins "
        "of equal width; on the dashed line the two agree. ECE is the mean distance from it, weighted by images. Marks "
        "grow with the images of a bin; open ones have fewer than 30 and move a lot. Renderings of one drawing are not "
        "independent.",
        context_figures.reliability,
        findings.reliability,
        needs=("reliability",),
    ),
    "kl": Drawing(
        "The divergence over training",
        "Mean over the confirm cells of every method with a KL term; the first point is the first step, before any "
        "update. It is measured on augmented training batches and says nothing about recognition on test images.",
        search_figures.divergence,
        findings.kl,
        needs=("kl",),
    ),
    "lost": Drawing(
        "Which contexts are lost",
        "Recognition of the pretrained model minus that of the tuned one, per known context, all tasks, seeds and "
        "sealed sets together. Left of the line is gain. The shares carry no interval, and contexts differ in "
        "how many images they have (tables/lost.csv).",
        context_figures.lost,
        findings.lost,
        needs=("lost",),
    ),
    "effective": Drawing(
        "Effective robustness",
        "Each mark is one method on one task, mean over seeds. The line is what an untrained model's ID accuracy lets "
        "expect out of distribution, fitted on logit axes through the zero-shot models of the scope; the height above "
        "it is effective robustness. A line through few models of one family is a weak baseline: it cannot tell "
        "robustness from the choice of tasks.",
        accuracy_figures.effective_robustness,
        findings.effective,
        needs=("robustness", "baseline"),
    ),
    "uncertainty": Drawing(
        "Where the uncertainty comes from",
        "Standard error of the ID difference by source. The first two make the intervals of this report; with several "
        "searches, seeds are those of searches and seeds together. The draw of hyperparameters (search) is estimated "
        "on validation accuracy, from few trials, as the spread of the best of as many trials drawn again. With one "
        "search it is in no interval.",
        accuracy_figures.uncertainty,
        findings.uncertainty,
        needs=("uncertainty",),
    ),
}
