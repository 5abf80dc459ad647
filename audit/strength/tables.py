"""The table of the experiment at equal strength, from its published records, without carft.

    python audit/strength/tables.py audit/strength/records.zip audit/strength/seed-1/records.zip

writes `tables/matched_strength.csv` beside each archive; shares of 1. audit/README.md has rules and interval.
"""

import io
import json
import sys
import zipfile
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from scipy import stats

MARGIN, LARGEST_RATIO = 0.003, 1.1
#: the sides of a contrast: first minus second
SIDES = ("car_ft", "car_ft_rotated")
#: column of predictions -> the column of images that it shall equal
TRUTH = {"pred": "label", "context_pred": "context"}
#: column of the table -> what is predicted, and the beginning of the sets that it is measured on
MEASURES = {"id": ("pred", "test"), "ood": ("pred", "ood-"), "contexts": ("context_pred", "ood-")}
COLUMNS = (
    "scope", "scale", "what", "strength", "kl_weight", "temperature", "displacement", "displacement_low",
    "displacement_high", "displacement_excess", "id", "ood", "contexts", "id_difference", "ood_difference",
    "contexts_difference", "ood_low", "ood_high", "answer", "primary", "n_tasks", "n_seeds", "cells",
)  # fmt: skip


class Archive:
    """The plan of an archive, its cells and what it takes from their predictions."""

    def __init__(self, path: Path) -> None:
        self.zip = zipfile.ZipFile(path)
        lines = [json.loads(line) for line in self.zip.read("documents.jsonl").decode().splitlines()]
        self.documents = {line["name"]: line["text"] for line in lines}
        journals = [self.zip.read(name).decode() for name in self.zip.namelist() if name.startswith("journal/")]
        entries = [json.loads(line) for journal in journals for line in journal.splitlines()]
        plans = [entry for entry in entries if entry["kind"] == "planned" and entry["recipe"].get("arms")]
        plans.sort(key=lambda plan: plan["when"])
        self.arms = plans[0]["recipe"]["arms"]
        # an audit plans its parts one by one; of a later plan with other arms nothing counts
        studies = [study for plan in plans if plan["recipe"]["arms"] == self.arms for study in plan["studies"]]
        self.tasks = sorted({study["task"] for study in studies})
        self.cells = self.read_cells({study["study"] for study in studies})
        self.predictions = self.read_predictions()
        self.contributions = {}
        for task, measure in product(self.tasks, MEASURES):
            self.contributions[task, measure] = self.measure(task, *MEASURES[measure])

    def read_cells(self, studies: set) -> pd.DataFrame:
        """A row for each planned cell, by id. Raises ``KeyError`` for one without a record: it is not finished."""
        planned = set()
        for study in studies:
            planned.update(json.loads(self.documents[f"studies/{study}/study.json"])["grid"])
        rows = []
        for cell in sorted(planned):
            spec = json.loads(self.documents[f"cells/{cell}/spec.json"])
            record = json.loads(self.documents[f"cells/{cell}/record.json"])
            row = {"cell": cell, "task": spec["task"], "method": spec["method"], "seed": spec["seed"]}
            row["temperature"] = spec["reading"].get("context_temperature", 1.0)
            row["weight"] = spec["hyperparameters"].get("kl_weight", 0.0)
            rows.append(row | {"moved": record["metrics"].get("train/displacement", np.nan)})
        return pd.DataFrame(rows)

    def read_predictions(self) -> dict:
        """(task, set) -> its images, and column of the predicted class -> hits with a row a cell."""
        task_of = self.cells.set_index("cell")["task"]
        found = {}
        for name in self.zip.namelist():
            if name.startswith("predictions/") and name.endswith(".cells.parquet"):
                images = self.parquet(name.replace(".cells.", ".images.")).to_pandas()
                cells = self.parquet(name)
                hits = {}
                for column, truth in TRUTH.items():
                    is_right = np.stack(cells[column].to_numpy()) == images[truth].to_numpy()
                    hits[column] = pd.DataFrame(is_right, cells["cell"].to_pylist())
                task = task_of[cells["cell"][0].as_py()]
                found[task, name.removeprefix("predictions/").partition(".")[0]] = images, hits
        return found

    def parquet(self, name: str):
        return pq.read_table(io.BytesIO(self.zip.read(name)))

    def measure(self, task: str, column: str, of_set: str) -> tuple[pd.DataFrame, pd.DataFrame]:
        """What each group of images adds to a measure of each cell (cells x groups), and weight, images, stratum."""
        places = [place for place in self.predictions if place[0] == task and place[1].startswith(of_set)]
        values, parts = [], []
        for place in places:
            images, hits = self.predictions[place]
            weights = pd.Series(1 / len(images), images.index)
            if column == "context_pred":  # each known context weighs the same
                sizes = images["context"].where(images["context"] >= 0).value_counts()
                weights = (1 / (len(sizes) * images["context"].map(sizes))).fillna(0.0)
            weights /= len(places)
            values.append((hits[column] * weights).T.groupby(images["group"].to_numpy()).sum())
            parts.append(pd.DataFrame({"group": images["group"], "weight": weights, "set": place[1]}))
        by_group = pd.concat(parts).groupby("group")
        groups = by_group.agg(weight=("weight", "sum"), images=("weight", np.count_nonzero))
        groups["stratum"] = by_group["set"].agg(lambda sets: " ".join(sorted(set(sets))))
        groups = groups[groups["weight"] > 0]
        return pd.concat(values).groupby(level=0).sum().loc[groups.index].T, groups

    def side(self, method: str, temperature: float, weight: float | None) -> pd.DataFrame:
        """The cells of a method at a temperature and KL weight."""
        cells = self.cells
        return cells[(cells["method"] == method) & (cells["temperature"] == temperature) & (cells["weight"] == weight)]


