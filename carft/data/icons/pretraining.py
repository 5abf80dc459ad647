"""Contrastive pretraining of the built-in models on the icons world's pretraining drawings.

Captions are like those of the web: some name the class, some a coarser word, some no more than the context. The loss is
CLIP's symmetric cross-entropy over the unique captions of a batch: all images of a caption are its positives.
``docs/icons-world.md`` says how the recipe of the shipped weights was chosen.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torchvision.transforms import v2

from carft.data.icons.contexts import SIDE
from carft.data.icons.drawings import IconDrawing, pretraining_drawings
from carft.data.icons.rendering import render
from carft.data.icons.world import (
    BUILT_IN_WEIGHTS,
    COARSE_WORDS,
    DEFAULT,
    ICONS_2,
    ICONS_3,
    WEIGHTS_FOLDER,
    WORLDS,
    World,
    tasks,
)

#: the classes of every world, sorted
CLASSES = tasks()[DEFAULT.all]
#: what captions call a drawing: its class, the coarser word of its task, or "thing"
WORDS = (*CLASSES, *COARSE_WORDS.values(), "thing")
#: share of the captions that do not name the class: two of three say the task's coarser word, one says "thing"
COARSE = 0.3
#: epochs of two seeds draw from different seeds of PyTorch
EPOCHS_OF_A_SEED = 1_000


@dataclass(frozen=True)
class PretrainingRecipe:
    """Settings of the pretraining. The same recipe and thread count give the same weights."""

    model: str = "icons-resnet"
    version: str = DEFAULT.version
    """Of the world."""
    renderings: int = 2
    """Images of each drawing in each context; epochs take turns with them."""
    epochs: int = 80
    """Passes over one image of each drawing in each context."""
    batch_size: int = 256
    start: str = ""
    """Weights of an earlier world's pretraining to go on from, a file; empty to train from scratch."""
    lr: float = 2e-3
    """Peak learning rate."""
    seed: int = 0
    """Of the first weights, of the order and crops of images, and of the words of captions."""

    @property
    def world(self) -> World:
        """The world whose drawings and contexts are shown, those of pretraining alone included."""
        own = WORLDS[self.version]
        return replace(own, apart=False, prompts={**own.prompts, **own.pretraining_only})


def shipped_recipe(model: str, version: str = DEFAULT.version) -> PretrainingRecipe:
    """Return the recipe of the shipped weights: those of icons-3 go on from those of icons-2."""
    if version == ICONS_3.version:
        return PretrainingRecipe(model, version, start=str(BUILT_IN_WEIGHTS[model, ICONS_2.prefix]), epochs=10, lr=1e-3)
    return PretrainingRecipe(model, version, lr=2e-3 if model == "icons-resnet" else 1e-3)


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


def rendered(drawings: list[IconDrawing], index: int, world: World) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
    """Return images (N, 3, SIDE, SIDE) uint8, class and context indices (N,) of all drawings in all contexts."""
    size = len(world.prompts)
    images = torch.empty((len(drawings) * size, 3, SIDE, SIDE), dtype=torch.uint8)
    for row, (drawing, context) in enumerate(product(drawings, world.prompts)):
        images[row] = torch.from_numpy(render(drawing, context, index, world)).permute(2, 0, 1)
    classes = np.repeat([CLASSES.index(drawing.class_name) for drawing in drawings], size)
    return images, classes, np.tile(np.arange(size), len(drawings))


def caption_words(drawings: list[IconDrawing], recipe: PretrainingRecipe, epoch: int) -> np.ndarray:
    """Return the index into :data:`WORDS` of each image's caption, (N,), drawn anew for each epoch."""
    rng = np.random.default_rng([recipe.seed, epoch])
    fine, coarse = [], []
    for drawing in drawings:
        fine.append(WORDS.index(drawing.class_name))
        coarse.append(WORDS.index(COARSE_WORDS[drawing.task]))
    size = len(recipe.world.prompts)
    drawn = rng.random(len(drawings) * size)
    words = np.where(drawn < COARSE, np.repeat(coarse, size), np.repeat(fine, size))
    return np.where(drawn < COARSE / 3, len(WORDS) - 1, words)


