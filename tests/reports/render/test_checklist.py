"""The protocol checklist: every item follows from the records, in the page and in report.md."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from carft.spec.settings import NO_CLIP
from carft.store.records import Store
from reports.build import sources_of
from reports.evidence.caveats import FIXTURE
from reports.evidence.results import Problem
from reports.render.checklist import checklist
from reports.render.page import PAGES, Content
from reports.tables.table import Sources
from tests.support.helpers import TASK
from tests.support.planted import PROVENANCE, Plan, change_study, plant

pytestmark = pytest.mark.usefixtures("few_figures")

ITEMS = (
    *("Data", "Attestation", "Sample sizes", "Splits", "Model", "Training", "Selection", "Budget per method"),
    *("Exclusions", "Intervals", "Versions"),
)


def test_the_checklist_tells_what_the_records_hold(sources: Sources) -> None:
    found = dict(checklist(sources))
    assert tuple(found) == ITEMS
    records = sources.evidence.records
    assert TASK in found["Data"] and "icons-2" in found["Data"]
    assert found["Attestation"] == f"{len(records)} cells: data attested by digest."
    assert found["Sample sizes"] == (
        "2 confirm seeds a study; the ID test set of a task has 12 drawings, 24 images; a shifted set has 12 drawings, "
        "24 images."
    )
    assert "shifted sets (hands" in found["Splits"] and "holdout stable" in found["Splits"]
    assert "icons-resnet, weights 'icons', float32" in found["Model"]
    assert "epochs" in found["Training"]
    for method, ranges in (("FT", "lr"), ("CAR-FT", "kl weight")):
        own = next(part for part in found["Budget per method"].split("; ") if f"{method}: 2 studies" in part)
        assert "3 trials each, 4 confirm cells" in own
        assert ranges in found["Budget per method"]
    assert found["Exclusions"] == "None."
    assert "carft planted" in found["Versions"] and "torch 0" in found["Versions"]


def test_what_is_left_out_and_data_without_attestation_are_counted(tmp_path: Path) -> None:
    store = Store(tmp_path)
    plant(store, [TASK], Plan({"zeroshot": 0.5, "ft": 0.6, "car_ft": 0.6}, {"zeroshot": 0.9, "ft": 0.6, "car_ft": 0.8}))
    path = next(tmp_path.glob("cells/*/record.json"))
    record = json.loads(path.read_text(encoding="utf-8"))
    record["provenance"] = {**PROVENANCE, "python": "4", "digests": {"attested": "no: fixture", "left out": "1: a.png"}}
    path.write_text(json.dumps(record), encoding="utf-8")
    sources = sources_of(store)
    sources.evidence.archive.problems.append(Problem("failed", "somewhere", "It failed."))
    found = dict(checklist(sources))
    assert found["Exclusions"] == "protocol not kept: 1; failed: 1; cells whose data lack unreadable images: 1."
    assert found["Attestation"].endswith(f", 1 cells: {FIXTURE}.")
    assert " 1 cells: carft planted (NUMERICS 1), Python 4" in found["Versions"]


def test_report_md_has_the_checklist_and_the_glossary(content: Content) -> None:
    text = PAGES["report.md"](replace(content, checklist=[("Data", "nine <tasks>")]))
    assert "## Protocol checklist\n\n- **Data:** nine &lt;tasks&gt;\n" in text
    assert "## Glossary\n\n" in text and "- **zero-shot:** The pretrained model" in text


def test_a_recipe_that_differs_is_told_by_what_differs_and_of_whom(tmp_path: Path) -> None:
    store = Store(tmp_path)
    plant(store, [TASK, "icons/tools"], Plan({"zeroshot": 0.5, "ft": 0.6}, {"zeroshot": 0.9, "ft": 0.6}))
    plant(store, [TASK], Plan({"flyp": 0.6}, {"flyp": 0.8}))
    change_study(store, TASK, "flyp", training={"epochs": 6, "clip": NO_CLIP})
    words = dict(checklist(sources_of(store)))["Training"]
    assert words == "epochs 6; FLYP: clip off."
