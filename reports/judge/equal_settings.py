"""All else equal: pairs of cells that differ in the method alone, and their differences at each setting.

This is about mechanism and decides no claim: settings are given and not tuned.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import pandas as pd
from scipy import stats

from carft.config.cell import Cell
from carft.config.frozen_defaults import STUDY
from carft.config.registry import MethodCard, hyperparameter_words
from carft.config.settings import UNTRAINED_RECIPE
from carft.protocol.seeds import SEED_BLOCK
from reports.judge.estimate import POWER
from reports.judge.evidence import Evidence

#: where a difference is measured -> the metric of a cell
MEASURES = {"ID test": "test/top1", "mean OOD": "ood/mean/top1", "contexts of the suites": "ood/context_top1"}
#: methods whose difference is asked first; every other trained method is compared with FT
FIRST_CONTRASTS = (("car_ft", "ft"), ("car_ft", "car_ft_random"), ("ft", "zeroshot"))
#: the KL weight of the registered contrast; its learning rate is the one that validation prefers for FT
REGISTERED_WEIGHT = 1.0
SETTING = ("contrast", "recipe", "lr", "kl_weight", "others")
COLUMNS = (
    "contrast", "where", "lr", "kl_weight", "others", "recipe", "effect", "low", "high", "band_low", "band_high",
    "n_points", "smallest_visible", "n_tasks", "n_searches", "n_seeds", "n_pairs", "interval_over", "second_val_top1",
    "registered", "cells",
)  # fmt: skip


@dataclass(frozen=True)
class EvaluatedCell:
    """A cell that was evaluated on all held-out sets of its task, with its metrics and their means over suites."""

    cell: Cell
    metrics: Mapping[str, float]


Pair = tuple[EvaluatedCell, EvaluatedCell]


def equal_pairs(cells: Iterable[EvaluatedCell], first: MethodCard, second: MethodCard) -> list[Pair]:
    """Return the pairs of a cell of ``first`` and one of ``second`` that differ in nothing but the method.

    Task, data, weights, seed, training, reading, precision and protocol are equal, and so is every hyperparameter of
    ``second``; those that ``first`` has besides are free. There is no pair where ``second`` has a hyperparameter that
    ``first`` does not share. An untrained ``second`` pairs with every seed and training.
    """
    shared = {*second.shares.values()}
    if second.kind == "trained":
        names_in_space = {second.shares.get(name) for name in second.space}
        if not names_in_space <= {*first.shares.values()}:
            return []

    def question(cell: Cell, card: MethodCard) -> str:
        """What both sides have in common."""
        common = {}
        for name, value in cell.hyperparameters.items():
            if card.shares.get(name) in shared:
                common[card.shares[name]] = value
        alike = replace(cell, method="", hyperparameters=common, plugin="")
        if second.kind != "trained":
            alike = replace(alike, seed=0, training=UNTRAINED_RECIPE, precision="float32")
        return alike.id

    cells = list(cells)
    partners: dict[str, list[EvaluatedCell]] = defaultdict(list)
    for one in sorted(cells, key=lambda one: one.cell.id):
        if one.cell.method == second.name:
            partners[question(one.cell, second)].append(one)
    pairs = []
    for one in cells:
        if one.cell.method == first.name:
            candidates = partners.get(question(one.cell, first), [])
            # of an untrained method those of the same precision come first
            candidates = sorted(candidates, key=lambda other: other.cell.precision != one.cell.precision)
            if candidates:
                pairs.append((one, candidates[0]))
    return pairs


def differences_by_setting(cells: Iterable[EvaluatedCell], methods: Mapping[str, MethodCard]) -> pd.DataFrame:
    """Return one row per contrast, setting and measure of the cells of one scope; effects are shares of 1.

    Differences are averaged over the seeds of a search, then over the searches of a task, then over tasks. ``low`` and
    ``high`` are a 95 % t interval over tasks; where the cells are of one task, over its searches, or over the seeds of
    its one search. ``band_low`` and ``band_high`` hold for all ``n_points`` settings of a contrast and measure together
    (Bonferroni). A setting with a single task, search or seed has no row. ``recipe`` says what differs from the
    settings of training and reading that most pairs have; of several, those nearest to the defaults.
    """
    pairs = _pairs(list(cells), methods)
    if not pairs:
        return pd.DataFrame(columns=list(COLUMNS))
    usual = _usual_recipe([first.cell for first, _ in pairs])
    frame = pd.DataFrame([_pair_row(pair, methods, usual) for pair in pairs])
    has_tasks = frame["task"].nunique() > 1
    rows: list[dict[str, Any]] = []
    for setting, of_setting in frame.groupby(list(SETTING), sort=False, dropna=False):
        named = dict(zip(SETTING, setting, strict=True))
        if len(of_setting) > 1:
            for row in _measured_rows(of_setting, has_tasks):
                rows.append(named | row)
    if not rows:
        return pd.DataFrame(columns=list(COLUMNS))
    table = _with_intervals(pd.DataFrame(rows))
    table["registered"] = _is_registered(table, _contrast_name(methods, *FIRST_CONTRASTS[0]))
    return table[list(COLUMNS)]


def _pairs(cells: Sequence[EvaluatedCell], methods: Mapping[str, MethodCard]) -> list[Pair]:
    """The pairs of every contrast, contrast by contrast."""
    contrasts = list(FIRST_CONTRASTS)
    for name, card in methods.items():
        if card.kind == "trained" and name != "ft":
            contrasts.append((name, "ft"))
    pairs = []
    for first, second in dict.fromkeys(contrasts):
        pairs += equal_pairs(cells, methods[first], methods[second])
    return pairs


def _usual_recipe(cells: Sequence[Cell]) -> dict[str, Any]:
    """The recipe that most cells have; of several, the one nearest to the defaults. cells: one or more."""
    counts = Counter(map(_recipe, cells))
    default = {*_recipe(Cell("", "", "", "", ""))}

    def preference(recipe: tuple[tuple[str, Any], ...]) -> tuple[int, int]:
        return counts[recipe], len(default.intersection(recipe))

    recipe = max(counts, key=preference)
    return dict(recipe)


def _with_intervals(table: pd.DataFrame) -> pd.DataFrame:
    """The table with intervals from effect, error and df, alone and for all settings of a contrast together."""
    points = table.groupby(["contrast", "where", "recipe"])["effect"].transform("size")
    alone = stats.t.ppf(1 - 0.025, table["df"]) * table["error"]
    together = stats.t.ppf(1 - 0.025 / points, table["df"]) * table["error"]
    quantiles = stats.t.ppf(0.975, table["df"]) + stats.t.ppf(POWER, table["df"])
    return table.assign(
        n_points=points,
        low=table["effect"] - alone,
        high=table["effect"] + alone,
        band_low=table["effect"] - together,
        band_high=table["effect"] + together,
        smallest_visible=quantiles * table["error"],
    )


def _contrast_name(methods: Mapping[str, MethodCard], first: str, second: str) -> str:
    return f"{methods[first].label} - {methods[second].label}"


def _recipe(cell: Cell) -> tuple[tuple[str, Any], ...]:
    """What a cell has besides task, weights, method, hyperparameters and seed."""
    protocol = {name: getattr(cell, name) for name in STUDY}
    return tuple({**asdict(cell.training), **asdict(cell.reading), **protocol}.items())


def _pair_row(pair: Pair, methods: Mapping[str, MethodCard], usual: Mapping[str, Any]) -> dict[str, Any]:
    """Setting, place and differences of a pair. usual: the recipe that is not named."""
    first, second = pair
    others = dict(first.cell.hyperparameters)
    rate, weight = others.pop("lr", math.nan), others.pop("kl_weight", math.nan)
    given = [f"{hyperparameter_words(name)} {value:g}" for name, value in sorted(others.items())]
    unusual = []
    for name, value in _recipe(first.cell):
        if value != usual[name]:
            unusual.append(f"{name} {value}")
    differences = {}
    for where, metric in MEASURES.items():
        differences[where] = first.metrics.get(metric, math.nan) - second.metrics.get(metric, math.nan)
    return {
        "contrast": _contrast_name(methods, first.cell.method, second.cell.method),
        "recipe": ", ".join(unusual),
        "lr": rate,
        "kl_weight": weight,
        "others": ", ".join(given),
        "task": first.cell.task,
        "search": first.cell.seed // SEED_BLOCK,
        "seed": first.cell.seed,
        **differences,
        "second_val_top1": second.metrics["val/top1"],
        "first_cell": first.cell.id,
        "second_cell": second.cell.id,
    }


def _measured_rows(pairs: pd.DataFrame, has_tasks: bool) -> Iterator[dict[str, Any]]:
    """Effect, standard error and counts of the pairs of one setting, for each measure that has two units or more."""
    for where in MEASURES:
        measured = pairs.dropna(subset=[where])
        over, units = "searches", measured.groupby(["task", "search"])[[where, "second_val_top1"]].mean()
        if has_tasks:
            over, units = "tasks", units.groupby("task").mean()
        elif len(units) == 1:
            over, units = "seeds", measured
        if len(units) > 1:
            cells = measured[["first_cell", "second_cell"]].to_numpy().ravel()
            yield {
                "where": where,
                "effect": units[where].mean(),
                "error": units[where].sem(),
                "df": len(units) - 1,
                "n_tasks": measured["task"].nunique(),
                "n_searches": measured["search"].nunique(),
                "n_seeds": measured["seed"].nunique(),
                "n_pairs": len(measured),
                "interval_over": over,
                "second_val_top1": units["second_val_top1"].mean(),
                "cells": " ".join(dict.fromkeys(cells)),
            }


def _is_registered(table: pd.DataFrame, contrast: str) -> pd.Series:
    """Whether a row is of the registered contrast: CAR-FT minus FT at KL weight 1 and FT's best learning rate.

    It is the one with the highest validation accuracy of FT among those that were run on as many tasks as any.
    """
    asked = table[(table["contrast"] == contrast) & (table["recipe"] == "") & (table["kl_weight"] == REGISTERED_WEIGHT)]
    if asked.empty:
        return pd.Series(False, table.index)
    best = asked.sort_values(["n_tasks", "second_val_top1"]).iloc[-1]["lr"]
    return table.index.isin(asked.index) & (table["lr"] == best)


def by_scope(evidence: Evidence) -> pd.DataFrame:
    """Differences at equal settings of every scope: :func:`differences_by_setting`, with the columns of the scope."""
    tables = []
    for view in evidence.views():
        of_scope = differences_by_setting(evaluated_cells(view), view.methods)
        tables.append(of_scope.assign(**view.columns))
    filled = [of_scope for of_scope in tables if len(of_scope)]
    return pd.concat(filled or tables[:1], ignore_index=True)


def evaluated_cells(evidence: Evidence) -> list[EvaluatedCell]:
    """Return the cells of a scope, of any study or none, that were evaluated on all held-out sets of their task."""
    folder, cells = evidence.folder, []
    in_scope = folder.cells[(folder.cells["scope"] == evidence.name) & (folder.cells["parents"] == "")]
    for name, task in zip(in_scope.index, in_scope["task"], strict=True):
        if folder.evaluated(name) >= set(evidence.set_names(task)):
            cells.append(EvaluatedCell(folder.records[name].cell, folder.metrics(name)))
    return cells
