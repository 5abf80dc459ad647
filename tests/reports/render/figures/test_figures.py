"""Colours and labels of the figures; a figure that is added by one file."""

from __future__ import annotations

import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from unittest.mock import patch

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

import reports.render.figures
from carft.config.registry import METHODS
from reports.render.figures.figure import draw_figures, figures
from reports.render.figures.style import SPARE_STYLES, STYLES, Tables, colour, label_log_axis
from tests.project.test_docs import python_blocks
from tests.support.helpers import ROOT


def contrast_with_white(name: str) -> float:
    """WCAG's contrast ratio of a colour on white paper."""
    linear = [v / 12.92 if v <= 0.03928 else ((v + 0.055) / 1.055) ** 2.4 for v in to_rgb(name)]
    return 1.05 / (0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] + 0.05)


def test_every_colour_is_seen_on_paper() -> None:
    drawn = {colour(name) for name in (*METHODS, *STYLES)}
    for name in drawn | {spare for spare, _ in SPARE_STYLES}:
        assert contrast_with_white(name) >= 3, name


def test_a_file_with_a_function_is_all_that_a_figure_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "widths.py").write_text(
        next(block for block in python_blocks(ROOT / "docs" / "extending.md") if "@report_figure(" in block)
    )
    monkeypatch.setattr(reports.render.figures, "__path__", [*reports.render.figures.__path__, str(tmp_path)])
    figures.cache_clear()
    try:
        assert next(iter(figures())) == "answer" and figures()["widths"].section == "accuracy"
        table = pd.DataFrame({"scope": ["icons"] * 2, "scale": "miniature", "low": [0.0, 0.1], "high": [0.1, 0.3]})
        with patch.dict(figures(), {"widths": figures()["widths"]}, clear=True):
            (drawn,) = draw_figures(Tables({"tasks": table, "differences": table}), "miniature", tmp_path)
    finally:
        figures.cache_clear()
        sys.modules.pop("reports.render.figures.widths", None)
    assert drawn.name == "widths" and drawn.alt.endswith("in numbers: differences")
    assert "half width (points)" in drawn.svg.read_text(encoding="utf-8") and drawn.png.is_file()


#: ends of a logarithmic axis: the learning rates of the demo and of the audit, a fraction of a decade, many decades
ENDS = ((1.2e-4, 1.1e-3), (3.1e-4, 4.9e-4), (0.19, 1.3), (1e-6, 1e-2))


@pytest.mark.parametrize("ends", ENDS, ids=str)
@pytest.mark.parametrize("name", ["xaxis", "yaxis"])
def test_labels_of_a_logarithmic_axis_do_not_overlap(ends: tuple[float, float], name: str) -> None:
    figure, axes = plt.subplots(figsize=(3.0, 2.2))
    axes.set(xscale="log", yscale="log", xlim=ends, ylim=ends)
    axis = getattr(axes, name)
    label_log_axis(axes.xaxis)
    label_log_axis(axes.yaxis)
    figure.draw_without_rendering()
    low, high = sorted(axis.get_view_interval())
    ticks = [tick for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
    assert len(ticks) >= 2 and not any(label.get_text() for label in axis.get_minorticklabels())
    boxes = [tick.label1.get_window_extent() for tick in ticks]
    for first, second in pairwise(boxes):
        assert not first.overlaps(second)
    plt.close(figure)


def made_up_tables(task: str, method: str) -> Tables:
    """Tables of the figures of differences, of the search and of training; of one task and one method beside FT."""
    scope = {"scope": "icons", "scale": "miniature"}
    difference = {**scope, "contrast": "CAR-FT - FT", "task": task, "effect": -0.01, "low": -0.02, "high": 0.01}
    trial = {**scope, "task": task, "search": 1, "kl_weight": 1.0, "won": True}
    rates = (1.2e-4, 6e-4, 1e-3)
    epoch = {**scope, "train/loss": 1.0, "val/top1": 0.5, "val/context_top1": 0.5, "context_chance": 0.1}
    return Tables(
        {
            "tasks": pd.DataFrame([scope]),
            "differences": pd.DataFrame([{**difference, "where": where} for where in ("ID test", "mean OOD")]),
            "trials": pd.DataFrame(
                [{**trial, "method": method, "trial": k, "lr": lr, "val/top1": lr} for k, lr in enumerate(rates)]
            ),
            "pruned": pd.DataFrame([{**trial, "method": method, "trial": 9, "lr": 2e-4, "val/top1": 2e-4}]),
            "history": pd.DataFrame([{**epoch, "method": method, "epoch": k} for k in range(3)]),
        },
        {**METHODS, method: replace(METHODS["car_ft"], name=method, label=method)},
    )


def drawn(folder: Path, task: str = "icons-3/mix-1", method: str = "car_ft") -> dict[str, Path]:
    """Name -> PNG of the figures that the made-up tables give."""
    chosen = {name: figures()[name] for name in ("differences", "search", "training")}
    with patch.dict(figures(), chosen, clear=True):
        made = draw_figures(made_up_tables(task, method), "miniature", folder)
    assert [one.name for one in made] == list(chosen)
    return {one.name: one.png for one in made}


@pytest.mark.parametrize("label", [r"$\frac{$", "costs $5 or $6", "a_{b}^c"])
def test_a_label_with_dollars_is_drawn_as_it_is(tmp_path: Path, label: str) -> None:
    drawn(tmp_path, f"zoo/{label}", label)
    assert f">{label}<" in (tmp_path / "differences.svg").read_text(encoding="utf-8")
    assert label in (tmp_path / "search.svg").read_text(encoding="utf-8")


def test_no_text_is_cut_at_the_edge_of_a_figure(tmp_path: Path) -> None:
    for name, path in drawn(tmp_path, f"icons/{'a long name of a task ' * 3}").items():
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("L"))
        assert all((edge == 255).all() for edge in (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1])), name


def test_a_panel_without_data_is_left_out(tmp_path: Path) -> None:
    tables = made_up_tables("icons-3/mix-1", "car_ft")
    tables["differences"] = tables["differences"].query("where == 'mean OOD'")
    made = figures()["differences"].draw(tables)
    assert made is not None and len(made.axes) == 1
    plt.close(made)


def test_the_figure_of_searches_has_a_history_and_a_slice_of_each_hyperparameter_and_marks_what_was_pruned() -> None:
    figure = figures()["search"].draw(made_up_tables("icons-3/mix-1", "car_ft"))
    assert figure is not None
    history, *slices = figure.axes
    assert [axis.get_xlabel() for axis in slices] == ["learning rate", "KL weight"]
    best, stopped = history.lines
    assert list(best.get_ydata()) == [0.012, 0.06, 0.1] and list(stopped.get_xdata()) == [10]
    tried, won, pruned = slices[0].lines
    assert len(tried.get_xdata()) == 3 and len(won.get_xdata()) == 3 and list(pruned.get_xdata()) == [2e-4]
    plt.close(figure)
