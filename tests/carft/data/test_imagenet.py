"""ImageNet and its five shifts: fact tables, layouts, class subsets, and a cell that is trained and unsealed."""

from __future__ import annotations

import importlib.util
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from open_clip import IMAGENET_CLASSNAMES, OPENAI_IMAGENET_TEMPLATES
from PIL import Image

from carft.catalog.catalog import BUILT_IN
from carft.catalog.resolve import specify
from carft.core.errors import UserError
from carft.core.metrics import Predictions, merge_classes
from carft.data.image_files import decode
from carft.data.imagenet.family import DATA_SETS, SUITES, SYNSETS
from carft.data.task import Sealed, Task
from carft.store.records import Store
from carft.training.execution import Execution
from carft.training.run import run_cell
from tests.support.folder import Folder, compared_pictures

OBJECTNET = DATA_SETS["objectnet"]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with fixtures of all six sets. Do not change it."""
    place = tmp_path_factory.mktemp("data")
    for data_set in DATA_SETS.values():
        data_set.fixture(place)
    return place


@pytest.fixture(scope="module")
def opened(root: Path) -> tuple[Task, Sealed]:
    return BUILT_IN.open("imagenet", Folder(root)), BUILT_IN.unseal("imagenet", Folder(root))


def timm_synsets(name: str) -> tuple[str, ...]:
    """A synset list that ships with timm, read without importing it."""
    spec = importlib.util.find_spec("timm")
    assert spec is not None and spec.submodule_search_locations
    folder = Path(spec.submodule_search_locations[0]) / "data" / "_info"
    return tuple((folder / f"{name}_synsets.txt").read_text().split())


# facts


def test_classes_and_prompts_are_those_of_open_clip_and_timm() -> None:
    assert timm_synsets("imagenet") == SYNSETS
    assert BUILT_IN.card("imagenet").classes == tuple(IMAGENET_CLASSNAMES)
    assert BUILT_IN.card("imagenet").templates == tuple(template("{}") for template in OPENAI_IMAGENET_TEMPLATES)
    for name in ("imagenet_r", "imagenet_a"):
        assert timm_synsets(name) == DATA_SETS[name.replace("_", "-")].labels


def test_objectnets_classes_are_the_imagenet_classes_of_its_own_map() -> None:
    """A few worked out by hand, from the names: none is shared, and the several that a chair can be are all there."""
    named = dict(zip(OBJECTNET.labels, OBJECTNET.imagenet_labels, strict=True))
    words = {folder: {IMAGENET_CLASSNAMES[label] for label in labels} for folder, labels in named.items()}
    assert words["chair"] == {"barber chair", "folding chair", "rocking chair"}
    assert words["helmet"] == {"football helmet", "crash helmet"}
    assert words["banana"] == {"banana"}
    assert words["t-shirt"] == {"T-shirt"}
    assert len({label for labels in named.values() for label in labels}) == sum(map(len, named.values())) == 125
    assert sum(len(labels) > 1 for labels in named.values()) == len(OBJECTNET.merged) == 9


# layouts


def test_labels_are_imagenets_whatever_a_set_calls_its_folders(opened: tuple[Task, Sealed]) -> None:
    task, sealed = opened
    assert set(task.train.labels.tolist()) == set(task.val.labels.tolist()) == set(range(1000))
    assert not set(task.train.names) & set(task.val.names)
    assert sealed.test is not None and list(sealed.suites) == list(SUITES) == list(BUILT_IN.card("imagenet").suites)
    for name, images in {"imagenet": sealed.test, **sealed.suites}.items():
        for image, label in zip(images.names[::37], images.labels[::37].tolist(), strict=True):
            folder = image.split("/")[0]
            position = DATA_SETS[name].labels.index(folder)
            assert label == DATA_SETS[name].imagenet_labels[position][0]
        assert images.subset == DATA_SETS[name].subset
        assert set(images.labels.tolist()) == set(images.subset or range(1000))
    v2 = sealed.suites["imagenet-v2"]
    assert [int(name.split("/")[0]) for name in v2.names] == v2.labels.tolist()


def test_the_red_border_of_objectnet_is_cut_off(root: Path, opened: tuple[Task, Sealed]) -> None:
    images = opened[1].suites["objectnet"].images
    whole = decode(images.paths[0])
    assert whole[:, 0, 0].tolist() == [255, 0, 0]
    assert images[0].shape[-1] == whole.shape[-1] - 4
    assert images[0].equal(whole[:, 2:-2, 2:-2])


def test_a_fixture_is_never_attested_and_every_set_has_its_digest(opened: tuple[Task, Sealed]) -> None:
    digests = opened[0].digests
    assert digests["attested"] == f"no: {', '.join(DATA_SETS)}: fixture"
    assert len({digests[name] for name in DATA_SETS}) == len(DATA_SETS)


def test_folders_of_objectnet_outside_the_113_are_left_alone(tmp_path: Path) -> None:
    DATA_SETS["objectnet"].fixture(tmp_path)
    other = tmp_path / "objectnet-1.0" / "images" / "air_freshener"
    other.mkdir()
    Image.new("RGB", (8, 8)).save(other / "one.png")
    assert len(DATA_SETS["objectnet"].index(tmp_path)["test"]) == 113


def test_training_needs_imagenet_alone_and_unsealing_names_the_shift_that_is_missing(
    root: Path, tmp_path: Path
) -> None:
    where = Folder(tmp_path)
    with pytest.raises(UserError, match="imagenet is not here"):
        BUILT_IN.open("imagenet", where)
    shutil.copytree(root / DATA_SETS["imagenet"].folder, tmp_path / DATA_SETS["imagenet"].folder)
    assert len(BUILT_IN.open("imagenet", where).val) == 1000
    for refused in (BUILT_IN.unseal, partial(BUILT_IN.require_present, sealed=True)):
        with pytest.raises(UserError, match="imagenet-v2 is not here") as refusal:
            refused("imagenet", where)
        assert "ImageNetV2" in refusal.value.hint


# class subsets


def predictions(labels: list[int], logits: np.ndarray) -> Predictions:
    names = [str(i) for i in range(len(labels))]
    unknown = np.full(len(labels), -1)
    scored = merge_classes(logits, OBJECTNET.merged)
    return Predictions(names, names, np.array(labels), unknown, scored, np.zeros((len(labels), 1)), OBJECTNET.subset)


def test_scores_over_113_classes_are_those_of_logits_projected_class_by_class() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(500, 1000)).astype(np.float32)
    position = rng.integers(0, 113, 500)
    projected = np.stack([logits[:, list(labels)].max(1) for labels in OBJECTNET.imagenet_labels], axis=1)
    first = [labels[0] for labels in OBJECTNET.imagenet_labels]
    p = predictions([first[k] for k in position], logits)
    assert [first.index(k) for k in p.predicted] == projected.argmax(1).tolist()
    wide = projected.astype(np.float64)
    expected = wide[np.arange(500), position] - np.log(np.exp(wide).sum(1))
    assert p.log_likelihood == pytest.approx(expected)
    assert p.condensed().log_likelihood == pytest.approx(expected, abs=1e-5)


# the whole way


@pytest.mark.slow
def test_a_cell_on_imagenet_is_evaluated_on_every_shift_and_on_objectnet_over_its_113_classes(
    root: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With 2 of the 80 prompts: encoding the text of 1000 classes 80 times is not what is tested here."""
    card = BUILT_IN.card("imagenet")
    few = {"templates": card.templates[:2], "banks": {"standard": card.templates[:2]}}
    monkeypatch.setitem(BUILT_IN.family("imagenet").cards, "imagenet", replace(card, **few))
    cell = specify("imagenet", "zeroshot", {}, model="icons-resnet", pretrained="icons-3")
    run_cell(cell, store, Execution(data=str(root)), unseal=True)
    assert store.evaluated(cell.id) == {"test", *(f"ood/{suite}" for suite in SUITES)}
    wanted = {f"ood/{suite}/{metric}" for suite in SUITES for metric in ("top1", "mean_per_class")}
    assert wanted <= set(store.metrics(cell.id))
    assert store.read(cell.id).provenance["digests"]["attested"].endswith("fixture")
    found = store.predictions(cell.id, "ood/objectnet")
    assert found.subset == OBJECTNET.subset and set(found.predicted) <= set(found.subset or ())


def test_a_picture_is_the_image_of_its_name_without_a_red_border(root: Path) -> None:
    assert compared_pictures("imagenet", root) == 12
