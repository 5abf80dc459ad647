"""The protocol checklist: every item follows from the records, in the page and in report.md."""

from __future__ import annotations

from dataclasses import replace

import pytest

from carft.config.settings import NO_CLIP
from carft.store.records import Store
from reports.evidence.views import read_evidence
from reports.render.checklist import checklist
from reports.render.page import Content, rendered
from reports.tables.table import Sources
from tests.support.helpers import TASK
from tests.support.planted import Plan, change_study, plant

pytestmark = pytest.mark.usefixtures("few_figures")

ITEMS = ("Data", "Sample sizes", "Splits", "Model", "Training", "Selection", "Budget per method")


def test_the_checklist_tells_what_the_records_hold(sources: Sources) -> None:
    found = dict(checklist(sources.evidence))
    assert tuple(found) == ITEMS
    assert TASK in found["Data"] and "icons-2" in found["Data"]
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


def test_report_md_has_the_checklist_and_the_glossary(content: Content) -> None:
    text = rendered("report.md", replace(content, checklist=[("Data", "nine <tasks>")]))
    assert "## Protocol checklist\n\n- **Data:** nine &lt;tasks&gt;\n" in text
    assert "## Glossary\n\n" in text and "- **zero-shot:** The pretrained model" in text


def test_a_recipe_that_differs_is_told_by_what_differs_and_of_whom(store: Store) -> None:
    plant(store, [TASK, "icons/tools"], Plan({"zeroshot": 0.5, "ft": 0.6}, {"zeroshot": 0.9, "ft": 0.6}))
    plant(store, [TASK], Plan({"flyp": 0.6}, {"flyp": 0.8}))
    change_study(store, TASK, "flyp", training={"epochs": 6, "clip": NO_CLIP})
    words = dict(checklist(read_evidence(store)))["Training"]
    assert words == "epochs 6; FLYP: clip off."
