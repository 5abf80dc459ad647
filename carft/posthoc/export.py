"""Export of a finished cell's model: open_clip's folder format, plus the class head and a model card."""

import json
from pathlib import Path

import open_clip
from jinja2 import Environment, PackageLoader, StrictUndefined
from safetensors.torch import save_file

from carft.catalog.resolve import SHARED_WEIGHTS, command
from carft.core.errors import UserError
from carft.core.files import new_folder
from carft.store.records import Store
from carft.training.context import CellContext
from carft.training.execution import Execution
from carft.training.run import load_network


def export(cell: str, store: Store, folder: Path, execution: Execution) -> list[Path]:
    """Write a finished cell's model to ``folder``. Returns the files.

    open_clip_model.safetensors and open_clip_config.json hold the tuned image encoder with the frozen text encoder
    and logit scale, so that ``open_clip.create_model_and_transforms("local-dir:<folder>")`` loads it.
    class_head.safetensors holds A (C, D) and b (C,): logits = v @ A.T + b with v the L2-normalised image features.
    classes.json names the rows; README.md is a model card with the metrics. Raises ``UserError`` when the folder holds
    something or cannot be written.
    """
    with new_folder(folder) as part:
        finished = store.read(cell).cell
        execution.prepare()
        context = CellContext.of(finished, execution, store.catalog)
        network = load_network(finished, context, store)
        tensors = context.pretrained.clip.state_dict()
        for name, value in network.visual.state_dict().items():
            tensors[f"visual.{name}"] = value
        head = {"weight": network.outer * network.head.weight, "bias": network.outer * network.head.bias}
        for name, content in ((SHARED_WEIGHTS, tensors), ("class_head.safetensors", head)):
            on_cpu = {key: value.detach().cpu().contiguous() for key, value in content.items()}
            save_file(on_cpu, part / name, {"format": "pt"})
        config = {
            "model_cfg": _architecture(context, context.pretrained.name),
            "preprocess_cfg": open_clip.get_model_preprocess_cfg(context.pretrained.clip),
        }
        prompts = {"classes": context.card.classes, "templates": context.card.templates}
        texts = {
            "open_clip_config.json": json.dumps(config, indent=1),
            "classes.json": json.dumps(prompts, indent=1),
            "README.md": _model_card(cell, store),
        }
        for name, text in texts.items():
            (part / name).write_text(text + "\n", encoding="utf-8")
    return sorted(folder.iterdir())


def _architecture(context: CellContext, model: str) -> dict:
    """open_clip's configuration of the model, with the activation that its weights were loaded with."""
    if model.startswith("local-dir:"):
        path = Path(model.removeprefix("local-dir:")) / "open_clip_config.json"
        return json.loads(path.read_text(encoding="utf-8"))["model_cfg"]
    configuration = open_clip.get_model_config(model)
    if configuration is None:
        raise UserError(f"open_clip has no configuration of '{model}' to write with the weights.")
    for module in context.pretrained.clip.modules():
        if type(module).__name__ == "QuickGELU":
            return {**configuration, "quick_gelu": True}
    return configuration


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
