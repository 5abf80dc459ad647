"""Sentences of the page on the whole report, from tables that are written down here."""

from __future__ import annotations

import pandas as pd

from reports.render.levels import levels_of
from reports.render.words import winners_again

TRIALS = pd.DataFrame(
    [
        ("icons/body", "ft", 1, 0.70, False),
        ("icons/body", "ft", 1, 0.80, True),
        ("icons/body", "ft", 2, 0.84, True),
        ("icons/tools", "ft", 1, 0.60, True),
        ("icons/body", "car_ft", 1, 0.90, True),
    ],
    columns=["task", "method", "search", "val/top1", "won"],
)


def test_winners_are_told_with_fresh_seeds_as_a_mean_over_tasks() -> None:
    rows = [("icons/body", "ft", 0.80), ("icons/tools", "ft", 0.58), ("icons/tools", "zeroshot", 0.5)]
    tasks = pd.DataFrame(rows, columns=["task", "method", "val_top1"])
    words = winners_again(TRIALS, tasks)
    assert "with fresh seeds: FT 71.0 and 69.0 (-2.0). " in words  # (82 + 60) / 2, (80 + 58) / 2
    assert "CAR-FT" not in words  # no fresh seeds yet


def test_where_nothing_was_chosen_nothing_is_said_of_winners() -> None:
    tasks = pd.DataFrame([("icons/body", "ft", 0.8)], columns=["task", "method", "val_top1"])
    one = TRIALS.drop_duplicates(["task", "method", "search"], keep="last")
    assert winners_again(one, tasks) == winners_again(pd.DataFrame(), tasks) == winners_again(TRIALS, tasks[:0]) == ""


def test_levels_of_the_first_scope_keep_their_intervals_and_bars_stay_on_the_axis() -> None:
    rows = [
        ("one", "contexts", "zeroshot", 0.99, 0.98, 1.0),
        ("one", "contexts", "ft", 0.88, 0.40, 1.36),
        ("one", "ID test", "ft", 0.5, float("nan"), float("nan")),
        ("two", "contexts", "ft", 0.1, 0.0, 0.2),
    ]
    found = levels_of(pd.DataFrame(rows, columns=["scope", "place", "method", "value", "low", "high"]))
    assert [(place, [level.method for level in levels]) for place, levels in found] == [
        ("context recognition", ["zero-shot", "FT"]),
        ("in distribution", ["FT"]),
    ]
    wide, single = found[0][1][1], found[1][1][0]
    assert (wide.low, wide.high, wide.bar) == (40.0, 136.0, (40.0, 60.0))
    assert not single.has_interval and single.bar == (50.0, 0.0)
