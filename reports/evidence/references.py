"""Numbers that others report at paper scale, with their sources. They are shown, never mixed with measured ones."""

from __future__ import annotations

import math
from collections.abc import Hashable
from importlib.resources import files
from typing import Any

import numpy as np
import pandas as pd

from carft.core.metrics import Outcomes
from carft.spec.cell import Cell
from carft.spec.resolve import QUICK
from carft.spec.weights import DIGEST_MARK
from carft.store.records import Store
from reports.stats.intervals import Contributions, two_way

SHOWN_SETS = ("ImageNet", "ImageNet-V2", "ImageNet-R", "ImageNet-A", "ImageNet-Sketch")
SHOWN_BACKBONE = "CLIP ViT-B/16"


def reference_numbers() -> pd.DataFrame:
    """All rows: table, dataset, method, backbone, metric, value (in %), source, confidence, caveat (may be empty)."""
    with files("reports.evidence").joinpath("reference_numbers.csv").open(encoding="utf-8") as stream:
        return pd.read_csv(stream).fillna({"caveat": ""})


#: data set of DomainBed -> its title in the reference tables
DOMAINBED = {
    "vlcs": "VLCS",
    "pacs": "PACS",
    "officehome": "OfficeHome",
    "terraincognita": "TerraIncognita",
    "domainnet": "DomainNet",
}
#: set of a task -> name of its column in the reference tables
DATASETS = {
    ("imagenet", "test"): "ImageNet",
    ("imagenet", "ood/imagenet-v2"): "ImageNet-V2",
    ("imagenet", "ood/imagenet-r"): "ImageNet-R",
    ("imagenet", "ood/imagenet-a"): "ImageNet-A",
    ("imagenet", "ood/imagenet-sketch"): "ImageNet-Sketch",
    ("imagenet", "ood/objectnet"): "ObjectNet",
    ("domainnet/real", "ood/real"): "DomainNet-Real",
    ("domainnet/painting", "ood/painting"): "DomainNet-Painting",
    ("domainnet/clipart", "ood/clipart"): "DomainNet-Clipart",
    ("domainnet/infograph", "ood/infograph"): "DomainNet-Infograph",
    ("domainnet/sketch", "ood/sketch"): "DomainNet-Sketch",
}
#: backbone of the reference tables -> (model, weights) that it was measured with
BACKBONES = {
    "CLIP ViT-B/16": ("ViT-B-16", "openai"),
    "CLIP ViT-B/16 (HF)": ("ViT-B-16", "openai"),
}
#: sha256 of OpenAI's own files, which open_clip has in the addresses that it downloads them from
OPENAI_FILES = {"ViT-B-16": "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f"}
#: points of accuracy within which two pipelines agree: templates, resizing and decoding move zero-shot rows by less
AGREEMENT = 1.0


def same_start(model: str, pretrained: str, known: tuple[str, str]) -> bool:
    """Whether model and weights are those of a backbone: by name, or OpenAI's own file with OpenAI's activation."""
    if (model, pretrained) == known:
        return True
    file = pretrained.rpartition(DIGEST_MARK)[2] if DIGEST_MARK in pretrained else ""
    return known[1] == "openai" and model == f"{known[0]}{QUICK}" and file == OPENAI_FILES.get(known[0])


def zero_shot_check(store: Store, cell: Cell) -> list[dict[str, Any]]:
    """A zero-shot cell's measured top-1 per set, with the nearest reference of the same model and weights.

    top1, low and high are shares of 1, reference and difference points. The interval is that of reports: images of one
    group are not independent; low and high are None with one group. answer: ``agrees`` with some reference within one
    point or within its own interval, ``differs`` from all, or ``no reference``. context_top1: context recognition,
    macro over contexts, and context_chance, what guessing would reach; None where no context is known.
    """
    known = reference_numbers()
    of_model = [name for name, start in BACKBONES.items() if same_start(cell.model, cell.pretrained, start)]
    known = known[known["method"].str.startswith("Zero-shot") & known["backbone"].isin(of_model)]
    metrics = store.metrics(cell.id)
    rows = []
    for name in store.catalog.card(cell.task).sets:
        outcomes, share = store.outcomes(cell.id, name), metrics[f"{name}/top1"]
        low, high = _interval(outcomes)
        recognised = metrics.get(f"{name}/context_top1")
        found = known[known["dataset"] == DATASETS.get((cell.task, name), "")]
        row = {
            "set": name,
            "images": len(outcomes.labels),
            "groups": len(np.unique(outcomes.groups)),
            "top1": share,
            "low": low,
            "high": high,
            "context_top1": recognised,
            "context_chance": None if recognised is None else 1 / len(store.catalog.card(cell.task).contexts),
        }
        nearest = found.iloc[(found["value"] - 100 * share).abs().argsort()[:1]].to_dict("records")
        rows.append({**row, **_compared(nearest, share, low, high)})
    return rows


def _interval(outcomes: Outcomes) -> tuple[float | None, float | None]:
    """The 95 % interval of top-1 over groups of images; (None, None) with one group."""
    names, codes = np.unique(outcomes.groups, return_inverse=True)
    hits, images = np.bincount(codes, outcomes.predicted == outcomes.labels), np.bincount(codes)
    total, strata = len(codes), np.zeros(len(names), dtype=np.int64)
    found = two_way(Contributions(hits[None] / total, strata, images / total, images), seeds_vary=False)
    low, high = found.level_interval()
    return (None, None) if math.isnan(low) else (low, high)


def _compared(
    nearest: list[dict[Hashable, Any]], share: float, low: float | None, high: float | None
) -> dict[str, Any]:
    if not nearest:
        return {"reference": None, "source": None, "confidence": None, "difference": None, "answer": "no reference"}
    value = float(nearest[0]["value"])
    difference = 100 * share - value
    covers = low is not None and high is not None and low <= value / 100 <= high
    answer = "agrees" if abs(difference) <= AGREEMENT or covers else "differs"
    source = {name: nearest[0][name] for name in ("source", "confidence")}
    return {"reference": value, **source, "difference": difference, "answer": answer}
