"""`rescore`: scores stored predictions with other classes, images or metrics. Records do not change."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from carft.core.errors import UserError, first_of, unknown
from carft.core.files import write_json
from carft.core.metrics import Predictions, calibration_bins, calibration_error, macro, negative_log_likelihood, top1
from carft.data.folder.naming import labels
from carft.store.records import Record, Store
from reports.render.manifest import record_digests
from reports.tables.table import rows_of

TOP = 5
#: names that the line of changes lists at most
NAMED = 3


@dataclass(frozen=True)
class View:
    """The chosen images of a set with their predictions among the chosen classes.

    Classes are indices among all classes of the task.
    """

    ranked: np.ndarray
    """(N, k) classes by logit, largest first, k up to 5; -1 where the file does not hold the logit."""
    labels: np.ndarray
    """(N,)."""
    contexts: np.ndarray
    """(N,); -1 where the context is unknown."""
    predicted_contexts: np.ndarray
    """(N,)."""
    log_likelihood: np.ndarray | None
    """(N,) of the label, in nats; None where the file does not hold the logits."""
    confidence: np.ndarray | None
    """(N,) of the prediction, in [0, 1]; None where the file does not hold the logits."""
    where: str
    """Cell and set, for error messages."""

    @property
    def predicted(self) -> np.ndarray:
        """(N,) class of the largest logit."""
        if (unknown_ones := int((self.ranked[:, 0] < 0).sum())) > 0:
            raise not_enough(self.where, f"in {unknown_ones} images none of these classes is among them")
        return self.ranked[:, 0]


def not_enough(where: str, why: str) -> UserError:
    """The error where a file holds only the largest logits and these do not suffice."""
    return UserError(
        f"The predictions of {where} hold only the largest logits of each image, and {why}.",
        "Ask for fewer changes, or run the cell again on a set small enough for all logits.",
    )


def top5(view: View) -> float:
    """Share of images whose label is among the five largest logits."""
    hit = (view.ranked == view.labels[:, None]).any(1)
    if ((view.ranked < 0).any(1) & ~hit).any():
        raise not_enough(view.where, "the five largest of these classes are not all among them")
    return float(np.mean(hit))


def worst_class(view: View) -> float:
    """Lowest accuracy over the classes that occur."""
    predicted = view.predicted
    return float(min(np.mean(predicted[view.labels == k] == k) for k in np.unique(view.labels)))


def mean_loss(view: View) -> float:
    """Mean negative log-likelihood in nats over the chosen classes."""
    if view.log_likelihood is None:
        raise not_enough(view.where, "a loss over other classes needs all of them")
    return float(np.mean(-view.log_likelihood))


def expected_calibration_error(view: View) -> float:
    """Expected calibration error over 15 bins of equal width."""
    if view.confidence is None:
        raise not_enough(view.where, "a confidence over other classes needs all of them")
    return calibration_error(calibration_bins(view.confidence, view.predicted == view.labels))


def context_top1(view: View) -> float:
    """Context recognition, macro over the known contexts; NaN where none is known."""
    known = view.contexts >= 0
    return macro(view.predicted_contexts[known], view.contexts[known]) if known.any() else float("nan")


METRICS: dict[str, Callable[[View], float]] = {
    "top1": lambda view: top1(view.predicted, view.labels),
    "top5": top5,
    "mean_per_class": lambda view: macro(view.predicted, view.labels),
    "worst_class": worst_class,
    "loss": mean_loss,
    "ece": expected_calibration_error,
    "context_top1": context_top1,
}


@dataclass(frozen=True)
class RescoreRequest:
    """What is scored. None stands for all, as recorded."""

    tasks: tuple[str, ...] | None
    """Names of tasks, or what they are called in tables."""
    sets: tuple[str, ...] | None
    """Names of sets."""
    classes: tuple[str, ...] | None
    """The classes that can be predicted; images of other classes are left out."""
    images: tuple[str, ...] | None
    """Names of images or groups, or patterns as of fnmatch."""
    metrics: tuple[str, ...]
    """Names of ``METRICS``."""

    @staticmethod
    def of(
        tasks: Sequence[str] | None,
        sets: Sequence[str] | None,
        classes: str | None,
        images: str | None,
        metrics: Sequence[str] | None,
    ) -> RescoreRequest:
        """A request as the command line gives it: ``classes`` and ``images`` name a file or are comma-separated."""
        for name in metrics or ():
            if name not in METRICS:
                raise unknown("metric", name, METRICS)
        if not metrics:
            raise UserError("No metric was given.", f"Known: {', '.join(METRICS)}.")
        chosen = tuple(tasks) if tasks else None
        return RescoreRequest(chosen, tuple(sets) if sets else None, _names(classes), _names(images), tuple(metrics))

    def text(self) -> str:
        """The changes in one line."""
        changes = [f"metrics {', '.join(self.metrics)}"]
        if self.classes is not None:
            changes.append(f"only {len(self.classes)} classes can be predicted ({first_of(self.classes, NAMED)})")
        if self.images is not None:
            changes.append(f"only images named {first_of(self.images, NAMED)}")
        if self.sets is not None:
            changes.append(f"only sets {first_of(self.sets, NAMED)}")
        return "; ".join(changes) + ". Not what the cells recorded."


@dataclass(frozen=True)
class Rescored:
    """The result of re-scoring."""

    paths: Sequence[Path]
    """Written files."""
    changed: str
    """The changes in one line."""
    summary: list[dict[str, Any]]
    """Means over seeds."""


def rescore_to(store: Store, request: RescoreRequest, folder: Path) -> Rescored:
    """Write rescored.csv (a row per cell and set), summary.csv (means over seeds) and rescored.json (what was changed).

    ``UserError`` when the folder lies among the records, when nothing is left to score, or when stored logits do not
    suffice.
    """
    if folder.resolve().is_relative_to(store.root.resolve()):
        raise UserError(
            f"'{folder}' lies in the results folder.", "Give --out a folder of its own: records stay as they are."
        )
    records = _records(store, request)
    methods = {r.id: r.cell.method for r in store.records()}
    shown = labels(r.cell.task for r in records)
    rows = [row for record in records for row in _cell(store, record, request, methods)]
    if not rows:
        raise UserError("Nothing is left to score.", "No finished cell was evaluated on such sets or images.")
    table = pd.DataFrame(rows)
    table["task"] = table["task"].map(shown)
    keys = ["task", "method", "hyperparameters", "set"]
    grouped = table.groupby(keys, sort=True, as_index=False)
    counts = grouped.agg(seeds=("seed", "count"), images=("images", "max"), groups=("groups", "max"))
    means = grouped[[*request.metrics, "recorded_top1"]].mean()
    summary = counts.merge(means, on=keys).assign(note="re-scored")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"'{folder}' cannot be written: {error.strerror}.", "Give another --out.") from error
    paths = [folder / "rescored.csv", folder / "summary.csv", folder / "rescored.json"]
    table.assign(note="re-scored").to_csv(paths[0], index=False)
    summary.to_csv(paths[1], index=False)
    used = set(table["cell"])
    digests = {k: v for k, v in record_digests(store).items() if k.endswith(".parquet") and k.split("/")[1] in used}
    write_json(paths[2], {"re-scored": request.text(), "request": asdict(request), "predictions": digests})
    return Rescored(paths, request.text(), rows_of(summary))


def _records(store: Store, request: RescoreRequest) -> list[Record]:
    every = list(store.records())
    shown = labels(r.cell.task for r in every)
    for name in request.tasks or ():
        if name not in shown.values():
            store.catalog.card(name)
    records = [r for r in every if request.tasks is None or {r.cell.task, shown[r.cell.task]} & set(request.tasks)]
    for task in {r.cell.task for r in records}:
        sets = {"val", "test", *(f"ood/{suite}" for suite in store.catalog.card(task).suites)}
        for name in request.sets or ():
            if name not in sets:
                raise unknown(f"set of {task}", name, sets)
        for name in request.classes or ():
            if name not in store.catalog.card(task).classes:
                raise unknown(f"class of {task}", name, store.catalog.card(task).classes)
    return records


def _cell(store: Store, record: Record, request: RescoreRequest, methods: Mapping[str, str]) -> list[dict[str, Any]]:
    rows = []
    parents = ", ".join(methods.get(p, p) for p in record.cell.parents)
    method = f"{record.cell.method}({parents})" if parents else record.cell.method
    recorded = store.metrics(record.id)
    for name in ("val", *sorted(store.evaluated(record.id))):
        if request.sets is not None and name not in request.sets:
            continue
        predictions = store.predictions(record.id, name)
        keep = _kept_images(predictions, request.images)
        columns = _kept_classes(store.catalog.card(record.cell.task).classes, request.classes)
        if columns is not None:
            keep &= np.isin(predictions.labels, columns)
        if not keep.any():
            continue
        view = kept(predictions, keep, columns, f"cell {record.id}, {name}")
        tuned = ", ".join(f"{k} {v:.4g}" for k, v in record.cell.hyperparameters.items())
        row = {"cell": record.id, "task": record.cell.task, "method": method, "hyperparameters": tuned}
        groups = len({g for g, k in zip(predictions.groups, keep, strict=True) if k})
        scores = {metric: METRICS[metric](view) for metric in request.metrics}
        counts = {"images": int(keep.sum()), "groups": groups, "classes": "all" if columns is None else len(columns)}
        seen = {"recorded_top1": recorded.get(f"{name}/top1", float("nan"))}
        rows.append({**row, "seed": record.cell.seed, "set": name, **counts, **scores, **seen})
    return rows


def kept(predictions: Predictions, keep: np.ndarray, columns: np.ndarray | None, where: str) -> View:
    """The chosen images of a set with the chosen classes. Only this function reads logits.

    keep: (N,) bool, the images. columns: the classes; None for those of the record.
    """
    facts = predictions.labels[keep], predictions.contexts[keep], predictions.predicted_contexts[keep]
    logits = predictions.logits
    if not isinstance(logits, np.ndarray):
        if columns is None:
            ranked = logits.classes[keep][:, :TOP]
            return View(ranked, *facts, predictions.log_likelihood[keep], predictions.confidence[keep], where)
        return View(_left_of(logits.classes[keep], columns), *facts, None, None, where)
    if columns is None:
        columns = np.arange(logits.shape[1]) if predictions.subset is None else np.asarray(predictions.subset)
    left = logits[np.ix_(keep, columns)]
    order = np.argsort(-left, axis=1, kind="stable")[:, :TOP]
    log_likelihood = -negative_log_likelihood(left, np.searchsorted(columns, facts[0]))
    confidence = np.exp(-negative_log_likelihood(left, order[:, 0]))
    return View(columns[order], *facts, log_likelihood, confidence, where)


def _left_of(classes: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """(N, 5) classes of (N, 10) that are among ``columns``, largest logit first; -1 where there are fewer."""
    width = min(TOP, len(columns))
    allowed = np.isin(classes, columns)
    order = np.argsort(~allowed, axis=1, kind="stable")[:, :width]
    return np.where(np.take_along_axis(allowed, order, 1), np.take_along_axis(classes, order, 1), -1)


def _kept_classes(names: tuple[str, ...], classes: tuple[str, ...] | None) -> np.ndarray | None:
    return None if classes is None else np.array(sorted({names.index(c) for c in classes}))


def _kept_images(predictions: Predictions, wanted: tuple[str, ...] | None) -> np.ndarray:
    if wanted is None:
        return np.ones(len(predictions.labels), dtype=bool)
    exact, patterns = set(wanted), [w for w in wanted if any(c in w for c in "*?[")]
    return np.array(
        [
            image in exact or group in exact or any(fnmatchcase(image, p) or fnmatchcase(group, p) for p in patterns)
            for image, group in zip(predictions.images, predictions.groups, strict=True)
        ]
    )


def _names(text: str | None) -> tuple[str, ...] | None:
    """Names from a file with one per line, or comma-separated names."""
    if text is None:
        return None
    path = Path(text)
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else text.split(",")
    names = tuple(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if not names:
        raise UserError(f"'{text}' names nothing.", "Give names, comma-separated or one a line in a file.")
    return names
