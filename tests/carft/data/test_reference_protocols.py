"""Splits and views are those of DomainBed's and CLIPood's code; validation sets are held out once and kept."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision import transforms
from torchvision.datasets import ImageFolder

from carft.catalog.catalog import BUILT_IN
from carft.catalog.resolve import specify
from carft.config.settings import Training
from carft.core.errors import UserError
from carft.data.domainbed.family import DATA_SETS, seed_hash, split_of
from carft.data.index import Index
from carft.data.reference_views import EVAL_VIEWS, changed
from carft.data.sets import hold_out
from tests.support.folder import Folder

SMALL = ("pacs", "vlcs", "officehome", "terraincognita")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small trees in the layout of DomainBed's download script."""
    folder = tmp_path_factory.mktemp("data")
    for name in SMALL:
        DATA_SETS[name].fixture(folder)
    return folder


def theirs(root: Path, name: str, held_out: str) -> dict[str, set[str]]:
    """Files of training, validation and both sides of the held-out domain, as train.py of DomainBed divides them."""
    found: dict[str, set[str]] = {"train": set(), "val": set(), "in": set(), "out": set()}
    base = root / DATA_SETS[name].folder
    for number, environment in enumerate(sorted(p.name for p in base.iterdir() if p.is_dir())):
        samples = [path for path, _ in ImageFolder(str(base / environment)).samples]
        keys = list(range(len(samples)))
        seed = int(hashlib.md5(str((0, number)).encode("utf-8")).hexdigest(), 16) % (2**31)
        np.random.RandomState(seed).shuffle(keys)
        n = int(len(samples) * 0.2)
        is_target = environment == DATA_SETS[name].parts[held_out].folder
        sides = ("out", "in") if is_target else ("val", "train")
        for side, chosen in zip(sides, (keys[:n], keys[n:]), strict=True):
            found[side] |= {str(Path(samples[k]).relative_to(base)) for k in chosen}
    return found


def files(images, base: Path) -> set[str]:
    return {str(path.relative_to(base)) for path in images.images.paths}


@pytest.mark.parametrize("name", SMALL)
def test_the_splits_are_those_of_domainbeds_code(name: str, root: Path) -> None:
    for held_out in DATA_SETS[name].parts:
        chosen, expected = f"{name}/{held_out}", theirs(root, name, held_out)
        task, base = BUILT_IN.open(chosen, Folder(root), "domainbed"), root / DATA_SETS[name].folder
        assert (files(task.train, base), files(task.val, base)) == (expected["train"], expected["val"])
        for side in ("in", "out"):
            suite = BUILT_IN.unseal(chosen, Folder(root), side).suites[held_out]
            assert files(suite, base) == expected[side]
        whole = files(BUILT_IN.unseal(chosen, Folder(root)).suites[held_out], base)
        assert whole == expected["in"] | expected["out"]


@pytest.mark.parametrize("name", SMALL)
def test_the_order_of_classes_and_domains_is_theirs(name: str, root: Path) -> None:
    base = root / DATA_SETS[name].folder
    domains = sorted(p.name for p in base.iterdir() if p.is_dir())
    assert [domain.folder for domain in DATA_SETS[name].parts.values()] == domains
    assert list(DATA_SETS[name].labels) == ImageFolder(str(base / domains[0])).classes


