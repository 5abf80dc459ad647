"""Contrastive pretraining of the built-in model on the icons world's pretraining drawings.

The shipped weights are selected by zero-shot accuracy only (``weights/README.md``). The loss is CLIP's
symmetric cross-entropy over the unique captions of a batch: all images of a caption are its positives.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torchvision.transforms import v2

from carft.data.icons.contexts import CONTEXTS, SIDE
from carft.data.icons.drawings import Drawing, census
from carft.data.icons.rendering import render
from carft.data.icons.world import WEIGHTS_FOLDER

MODEL_NAME = "icons-resnet"


@dataclass(frozen=True)
class PretrainingRecipe:
    """Settings of the pretraining. The same recipe and thread count give the same weights."""

    renderings: int = 4
    """Renderings of each drawing in each context."""
    epochs: int = 24
    batch_size: int = 256
    lr: float = 2e-3
    weight_decay: float = 0.1
    seed: int = 0


def pretraining_drawings() -> list[Drawing]:
    """Return the drawings for pretraining. No task, suite or other split holds them."""
    return [d for d in census() if d.split == "pretrain"]


def class_names() -> list[str]:
    """Return all classes of the world, sorted."""
    return sorted({d.class_name for d in census()})


def contrastive_loss(
    images: torch.Tensor, captions: torch.Tensor, owner: torch.Tensor, scale: torch.Tensor
) -> torch.Tensor:
    """Return CLIP's loss over unique captions.

    images (B, D) and captions (U, D) are L2-normalised; owner (B,) holds each image's caption row; scale is
    ``exp(logit_scale)``. Equals CLIP's loss when all captions differ.
    """
    logits = scale * images @ captions.T  # (B, U)
    positives = F.one_hot(owner, captions.shape[0]).float()
    to_image = positives / positives.sum(0, keepdim=True)
    from_caption = -(to_image * logits.log_softmax(0)).sum(0).mean()
    return (F.cross_entropy(logits, owner) + from_caption) / 2


def rendered(drawings: list[Drawing], indices: range) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
    """Return images (N, 3, SIDE, SIDE) uint8, class and context indices (N,) of all drawings in all contexts."""
    names, order = class_names(), list(CONTEXTS)
    jobs = [(d, c, i) for d in drawings for c in order for i in indices]
    images = torch.empty((len(jobs), 3, SIDE, SIDE), dtype=torch.uint8)
    for row, (drawing, context, index) in enumerate(jobs):
        images[row] = torch.from_numpy(render(drawing, context, index)).permute(2, 0, 1)
    classes = np.array([names.index(d.class_name) for d, _, _ in jobs])
    return images, classes, np.array([order.index(c) for _, c, _ in jobs])


def new_model() -> Any:
    """Return the built-in architecture with random weights, created by open_clip."""
    open_clip.add_model_config(WEIGHTS_FOLDER / f"{MODEL_NAME}.json")
    return open_clip.create_model(MODEL_NAME)


def pretrain(recipe: PretrainingRecipe, folder: Path, log: Callable[[str], None]) -> Path:
    """Train from scratch or resume from ``folder``. Returns the path of the final float16 weights."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    model = new_model()
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=recipe.lr, betas=(0.9, 0.98))
    drawings = pretraining_drawings()
    steps = len(drawings) * len(CONTEXTS) * recipe.renderings // recipe.batch_size
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.lr, epochs=recipe.epochs, steps_per_epoch=steps)
    first = _resume(recipe, folder, model, optimizer, schedule)
    log(f"rendering {len(drawings)} drawings")
    images, classes, contexts = rendered(drawings, range(recipe.renderings))
    texts = _tokenized()  # (classes, contexts, length)
    for epoch in range(first, recipe.epochs):
        loss = _epoch(model, optimizer, schedule, recipe, epoch, images, classes, contexts, texts)
        _checkpoint(recipe, folder, epoch + 1, model, optimizer, schedule)
        log(f"epoch {epoch + 1}/{recipe.epochs} loss {loss:.3f}")
    final = folder / f"{MODEL_NAME}.safetensors"
    save_file({k: v.half().contiguous() for k, v in model.state_dict().items()}, final)
    return final


def _tokenized() -> torch.Tensor:
    tokenizer = open_clip.get_tokenizer(MODEL_NAME)
    return torch.stack([tokenizer([c.prompt.format(n) for c in CONTEXTS.values()]) for n in class_names()])