def task_estimate(values: np.ndarray, groups: pd.DataFrame) -> dict:
    """The effect of one task, and the variance terms of seeds and of groups. values: (seeds, groups)."""
    n, terms, shared, by_group = len(values), [], 0.0, []
    for _, members in groups.groupby("stratum"):
        place = groups.index.get_indexer(members.index)
        part, weight, count = values[:, place], members["weight"].to_numpy(), len(members)
        part = part - part.sum(1, keepdims=True) * (weight / weight.sum())
        floor = 2 * (weight.sum() / members["images"].sum()) ** 2
        spread, own = count * part.mean(0).var(ddof=1), 0.0
        if spread >= floor:
            rest = part - part.mean(1, keepdims=True) - part.mean(0) + part.mean()
            own = count * (rest**2).sum() / ((n - 1) * (count - 1)) / n
        terms.append((max(spread, floor), count - 1, own))
        shared += own
        by_group.append(pd.Series(np.sqrt(count / (count - 1)) * part.mean(0), members.index))
    by_seed = values.sum(1)
    return {"by_seed": by_seed, "seeds": (by_seed.var(ddof=1) / n, shared), "groups": terms, "by_group": by_group}


def pooled(tasks: list[dict]) -> tuple[float, float, float]:
    """The mean over tasks with its 95 % interval; the term of seeds is the larger of two mean squares."""
    squared, by_seed = len(tasks) ** 2, np.mean([task["by_seed"] for task in tasks], axis=0)
    apart, shared = np.sum([task["seeds"] for task in tasks], axis=0) / squared
    of_seeds = max(apart, by_seed.var(ddof=1) / len(by_seed))
    of_groups = [(v / squared, df, own / squared) for task in tasks for v, df, own in task["groups"]]
    # photographs are in several tasks, drawings are in one
    apart_by_group = pd.concat([part for task in tasks for part in task["by_group"]])
    together = apart_by_group.groupby(level=0).sum()
    covariance = (together**2).sum() - (apart_by_group**2).sum()
    if len(together) < len(apart_by_group) and covariance > 0:
        of_groups.append((covariance / squared, min(df for _, df, _ in of_groups), 0.0))
    variances, quantiles = [], []
    for terms in ([(of_seeds, len(by_seed) - 1, shared)], of_groups):
        net = np.array([max(v - own / 2, v / 2) for v, _, own in terms])
        degrees = np.array([df for _, df, _ in terms])
        variances.append(net.sum())
        quantiles.append(stats.t.ppf(0.975, net.sum() ** 2 / (net**2 / degrees).sum()))
    half = np.average(quantiles, weights=variances) * np.sqrt(sum(variances))
    effect = np.mean([task["by_seed"].mean() for task in tasks])
    return effect, effect - half, effect + half


def differences(archive: Archive, pairs: list) -> dict:
    """First minus second in every measure, mean over pairs, seeds and tasks, and the interval out of distribution."""
    row = {}
    for measure in MEASURES:
        estimates = []
        for task in archive.tasks:
            values, groups = archive.contributions[task, measure]
            made = [values_of(values, first, task) - values_of(values, second, task) for first, second in pairs]
            estimates.append(task_estimate(np.mean(made, axis=0), groups))
        row[f"{measure}_difference"], low, high = pooled(estimates)
        if measure == "ood":
            row |= {"ood_low": low, "ood_high": high}
    return row


