"""Export of a finished cell's model: open_clip's folder format, plus the class head and a model card."""

from __future__ import annotations

import json
from pathlib import Path

import open_clip
from jinja2 import Environment, PackageLoader, StrictUndefined
from safetensors.torch import save_file

from carft.config.cell import Cell
from carft.config.resolve import SHARED_WEIGHTS, command
from carft.core.errors import UserError
from carft.models.network import Network
from carft.posthoc.wise_ft import interpolate
from carft.store.records import Store
from carft.training.context import CellContext
from carft.training.execution import Execution
from carft.training.run import load_network


def export(cell: str, store: Store, folder: Path, execution: Execution) -> list[Path]:
    """Write a finished cell's model to ``folder``. Returns the files.

    open_clip_model.safetensors and open_clip_config.json hold the tuned image encoder with the frozen text encoder
    and logit scale, so that ``open_clip.create_model_and_transforms("local-dir:<folder>")`` loads it.
    class_head.safetensors holds A (C, D) and b (C,): logits = v @ A.T + b with v the L2-normalised image features.
    classes.json names the rows; README.md is a model card with the metrics. Raises ``UserError`` when the folder is not
    empty or cannot be written.
    """
    record = store.read(cell)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        is_free = not any(folder.iterdir())
    except OSError as error:
        raise UserError(f"'{folder}' cannot be written: {error.strerror}.", "Give --to a new folder.") from error
    if not is_free:
        raise UserError(f"The folder '{folder}' is not empty.", "Give --to a new folder.")
    execution.prepare()
    context = CellContext.of(record.cell, execution, store.catalog)
    network = load_finished(record.cell, context, store)
    tensors = context.pretrained.clip.state_dict()
    tensors |= {f"visual.{name}": value for name, value in network.visual.state_dict().items()}
    head = {"weight": network.outer * network.head.weight, "bias": network.head.bias}
    for name, content in ((SHARED_WEIGHTS, tensors), ("class_head.safetensors", head)):
        save_file({k: v.detach().cpu().contiguous() for k, v in content.items()}, folder / name, {"format": "pt"})
    config = {
        "model_cfg": _architecture(context, context.pretrained.name),
        "preprocess_cfg": open_clip.get_model_preprocess_cfg(context.pretrained.clip),
    }
    texts = {
        "open_clip_config.json": json.dumps(config, indent=1),
        "classes.json": json.dumps({"classes": context.card.classes, "templates": context.card.templates}, indent=1),
        "README.md": _model_card(cell, store),
    }
    for name, text in texts.items():
        (folder / name).write_text(text + "\n", encoding="utf-8")
    return sorted(folder.iterdir())


def load_finished(cell: Cell, context: CellContext, store: Store) -> Network:
    """The network of a finished cell: its own weights, or those of WiSE-FT at its alpha, made from its parent's.

    Raises ``UserError`` when the weights of a soup are no longer in its folder.
    """
    if store.catalog.method(cell.method).kind != "post-hoc" or store.find_weights(cell.id).is_file():
        return load_network(cell, context, store)
    if cell.method != "wise_ft":
        raise UserError(
            f"The weights of cell {cell.id} are no longer in its folder.",
            f"Move the folder away and run: {command(cell, store.name, catalog=store.catalog)}",
        )
    end = load_network(store.read(cell.parents[0]).cell, context, store).state_dict()
    network = context.network(cell.reading.class_head, cell.seed)
    network.load_state_dict(interpolate(network.state_dict(), end, cell.hyperparameters["alpha"]))
    return network


def _architecture(context: CellContext, model: str) -> dict:
    """open_clip's configuration of the model, with the activation that its weights were loaded with."""
    if model.startswith("local-dir:"):
        path = Path(model.removeprefix("local-dir:")) / "open_clip_config.json"
        return json.loads(path.read_text(encoding="utf-8"))["model_cfg"]
    configuration = open_clip.get_model_config(model)
    if configuration is None:
        raise UserError(f"open_clip has no configuration of '{model}' to write with the weights.")
    names = {type(module).__name__ for module in context.pretrained.clip.modules()}
    return {**configuration, "quick_gelu": True} if "QuickGELU" in names else configuration


def _model_card(cell: str, store: Store) -> str:
    record = store.read(cell)
    environment = Environment(
        loader=PackageLoader("carft.posthoc", "templates"), undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("model_card.md").render(
        record=record,
        cell=record.cell,
        card=store.catalog.card(record.cell.task),
        metrics=store.metrics(cell),
        training=record.cell.training.as_dict(),
        reading=record.cell.reading.factors(),
        command=command(record.cell, "again", unseal=True, catalog=store.catalog),
    )