def _epoch(model, optimizer, schedule, recipe, epoch, images, classes, contexts, texts) -> float:
    model.train()
    generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + epoch)
    torch.manual_seed(recipe.seed * 1_000_003 + epoch)
    crop = v2.RandomResizedCrop(SIDE, scale=(0.8, 1.0), ratio=(0.95, 1.05), antialias=True)
    order = torch.randperm(len(images), generator=generator)
    steps, total = len(images) // recipe.batch_size, 0.0
    for step in range(steps):
        rows = order[step * recipe.batch_size : (step + 1) * recipe.batch_size]
        batch = torch.cat([crop(part) for part in images[rows].split(16)])
        caption = torch.from_numpy(classes[rows] * len(CONTEXTS) + contexts[rows])
        unique, owner = torch.unique(caption, return_inverse=True)
        text = texts.flatten(0, 1)[unique]
        features = model.encode_image(normalised(batch), normalize=True)
        loss = contrastive_loss(features, model.encode_text(text, normalize=True), owner, model.logit_scale.exp())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, np.log(100))
        total += loss.item()
    return total / steps


def normalised(images: torch.Tensor) -> torch.Tensor:
    """uint8 (B, 3, H, W) to CLIP's normalised float32."""
    mean = torch.tensor(open_clip.OPENAI_DATASET_MEAN).view(3, 1, 1)
    std = torch.tensor(open_clip.OPENAI_DATASET_STD).view(3, 1, 1)
    return (images.float() / 255 - mean) / std


def _checkpoint(recipe, folder, epoch, model, optimizer, schedule) -> None:
    save_file(model.state_dict(), folder / "model.safetensors.part")
    torch.save({"optimizer": optimizer.state_dict(), "schedule": schedule.state_dict()}, folder / "optimizer.pt.part")
    for name in ("model.safetensors", "optimizer.pt"):
        (folder / f"{name}.part").replace(folder / name)
    (folder / "progress.json").write_text(json.dumps({"epoch": epoch, "recipe": asdict(recipe)}))


def _resume(recipe, folder, model, optimizer, schedule) -> int:
    """Load the state of the same recipe from the folder. Returns the number of finished epochs, 0 without a state."""
    progress = folder / "progress.json"
    if not progress.is_file():
        return 0
    seen = json.loads(progress.read_text())
    if seen["recipe"] != asdict(recipe):
        return 0
    model.load_state_dict(load_file(folder / "model.safetensors"))
    state = torch.load(folder / "optimizer.pt", weights_only=True)
    optimizer.load_state_dict(state["optimizer"])
    schedule.load_state_dict(state["schedule"])
    return seen["epoch"]


@torch.inference_mode()
def zero_shot_table(model: Any, drawings: list[Drawing], first_index: int = 1000) -> dict[str, dict[str, float]]:
    """Return context -> accuracy of the zero-shot class and context heads on new renderings."""
    model.eval()
    images, classes, contexts = rendered(drawings, range(first_index, first_index + 1))
    texts = _tokenized()
    encoded = torch.stack([model.encode_text(t, normalize=True) for t in texts])  # (C, K, D)
    class_head = F.normalize(encoded.mean(1), dim=-1)
    context_head = F.normalize(encoded.mean(0), dim=-1)
    features = torch.cat([model.encode_image(normalised(part), normalize=True) for part in images.split(256)])
    class_right = (features @ class_head.T).argmax(1).numpy() == classes
    context_right = (features @ context_head.T).argmax(1).numpy() == contexts
    return {
        name: {"class": float(class_right[contexts == k].mean()), "context": float(context_right[contexts == k].mean())}
        for k, name in enumerate(CONTEXTS)
    }


def pretrain_and_measure(
    recipe: PretrainingRecipe, folder: Path, log: Callable[[str], None]
) -> tuple[Path, dict[str, dict[str, float]]]:
    """Run :func:`pretrain`. Returns the path and the zero-shot table of the float16 weights, last row the mean."""
    path = pretrain(recipe, folder, log)
    model = new_model()
    model.load_state_dict({k: v.float() for k, v in load_file(path).items()})
    table = zero_shot_table(model, pretraining_drawings())
    table["mean"] = {k: float(np.mean([row[k] for row in table.values()])) for k in ("class", "context")}
    return path, table
