"""Models come through open_clip's own door, and never with random weights."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import open_clip
import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file

from carft.catalog.catalog import BUILT_IN
from carft.catalog.resolve import SHARED_CONFIG, SHARED_WEIGHTS, specify
from carft.config.cell import Training, weights_place_of
from carft.core.errors import UserError
from carft.core.files import file_digest
from carft.core.heartbeat import on_heartbeat
from carft.models import clip
from carft.models.availability import find_weights, require_architecture, size_of
from carft.models.clip import (
    BUILT_IN_WEIGHTS,
    load_pretrained,
    with_activation,
)
from carft.store.records import Store
from carft.store.stored_catalog import adopt_catalog
from carft.training.execution import Execution
from carft.training.run import run_cell
from tests.support.helpers import LR, ROOT, TASK, environment, quick_cell

RESNET = BUILT_IN_WEIGHTS["icons-resnet", "icons-3"]


def test_a_download_is_progress_of_its_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    def download_slowly(download: dict[str, str]) -> str:
        if constants.HF_HUB_OFFLINE:
            raise FileNotFoundError("not in the cache")
        assert download["hf_hub"] == "timm/vit_base_patch16_clip_224.openai/" and heard.wait(60)
        return str(RESNET)

    heard = threading.Event()
    monkeypatch.setattr("carft.core.heartbeat.BEAT_S", 0.01)
    monkeypatch.setattr(clip, "reachable", lambda address: True)
    monkeypatch.setattr(open_clip, "download_pretrained", download_slowly)
    monkeypatch.setattr(open_clip, "create_model_and_transforms", Mock(side_effect=RuntimeError("downloaded")))
    with on_heartbeat(heard.set), pytest.raises(UserError, match="downloaded"):
        load_pretrained("ViT-B-16", "openai")
    assert heard.is_set()


def test_the_built_in_model_is_one_of_open_clip_s() -> None:
    assert "icons-resnet" in open_clip.list_models()
    direct = open_clip.create_model("icons-resnet", pretrained=str(RESNET)).eval()
    ours = load_pretrained("icons-resnet", "icons-3").clip.state_dict()
    assert all(torch.equal(value, ours[name]) for name, value in direct.state_dict().items())


def test_a_pretrained_model_is_frozen_in_eval_mode_and_says_what_its_images_need() -> None:
    pretrained = load_pretrained("icons-resnet", "icons-3")
    assert not any(module.training for module in pretrained.clip.modules())
    assert not any(p.requires_grad for p in pretrained.clip.parameters())
    assert pretrained.side == 64
    assert pretrained.scale == pytest.approx(float(pretrained.clip.logit_scale.exp()))
    assert pretrained.mean == pytest.approx(open_clip.OPENAI_DATASET_MEAN)
    assert len(pretrained.digest) == 64


def test_images_are_normalised_as_open_clip_normalises_them() -> None:
    pretrained = load_pretrained("icons-resnet", "icons-3")
    images = torch.randint(0, 256, (2, 3, 64, 64), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (pretrained.mean, pretrained.std))
    torch.testing.assert_close(pretrained.normalise(images), (images / 255 - mean) / std)


def test_text_features_are_one_unit_vector_per_template_and_class() -> None:
    features = load_pretrained("icons-resnet", "icons-3").text_features(["car", "boat"], ["a photo of a {}.", "a {}."])
    assert features.shape[:2] == (2, 2)
    torch.testing.assert_close(features.norm(dim=-1), torch.ones(2, 2))
    assert not torch.equal(features[0, 0], features[0, 1])
    assert not torch.equal(features[0, 0], features[1, 0])


def test_weights_given_by_path_are_the_built_in_ones_under_another_name(tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    path.write_bytes(RESNET.read_bytes())
    mine, shipped = load_pretrained("icons-resnet", str(path)), load_pretrained("icons-resnet", "icons-3")
    assert mine.digest == shipped.digest
    assert mine.scale == shipped.scale


@pytest.mark.parametrize(
    ("model", "pretrained", "message"),
    [
        ("icons-resnett", "icons-3", "icons-resnet"),
        ("icons-resnet", "icons-4", "icons-3"),
        ("ViT-B-16", "icons-3", "weights tag"),
        ("icons-resnet", "", "without pretrained weights"),
        ("icons-resnet", "/nowhere/weights.safetensors", "no weights file"),
        ("icons-resnet", "weights.pt", "no weights file"),
    ],
)
def test_what_cannot_be_loaded_is_refused(model: str, pretrained: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_pretrained(model, pretrained)


@pytest.mark.parametrize("wrong", ["shape", "missing", "text"])
def test_a_file_without_weights_of_the_model_is_refused(tmp_path: Path, wrong: str) -> None:
    path, weights = tmp_path / "wrong.safetensors", load_file(RESNET)
    if wrong == "shape":
        save_file(
            {name: (value[:1] if value.ndim > 1 else value).contiguous() for name, value in weights.items()}, path
        )
    elif wrong == "missing":
        save_file({name: value for name, value in weights.items() if not name.startswith("visual.")}, path)
    else:
        path.write_text("these are no weights")
    with pytest.raises(UserError, match="could not be loaded"):
        load_pretrained("icons-resnet", str(path))


def test_a_file_other_than_the_one_of_the_cell_is_refused_with_both_digests() -> None:
    digest = load_pretrained("icons-resnet", str(RESNET)).digest
    with pytest.raises(UserError, match=f"its sha256 is {digest}, the cell's is {'0' * 64}"):
        load_pretrained("icons-resnet", f"{RESNET}#sha256:{'0' * 64}")


def test_random_weights_are_the_same_ones_every_time_and_leave_the_generator_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first = load_pretrained("icons-resnet", "random")
    assert torch.equal(torch.rand(1), expected)
    load_pretrained.cache_clear()
    second = load_pretrained("icons-resnet", "random")
    assert first.digest == "random"
    for name, value in first.clip.state_dict().items():
        assert torch.equal(value, second.clip.state_dict()[name])
    assert not torch.equal(first.clip.logit_scale, load_pretrained("icons-resnet", "icons-3").clip.logit_scale)


def test_a_file_of_a_model_with_two_activations_needs_a_word_on_which(tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    path.write_bytes(b"whatever")
    with pytest.raises(UserError, match="QuickGELU"):
        with_activation("ViT-B-16", str(path), None)
    assert with_activation("ViT-B-16", str(path), "gelu") == "ViT-B-16"
    assert with_activation("ViT-B-16", str(path), "quickgelu") == "ViT-B-16-quickgelu"
    assert with_activation("ViT-B-16-quickgelu", str(path), None) == "ViT-B-16-quickgelu"
    assert with_activation("ViT-B-16", "openai", None) == "ViT-B-16"


@pytest.mark.parametrize(("tag", "quick"), [("openai", True), ("laion2b_s34b_b79k", False)])
def test_the_activation_follows_the_weights_tag(tag: str, quick: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check that open_clip leaves at a warning: its ViT-B-32 has GELU, OpenAI's weights need QuickGELU."""
    create = open_clip.create_model_and_transforms

    def without_weights(model: str, pretrained: str, require_pretrained: bool, **options: Any) -> Any:
        assert (pretrained, require_pretrained) == (tag, True)
        return create(model, **options)

    monkeypatch.setattr(open_clip, "create_model_and_transforms", without_weights)
    monkeypatch.setattr("carft.models.clip.is_downloaded", lambda download: True)
    monkeypatch.setattr("carft.models.clip.reachable", lambda address: True)
    loaded = load_pretrained.__wrapped__("ViT-B-32", tag)
    assert any("QuickGELU" in type(module).__name__ for module in loaded.clip.modules()) is quick