def test_a_split_is_the_one_that_their_function_returned() -> None:
    """Printed by seed_hash(0, k) and split_dataset(range(n), int(0.2 * n), ...) of DomainBed at b93c22a."""
    hashes = [894182419, 1514274641, 1325548499, 1796103049, 1773288162, 1833038383]
    assert [seed_hash(0, k) for k in range(6)] == hashes
    for number, count, held_out in ((0, 14, {2, 9}), (1, 14, {0, 7}), (2, 31, {4, 1, 8, 30, 11, 25})):
        paths = tuple(Path(str(k)) for k in range(count))
        index = Index(paths, (0,) * count, tuple(map(str, range(count))))
        inside, out = split_of(index, number, 0.2)
        assert {int(p.name) for p in out.paths} == held_out
        assert {int(p.name) for p in inside.paths} == set(range(count)) - held_out


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    """A picture with smooth and sharp parts."""
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (9, 13, 3), dtype=np.uint8))
    pixels = np.asarray(coarse.resize((260, 180), Image.Resampling.BICUBIC)).copy()
    pixels[40:90, 60:200] = rng.integers(0, 256, (50, 140, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def pixels(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)


@pytest.mark.parametrize("seed", range(12))
def test_the_training_view_is_domainbeds_given_the_same_draws(photo: Image.Image, seed: int) -> None:
    """Their transforms draw from torch's global generator: the same draws are made here, in the same order."""
    crop = transforms.RandomResizedCrop(224, scale=(0.7, 1.0))
    jitter = transforms.ColorJitter(0.3, 0.3, 0.3, 0.3)
    whole = transforms.Compose([crop, transforms.RandomHorizontalFlip(), jitter, transforms.RandomGrayscale()])
    torch.manual_seed(seed)
    expected = pixels(whole(photo))
    torch.manual_seed(seed)
    box = crop.get_params(photo, list(crop.scale), list(crop.ratio))
    flip = bool(torch.rand(1) < 0.5)
    order, *strengths = jitter.get_params(jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue)
    grey = bool(torch.rand(1) < 0.1)
    colours = tuple((int(k), float(strengths[int(k)])) for k in order)
    assert torch.equal(changed(pixels(photo), 224, tuple(box), flip, colours, grey), expected)


@pytest.mark.parametrize("seed", range(4))
def test_the_training_view_is_clipoods_given_the_same_draws(photo: Image.Image, seed: int) -> None:
    crop = transforms.RandomResizedCrop(224, scale=(0.7, 1.0))
    torch.manual_seed(seed)
    expected = pixels(transforms.Compose([crop, transforms.RandomHorizontalFlip()])(photo))
    torch.manual_seed(seed)
    box = crop.get_params(photo, list(crop.scale), list(crop.ratio))
    assert torch.equal(changed(pixels(photo), 224, tuple(box), bool(torch.rand(1) < 0.5)), expected)


def test_the_evaluation_views_are_theirs(photo: Image.Image) -> None:
    stretched = transforms.Resize((224, 224))(photo)
    centred = transforms.CenterCrop(224)(transforms.Resize(224)(photo))
    assert torch.equal(EVAL_VIEWS["stretch"](224)(pixels(photo), 0), pixels(stretched))
    assert torch.equal(EVAL_VIEWS["centre-bilinear"](224)(pixels(photo), 0), pixels(centred))
    assert not torch.equal(EVAL_VIEWS["centre"](224)(pixels(photo), 0), pixels(centred))


@pytest.mark.parametrize(
    ("training", "protocol", "words"),
    [(Training(domain_balanced=True), {}, "domain balanced"), (Training(), {"holdout": "domainbed"}, "holdout")],
)
def test_what_needs_training_domains_is_refused_elsewhere(training, protocol, words: str) -> None:
    with pytest.raises(UserError, match=words):
        specify("icons-3/mix-7", "ft", {"lr": 1e-3}, training=training, **protocol)
    specify("pacs/sketch", "ft", {"lr": 1e-3}, training=training, **protocol)


def index(counts: list[int], per_group: int = 1) -> Index:
    rows = [(label, i) for label, count in enumerate(counts) for i in range(count)]
    return Index(
        tuple(Path(f"{label}/{i}.jpg") for label, i in rows),
        tuple(label for label, _ in rows),
        tuple(f"{label}/{i // per_group}" for label, i in rows),
    )


@given(st.lists(st.integers(2, 60), min_size=1, max_size=5), st.randoms())
def test_a_tenth_of_every_class_is_held_out_whatever_the_order(counts: list[int], random) -> None:
    whole = index(counts)
    train, val = hold_out(whole, 0.1)
    assert sorted(train.paths + val.paths) == sorted(whole.paths)
    assert Counter(val.labels) == {label: max(1, round(0.1 * count)) for label, count in enumerate(counts)}
    order = random.sample(range(len(whole)), len(whole))
    assert set(hold_out(whole.rows(order), 0.1)[1].paths) == set(val.paths)


def test_images_of_a_group_stay_together() -> None:
    train, val = hold_out(index([30, 30], per_group=3), 0.1)
    assert not set(train.groups) & set(val.groups)
    assert Counter(val.groups) == dict.fromkeys(val.groups, 3)


def test_a_side_of_a_split_needs_the_split() -> None:
    with pytest.raises(UserError, match="--holdout domainbed"):
        specify("pacs/sketch", "zeroshot", {}, target_split="in")
    cell = specify("pacs/sketch", "zeroshot", {}, target_split="in", holdout="domainbed")
    assert cell.id != replace(cell, target_split="out").id