def pretrain(recipe: PretrainingRecipe, folder: Path, log: Callable[[str], None]) -> Path:
    """Train, and write the final float16 weights to ``folder``. Returns their path."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    open_clip.add_model_config(WEIGHTS_FOLDER / f"{recipe.model}.json")
    model = open_clip.create_model(recipe.model)
    if recipe.start:
        model.load_state_dict({k: v.float() for k, v in load_file(recipe.start).items()})
    decayed, plain = [], []
    for parameter in model.parameters():
        if parameter.ndim > 1:
            decayed.append(parameter)
        else:
            plain.append(parameter)
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=recipe.lr, betas=(0.9, 0.98))
    drawings = pretraining_drawings(recipe.world)
    size = len(recipe.world.prompts)
    steps = len(drawings) * size // recipe.batch_size
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.lr, epochs=recipe.epochs, steps_per_epoch=steps)
    log(f"rendering {len(drawings)} drawings")
    images = [rendered(drawings, index, recipe.world) for index in range(recipe.renderings)]
    texts = _tokenized(recipe.model, WORDS, recipe.world).flatten(0, 1)  # (words * contexts, length)
    for epoch in range(recipe.epochs):
        pixels, _, contexts = images[epoch % recipe.renderings]
        captions = caption_words(drawings, recipe, epoch) * size + contexts
        loss = _epoch(model, optimizer, schedule, recipe, epoch, pixels, torch.from_numpy(captions), texts)
        log(f"epoch {epoch + 1}/{recipe.epochs} loss {loss:.3f}")
    final = folder / f"{recipe.model}.safetensors"
    save_file({k: v.half().contiguous() for k, v in model.state_dict().items()}, final)
    return final


def _tokenized(model: str, names: Sequence[str], world: World) -> torch.Tensor:
    tokenizer = open_clip.get_tokenizer(model)
    rows = []
    for name in names:
        captions = [prompt.format(name) for prompt in world.prompts.values()]
        rows.append(tokenizer(captions))
    return torch.stack(rows)


def _epoch(model, optimizer, schedule, recipe, epoch, images, captions, texts) -> float:
    """Train one epoch, without a last batch that is not full. Returns the mean loss of a step."""
    model.train()
    seed = EPOCHS_OF_A_SEED * recipe.seed + epoch
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    crop = v2.RandomResizedCrop(SIDE, scale=(0.8, 1.0), ratio=(0.95, 1.05), antialias=True)
    order = torch.randperm(len(images), generator=generator)
    steps = len(images) // recipe.batch_size
    total = 0.0
    for step in range(steps):
        rows = order[step * recipe.batch_size : (step + 1) * recipe.batch_size]
        batch = torch.cat([crop(part) for part in images[rows].split(16)])
        unique, caption_of_image = torch.unique(captions[rows], return_inverse=True)  # equal captions: encoded once
        features = model.encode_image(normalised(batch), normalize=True)
        text = model.encode_text(texts[unique], normalize=True)
        loss = contrastive_loss(features, text, caption_of_image, model.logit_scale.exp())
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


@torch.inference_mode()
def zero_shot_table(
    name: str, model: Any, drawings: list[IconDrawing], index: int = 1000, world: World = DEFAULT
) -> dict[str, dict[str, float]]:
    """Return context -> accuracy of the zero-shot class and context heads on new renderings, last row the mean."""
    model.eval()
    images, classes, contexts = rendered(drawings, index, world)
    texts = _tokenized(name, CLASSES, world)
    encoded = torch.stack([model.encode_text(t, normalize=True) for t in texts])  # (C, K, D)
    class_head = F.normalize(encoded.mean(1), dim=-1)
    context_head = F.normalize(encoded.mean(0), dim=-1)
    features = torch.cat([model.encode_image(normalised(part), normalize=True) for part in images.split(256)])
    class_right = (features @ class_head.T).argmax(1).numpy() == classes
    context_right = (features @ context_head.T).argmax(1).numpy() == contexts
    table = {}
    for number, context in enumerate(world.prompts):
        here = contexts == number
        table[context] = {"class": float(class_right[here].mean()), "context": float(context_right[here].mean())}
    mean_class = float(np.mean([row["class"] for row in table.values()]))
    mean_context = float(np.mean([row["context"] for row in table.values()]))
    return {**table, "mean": {"class": mean_class, "context": mean_context}}