def values_of(values: pd.DataFrame, side: pd.DataFrame, task: str) -> np.ndarray:
    """Those of the cells of a side on one task, by seed."""
    return values.loc[side[side["task"] == task].sort_values("seed")["cell"]].to_numpy()


def basis(archive: Archive, sides: list) -> dict:
    """The numbers of tasks and seeds, and the cells, task by task."""
    cells = []
    for side in sides:
        for task in sides[0]["task"].unique():
            cells += side.loc[side["task"] == task, "cell"].to_list()
    n_tasks, n_seeds = archive.cells.loc[archive.cells["cell"].isin(cells), ["task", "seed"]].nunique()
    return {"n_tasks": n_tasks, "n_seeds": n_seeds, "cells": " ".join(cells)}


def arm_row(archive: Archive, arm: dict, target: float, weight: float | None, side: pd.DataFrame) -> dict:
    """What an arm reaches at one strength, and its differences to fine-tuning."""
    row = {"what": arm["name"], "strength": f"{target:g}", "kl_weight": weight}
    row["temperature"] = arm["context_temperature"]
    if weight is None:
        return row | basis(archive, []) | {"answer": "not reached"}
    row["displacement"], row["displacement_low"], row["displacement_high"] = side["moved"].agg(["mean", "min", "max"])
    for measure in MEASURES:
        of_tasks = [values_of(archive.contributions[task, measure][0], side, task) for task in archive.tasks]
        row[measure] = np.mean([values.sum(1).mean() for values in of_tasks])
    return row | differences(archive, [(side, archive.side("ft", 1.0, 0.0))]) | basis(archive, [side])


def contrast_row(archive: Archive, names: str, strength: str, pairs: list) -> dict:
    """First minus second at one strength, or as the mean of all, with the registered answer."""
    reached = [pair for pair in pairs if not (pair[0].empty or pair[1].empty)]
    row = {"what": names, "strength": strength} | basis(archive, [side for pair in reached for side in pair])
    if len(reached) < len(pairs):
        return row | {"answer": "not comparable"}
    quotients = np.array([first["moved"].mean() / second["moved"].mean() for first, second in pairs])
    row |= {"displacement": np.maximum(quotients, 1 / quotients).max(), "displacement_excess": quotients.mean() - 1}
    row |= differences(archive, pairs)
    return row | {"answer": answer(row["displacement"], row["ood_low"], row["ood_high"])}


def answer(ratio: float, low: float, high: float) -> str:
    """The first that fits holds. ratio: the larger over the smaller displacement."""
    if not ratio <= LARGEST_RATIO:
        return "not comparable"
    if low > 0:
        return "higher"
    if high < 0:
        return "lower"
    return f"no difference above {100 * MARGIN:g}" if low > -MARGIN and high < MARGIN else "open"


def table(path: Path) -> pd.DataFrame:
    """The table of an archive: a row for each arm and strength, then for each contrast and strength, and their mean."""
    archive, sides, rows = Archive(path), {}, []
    targets = sorted({one["displacement"] for arm in archive.arms for one in arm["strengths"]}, reverse=True)
    for arm in archive.arms:
        weights = {one["displacement"]: one["kl_weight"] for one in arm["strengths"]}
        for target in targets:
            side = archive.side(arm["method"], arm["context_temperature"], weights.get(target))
            sides[arm["name"], target] = side
            rows.append(arm_row(archive, arm, target, weights.get(target), side))
    for is_primary in (True, False):
        arms = {arm["method"]: arm["name"] for arm in archive.arms if (arm["context_temperature"] == 1) == is_primary}
        if len(arms.keys() & set(SIDES)) < 2:
            continue
        first, second = arms[SIDES[0]], arms[SIDES[1]]
        pairs = [(sides[first, target], sides[second, target]) for target in targets]
        for target, pair in zip(targets, pairs, strict=True):
            rows.append(contrast_row(archive, f"{first} - {second}", f"{target:g}", [pair]))
        rows.append(contrast_row(archive, f"{first} - {second}", "mean", pairs))
        if is_primary:
            rows[-1]["primary"] = "yes"
    scope = archive.tasks[0].partition("/")[0]
    scale = "own" if scope == "photographs" else "miniature"
    return pd.DataFrame(rows).assign(scope=scope, scale=scale).reindex(columns=list(COLUMNS))


if __name__ == "__main__":
    for given in map(Path, sys.argv[1:]):
        table(given).to_csv(given.parent / "tables" / "matched_strength.csv", index=False)
