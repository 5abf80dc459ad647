"""What `report verify` says."""

from __future__ import annotations

import math

from reports.evidence.findings import Finding, What
from reports.evidence.origins import CodeOrigin, CodeUse
from reports.evidence.reruns import Rerun, SeedAgreement
from reports.evidence.verification import Difference, Differs
from reports.words.verify_words import DIFFERENCES, NOTES, difference_words, note_words

OF_BOTH = {Differs.FOUND, Differs.CODE, Differs.OTHER_VERSIONS, Differs.OTHER_CODE, Differs.RERUN}


def test_every_kind_has_words() -> None:
    assert {*DIFFERENCES, *NOTES, *OF_BOTH, Differs.VALUE, Differs.MARGIN, Differs.ORDER_UNPROVEN} == {*Differs}


def test_a_difference_says_where_it_was_found() -> None:
    metric = Difference.of(Differs.METRIC, metric="val/top1", then=0.5, now=0.25)
    words = "val/top1 is recorded as 0.5; its predictions give 0.25"
    assert difference_words(metric) == words
    assert difference_words(metric.at(cell="abc", set="val")) == f"cell abc, val: {words}"
    finding = Difference.of(Differs.FOUND, finding=Finding.of(What.NOT_PLANNED))
    of_study = finding.at(study="def", method="ft", task="icons-3/all")
    assert difference_words(of_study) == "study def (ft on icons-3/all): no plan of the journal names it"
    value = Difference.of(Differs.VALUE, place="tasks.a/ft.n", then="", now="3")
    assert difference_words(value) == "tasks.a/ft.n is empty; the records give 3"


def test_other_code_and_versions_are_named_with_what_to_do() -> None:
    use = Difference.of(Differs.CODE, use=CodeUse("abc", 3, CodeOrigin.OTHER))
    code = "3 cells ran with code abc, which is not the code that checks them"
    assert note_words(use) == f"{code}."
    assert difference_words(use) == f"{code}: check with the code that ran them, or --allow-other-code"
    versions = {"matplotlib": ("3.9", "3.10"), "numpy": (None, "2.1")}
    words = difference_words(Difference.of(Differs.OTHER_VERSIONS, file="figures/a.svg", versions=versions))
    assert words.endswith("since its versions differ: matplotlib 3.9, here 3.10; numpy unknown, here 2.1")


def test_a_cell_that_was_run_again_is_measured_by_what_two_seeds_agree_in() -> None:
    known = Rerun("abc", 0.9, SeedAgreement(3, 0.92, 0.96))
    words = (
        "agree with those on record in 90.0 % of images, less than those of two seeds do (92.0 to 96.0 %, from 3 pairs)"
    )
    assert difference_words(Difference.of(Differs.RERUN, rerun=known)).endswith(words)
    unknown = Difference.of(Differs.RERUN, rerun=Rerun("abc", 0.9, SeedAgreement(1, math.nan, math.nan)))
    assert note_words(unknown).startswith("Cell abc ran on another processor")
    assert note_words(unknown).endswith("but too few seeds are on record to say whether that is little.")
