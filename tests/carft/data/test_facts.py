"""The fact tables: whole, with sources, in the label order of the sets, and in agreement with the libraries."""

from __future__ import annotations

import ast
from pathlib import Path

import open_clip
import pytest
import torchvision
from torchvision.datasets import Flowers102

from carft.catalog.catalog import BUILT_IN
from carft.catalog.families import DATA_SETS
from carft.data.facts import facts, imagenet_templates
from tests.support.helpers import ROOT

CLASSES = {
    "cifar10": 10,
    "cifar100": 100,
    "dtd": 47,
    "food101": 101,
    "sun397": 397,
    "cars": 196,
    "aircraft": 100,
    "pets": 37,
    "flowers": 102,
}
TEMPLATES = {**dict.fromkeys(("food101", "pets", "flowers"), 1), "sun397": 2, "aircraft": 2, "dtd": 8, "cars": 8}
ENTRIES = {
    "cifar10": {0: "airplane", 9: "truck"},
    "cifar100": {0: "apple", 1: "aquarium fish", 99: "worm"},
    "dtd": {0: "banded", 30: "polka-dotted", 46: "zigzagged"},
    "food101": {0: "apple pie", 16: "cheese plate", 17: "cheesecake", 100: "waffles"},
    "sun397": {0: "abbey", 8: "apartment building outdoor", 206: "jail indoor", 207: "jail cell", 396: "youth hostel"},
    "cars": {0: "AM General Hummer SUV 2000", 5: "Acura Integra Type R 2001", 195: "smart fortwo Convertible 2012"},
    "aircraft": {0: "707-320", 72: "F-16A/B", 73: "F/A-18", 99: "Yak-42"},
    "pets": {0: "Abyssinian", 1: "American Bulldog", 5: "Bengal", 36: "Yorkshire Terrier"},
    "flowers": {0: "pink primrose", 9: "globe thistle", 101: "blackberry lily"},
}
NINE = list(CLASSES)


@pytest.mark.parametrize("name", NINE)
def test_lists_are_whole_and_in_label_order(name: str) -> None:
    chosen = BUILT_IN.card(name)
    assert len(chosen.classes) == len(set(chosen.classes)) == len(set(DATA_SETS[name].labels)) == CLASSES[name]
    assert {i: chosen.classes[i] for i in ENTRIES[name]} == ENTRIES[name]
    assert len(chosen.templates) == TEMPLATES.get(name, 18)
    assert all(template.count("{}") == 1 for template in (*chosen.templates, *chosen.banks["standard"]))
    assert chosen.bank("own") == chosen.templates


def test_flowers_agree_with_torchvision_but_for_three_words_that_clip_changed() -> None:
    pairs = zip(DATA_SETS["flowers"].classes, Flowers102.classes, strict=True)
    assert [pair for pair in pairs if pair[0] != pair[1]] == [
        ("globe flower", "globe-flower"),
        ("pink and yellow dahlia", "pink-yellow dahlia?"),
        ("air plant", "ball moss"),
    ]


def test_the_standard_bank_is_that_of_open_clip() -> None:
    assert list(imagenet_templates()) == [template("{}") for template in open_clip.OPENAI_IMAGENET_TEMPLATES]
    assert all(BUILT_IN.card(name).bank("standard") == imagenet_templates() for name in NINE)


def attributes(module: str) -> set[str]:
    """Every string in the source of one of torchvision's data set modules."""
    source = Path(torchvision.__file__).parent / "datasets" / f"{module}.py"
    tree = ast.parse(source.read_text(encoding="utf-8"))
    return {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}


@pytest.mark.parametrize(
    ("name", "module"),
    [("dtd", "dtd"), ("food101", "food101"), ("sun397", "sun397"), ("aircraft", "fgvc_aircraft"),
     ("pets", "oxford_iiit_pet"), ("flowers", "flowers102")],
)  # fmt: skip
def test_what_is_downloaded_is_what_torchvision_downloads(name: str, module: str) -> None:
    known = attributes(module)
    for archive in DATA_SETS[name].archives:
        assert archive.url in known or {archive.url.rpartition("/")[0] + "/", archive.name} <= known
        assert not archive.md5 or archive.md5 in known
    assert hasattr(torchvision.datasets, facts(name)["torchvision"])


def test_the_data_page_names_every_data_set_and_the_metric_that_papers_give() -> None:
    page = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
    assert [name for name in DATA_SETS if f"`{name}`" not in page] == []
    means = [f"`{name}`" for name in NINE if BUILT_IN.card(name).metric == "mean_per_class"]
    assert f"mean per class for {', '.join(means[:-1])} and {means[-1]}" in page