@pytest.mark.full
@pytest.mark.slow
def test_weights_that_need_the_network_are_refused_where_there_is_none(tmp_path: Path) -> None:
    code = (
        "from carft.models.clip import load_pretrained; from carft.core.errors import UserError\n"
        "try: load_pretrained('RN50', 'openai')\n"
        "except UserError as refusal: print('refused:', refusal)\n"
    )
    dead = "http://127.0.0.1:1"
    offline = {"HF_HOME": str(tmp_path), "HOME": str(tmp_path), "https_proxy": dead}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**environment(), **offline, "HTTPS_PROXY": dead, "http_proxy": dead, "HTTP_PROXY": dead},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.stdout.startswith("refused: The weights 'openai' of 'RN50' could not be loaded"), done.stderr
    assert done.stdout.count("\n") == 1


def test_a_checkpoint_of_open_clip_s_trainer_is_read(tmp_path: Path) -> None:
    shipped = load_pretrained("icons-resnet", "icons-3")
    state = {f"module.{name}": value for name, value in shipped.clip.state_dict().items()}
    torch.save({"epoch": 3, "name": "run", "state_dict": state, "optimizer": {}}, tmp_path / "epoch_3.pt")
    mine = load_pretrained("icons-resnet", str(tmp_path / "epoch_3.pt")).clip.state_dict()
    assert all(torch.equal(value, mine[name]) for name, value in shipped.clip.state_dict().items())


def a_model_folder(folder: Path, name: str = SHARED_WEIGHTS) -> Path:
    """The built-in model as somebody's folder in open_clip's format."""
    folder.mkdir()
    preprocess = {"mean": list(open_clip.OPENAI_DATASET_MEAN), "std": list(open_clip.OPENAI_DATASET_STD)}
    config = {"model_cfg": open_clip.get_model_config("icons-resnet"), "preprocess_cfg": preprocess}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    (folder / name).write_bytes(RESNET.read_bytes())
    return folder


