"""The built-in weights: good enough to start from, and made by code that can be interrupted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from carft.data.icons import pretraining
from carft.data.icons.drawings import census, pretraining_drawings
from carft.data.icons.pretraining import (
    PretrainingRecipe,
    caption_words,
    contrastive_loss,
    pretrain,
    words,
    zero_shot_table,
)
from carft.data.icons.world import COARSE_WORDS, DEFAULT, ICONS_2, ICONS_3, World
from carft.models.clip import load_pretrained


class Interrupted(Exception):
    """What a test raises where a person would pull the plug."""


def features(rows: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(rows, 16, generator=generator, dtype=torch.float64), dim=-1)


@settings(max_examples=20)
@given(st.integers(2, 12), st.integers(0, 1000), st.floats(1, 100))
def test_the_loss_is_clip_s_when_all_captions_differ(rows: int, seed: int, scale: float) -> None:
    images, captions, factor = features(rows, seed), features(rows, seed + 1), torch.tensor(scale, dtype=torch.float64)
    expected = open_clip.ClipLoss()(images, captions, factor)
    order = torch.randperm(rows, generator=torch.Generator().manual_seed(seed))
    # image i belongs to caption order[i] in a bank that is shuffled the other way
    found = contrastive_loss(images, captions[torch.argsort(order)], order, factor)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)


def test_two_images_of_one_caption_are_both_its_positives() -> None:
    """Two equal images of one caption are no errors, which CLIP's own loss would call them."""
    captions = torch.eye(2, dtype=torch.float64)
    images = captions[[0, 0, 1]]
    loss = contrastive_loss(images, captions, torch.tensor([0, 0, 1]), torch.tensor(50.0))
    assert float(loss) == pytest.approx(np.log(2) / 4, abs=1e-6)


def test_pretraining_shows_contexts_that_no_task_has_and_mixes_all() -> None:
    world = PretrainingRecipe(version=ICONS_3.version).world
    assert list(world.prompts) == [*ICONS_3.prompts, *ICONS_3.pretraining_only]
    assert not world.apart and world.blend == ICONS_3.blend


def test_pretraining_sees_no_drawing_of_a_task() -> None:
    assert {d.split for d in pretraining_drawings()} == {"pretrain"}


def test_a_share_of_the_drawings_has_every_class() -> None:
    few, all_ = (pretraining_drawings(replace(DEFAULT, shown=share)) for share in (0.2, 1.0))
    assert set(few) < set(all_) and len(few) == pytest.approx(0.2 * len(all_), rel=0.1)
    assert {d.class_name for d in few} == {d.class_name for d in all_}


def test_captions_name_the_class_its_kind_or_nothing() -> None:
    drawings = pretraining_drawings()[:200]
    said = np.array(words())[caption_words(drawings, PretrainingRecipe(coarse=0.3), epoch=3)]
    fine = np.repeat([d.class_name for d in drawings], len(DEFAULT.prompts))
    assert (said == fine).mean() == pytest.approx(0.7, abs=0.03)
    assert (said == "thing").mean() == pytest.approx(0.1, abs=0.03)
    others = set(said[said != fine]) - {"thing"}
    assert others == {COARSE_WORDS[d.task] for d in drawings}


def test_pretraining_goes_on_where_it_was_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    few = pretraining_drawings()[:8]
    monkeypatch.setattr(pretraining, "pretraining_drawings", lambda world: few)
    recipe = PretrainingRecipe(version=ICONS_3.version, renderings=1, epochs=2, batch_size=48)

    def stop(line: str) -> None:
        if line.startswith("epoch 1/"):
            raise Interrupted

    whole = load_file(pretrain(recipe, tmp_path / "whole", log=lambda _: None))
    with pytest.raises(Interrupted):
        pretrain(recipe, tmp_path / "parts", log=stop)
    lines: list[str] = []
    parts = load_file(pretrain(recipe, tmp_path / "parts", log=lines.append))
    assert not [line for line in lines if line.startswith("epoch 1/")]
    assert whole.keys() == parts.keys()
    assert all(torch.equal(value, parts[name]) for name, value in whole.items())


def test_another_recipe_does_not_go_on_from_the_folder_s_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = pretraining_drawings()[:4]
    monkeypatch.setattr(pretraining, "pretraining_drawings", lambda world: few)
    pretrain(PretrainingRecipe(renderings=1, epochs=1, batch_size=36), tmp_path, log=lambda _: None)
    lines: list[str] = []
    pretrain(PretrainingRecipe(renderings=1, epochs=1, batch_size=24), tmp_path, log=lines.append)
    assert [line for line in lines if line.startswith("epoch 1/1")]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "world", "least", "weakest"),
    [
        ("icons-resnet", ICONS_2, 0.35, 0.85),
        ("icons-resnet", ICONS_3, 0.25, 0.4),
        pytest.param("icons-vit", ICONS_2, 0.1, 0.85, marks=pytest.mark.full),
        pytest.param("icons-vit", ICONS_3, 0.05, 0.2, marks=pytest.mark.full),
    ],
    ids=lambda value: getattr(value, "version", value),
)
def test_the_shipped_weights_know_classes_and_contexts(model: str, world: World, least: float, weakest: float) -> None:
    """On new drawings, those of validation, in new renderings: all classes at once."""
    drawings = [d for d in census() if d.split == "val"]
    table = zero_shot_table(model, load_pretrained(model, world.prefix).clip, drawings[::6], world=world)
    assert table["mean"]["class"] >= least
    assert min(row["context"] for row in table.values()) >= weakest