def test_a_model_in_a_folder_is_trained_as_the_same_model_by_name(tmp_path: Path, store: Store) -> None:
    first = a_model_folder(tmp_path / "mine")
    second = shutil.copytree(first, tmp_path / "elsewhere")
    cells = [
        specify(TASK, "ft", {"lr": LR}, training=Training(epochs=1), model=f"local-dir:{p}") for p in (first, second)
    ]
    assert cells[0].id == cells[1].id and cells[0].pretrained.endswith(file_digest(RESNET))
    for cell in (named := quick_cell("ft", lr=LR), cells[0]):
        run_cell(cell, store, Execution("cpu"))
    assert cells[0] != named and store.metrics(cells[0].id) == store.metrics(named.id)
    assert size_of(cells[0].model) == size_of("icons-resnet")


@pytest.mark.full
def test_a_model_with_an_image_tower_of_timm_is_trained(tmp_path: Path, store: Store) -> None:
    vision = {"timm_model_name": "test_efficientnet", "timm_pool": "avg", "timm_proj": "linear", "image_size": 64}
    text = {"context_length": 16, "width": 64, "heads": 2, "layers": 1}
    config = {"embed_dim": 24, "vision_cfg": vision, "text_cfg": text}
    (folder := tmp_path / "mine").mkdir()
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": {}}))
    save_file(open_clip.CLIP(**config).state_dict(), folder / SHARED_WEIGHTS)
    cell = specify(TASK, "car_ft", {"lr": LR, "kl_weight": 1.0}, 0, Training(epochs=1), model=f"local-dir:{folder}")
    assert load_pretrained(cell.model, cell.pretrained).width == 24
    run_cell(cell, store, Execution("cpu", feature_cache=str(tmp_path / "cache")))
    assert store.is_done(cell.id)


def test_a_model_whose_tower_returns_tokens_too_is_trained(tmp_path: Path, store: Store) -> None:
    """CoCa's image tower gives its decoder the tokens beside the pooled feature."""
    vision = {"image_size": 64, "layers": 1, "width": 32, "head_width": 16, "patch_size": 32}
    vision |= {"attentional_pool": True, "attn_pooler_heads": 2, "output_tokens": True}
    text = {"context_length": 16, "width": 32, "heads": 2, "layers": 1, "embed_cls": True, "output_tokens": True}
    decoder = {"context_length": 16, "width": 32, "heads": 2, "layers": 1}
    config = {"embed_dim": 32, "vision_cfg": vision, "text_cfg": text, "multimodal_cfg": decoder}
    (folder := tmp_path / "coca").mkdir()
    (folder / SHARED_CONFIG).write_text(json.dumps({"model_cfg": config | {"custom_text": True}, "preprocess_cfg": {}}))
    save_file(open_clip.CoCa(**config).state_dict(), folder / SHARED_WEIGHTS)
    cell = specify(TASK, "car_ft", {"lr": LR, "kl_weight": 1.0}, 0, Training(epochs=1), model=f"local-dir:{folder}")
    assert load_pretrained(cell.model, cell.pretrained).text_features(["cat"], ["a {}"]).shape == (1, 1, 32)
    run_cell(cell, store, Execution("cpu"))
    assert store.is_done(cell.id)


def test_a_model_folder_whose_configuration_changed_is_another_model(tmp_path: Path, store: Store) -> None:
    """Ids count the weights alone."""
    cells = []
    for name in ("first", "second"):
        folder = a_model_folder(tmp_path / name)
        cells.append(specify(TASK, "ft", {"lr": LR}, training=Training(epochs=1), model=f"local-dir:{folder}"))
    path = tmp_path / "second" / SHARED_CONFIG
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config, indent=4))
    first, second = (weights_place_of(cell) for cell in cells)
    adopt_catalog(store, BUILT_IN.with_weights(first), ())
    adopt_catalog(store, BUILT_IN.with_weights(second), ())  # another layout of the same
    config["preprocess_cfg"]["mean"] = [0.5, 0.5, 0.5]
    path.write_text(json.dumps(config))
    digests = {load_pretrained(cell.model, cell.pretrained).configuration for cell in cells}
    assert cells[0].id == cells[1].id and len(digests) == 2
    with pytest.raises(UserError, match=r"with another open_clip_config\.json"):
        adopt_catalog(store, BUILT_IN.with_weights(second), ())
    path.write_text("{")
    with pytest.raises(UserError, match="is not JSON"):
        adopt_catalog(store, BUILT_IN.with_weights(second), ())


def test_a_folder_without_weights_that_can_be_read_is_refused(tmp_path: Path) -> None:
    address = f"local-dir:{a_model_folder(tmp_path / 'pickled', 'open_clip_pytorch_model.bin')}"
    with pytest.raises(UserError, match="There are no weights in"):
        find_weights(address, address)
    for given, says in ((str(tmp_path / "pickled"), "Did you mean local-dir:"), ("mine", "There is no architecture")):
        with pytest.raises(UserError, match=says):
            require_architecture(given)


def test_a_model_with_a_sigmoid_loss_is_refused_with_the_reason() -> None:
    for name in ("ViT-B-16-SigLIP", "ViT-B-16-SigLIP2"):
        with pytest.raises(UserError, match="trained with a sigmoid loss"):
            require_architecture(name)
    require_architecture("ViT-B-16")
