"""Cells from requests, post-hoc cells from their parents, and the command that runs a cell. No torch."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from carft.catalog.catalog import BUILT_IN, Catalog
from carft.config.cell import DIGEST_MARK, LOCAL_DIR, Cell, id_form, stable_hash
from carft.config.registry import OWN_OPTIONS, SoupRule, option
from carft.config.settings import DEFAULT_READING, UNTRAINED_RECIPE, Reading, Training
from carft.core.errors import UserError, typed
from carft.core.files import file_digest
from carft.data.card import Card
from carft.data.icons.world import BUILT_IN_WEIGHTS

HUB = "hf-hub:"
#: prefixes of model names that point to a configuration with weights
ADDRESSES = (HUB, LOCAL_DIR)
#: open_clip's suffix of a model with OpenAI's activation
QUICK = "-quickgelu"
#: the tag of random weights
RANDOM = "random"
#: the weights file in open_clip's folder format
SHARED_WEIGHTS = "open_clip_model.safetensors"
#: the configuration beside it: architecture, tokenizer and preprocessing
SHARED_CONFIG = "open_clip_config.json"


def specify(
    task: str,
    method: str,
    hyperparameters: Mapping[str, float],
    seed: int = 0,
    training: Training | None = None,
    reading: Reading | None = None,
    model: str | None = None,
    pretrained: str | None = None,
    *,
    catalog: Catalog = BUILT_IN,
    **protocol: Any,
) -> Cell:
    """Return the cell of a request. Raises ``UserError`` for unknown names and invalid values.

    Model and weights default to those of the task's card. Untrained methods ignore seed and training recipe, so that
    they have one cell. protocol: of :class:`carft.config.settings.ProtocolSettings`.
    """
    chosen, method_card = catalog.card(task), catalog.method(method)
    training, reading = training or Training(), reading or Reading()
    method_card.require_trainable(hyperparameters)
    chosen.bank(reading.context_templates)
    untrained = method_card.kind == "untrained"
    model, pretrained = _model_and_weights(chosen, model, pretrained)
    asked = {"holdout": protocol.get("holdout", "stable") != "stable", "domain balanced": training.domain_balanced}
    for name, needs_domains in asked.items():
        if needs_domains and not chosen.domains:
            raise UserError(
                f"{chosen.name} has no training domains, which {name} needs.",
                "Only the tasks of DomainBed have them, such as pacs/sketch.",
            )
    return Cell(
        task=chosen.name,
        data_version=chosen.version,
        model=model,
        pretrained=named_weights(pretrained),
        method=method,
        hyperparameters=dict(hyperparameters),
        seed=0 if untrained else seed,
        training=UNTRAINED_RECIPE if untrained else replace(training, **method_card.own_training),
        reading=replace(DEFAULT_READING, **{name: getattr(reading, name) for name in method_card.reads}),
        plugin=catalog.source_of(method, chosen.name),
        **protocol,
    )


def zero_shot_of(cell: Cell, catalog: Catalog) -> Cell:
    """The cell of the pretrained model that a cell starts from."""
    plugin = catalog.source_of("zeroshot", cell.task)
    asked = replace(cell, method="zeroshot", plugin=plugin, hyperparameters={}, seed=0)
    return replace(asked, training=UNTRAINED_RECIPE, reading=DEFAULT_READING)


def _model_and_weights(chosen: Card, model: str | None, pretrained: str | None) -> tuple[str, str]:
    """Return model and weights, by default the card's. An address names both, a built-in model has its own weights.

    Raises ``UserError`` for another model without weights.
    """
    addressed = next((name for name in (model, pretrained) if name and name.startswith(ADDRESSES)), None)
    if addressed:
        if {model, pretrained} - {None, addressed}:
            raise UserError(f"'{addressed}' holds both model and weights.", "Give it alone, as --model.")
        if addressed.startswith(LOCAL_DIR):
            addressed = LOCAL_DIR + str(Path(addressed.removeprefix(LOCAL_DIR)).absolute())
        return addressed, addressed
    shipped = [tag for name, tag in BUILT_IN_WEIGHTS if name == model]
    if model and not pretrained and shipped:
        return model, chosen.pretrained if chosen.pretrained in shipped else shipped[0]
    if model and not pretrained and model != chosen.model:
        raise UserError(f"Which weights of '{model}'?", "Give --pretrained a tag or the path of a weights file.")
    return model or chosen.model, pretrained or chosen.pretrained


def named_weights(pretrained: str) -> str:
    """Return the path of a weights file with the digest of its content, or a tag unchanged.

    The path is absolute, since the workers of a sweep run in folders of their own.
    """
    path, where = Path(pretrained).absolute(), str(Path(pretrained).absolute())
    if pretrained.startswith(LOCAL_DIR):
        path, where = Path(pretrained.removeprefix(LOCAL_DIR), SHARED_WEIGHTS), pretrained
    if not path.is_file():
        return pretrained
    facts = path.stat()
    return f"{where}{DIGEST_MARK}{_digest(path, facts.st_mtime_ns, facts.st_size)}"


def configuration_digest(place: str) -> str:
    """Return the hash of the parsed open_clip_config.json in a model folder, or an empty string if there is none.

    Whitespace and the order of keys do not change it. place: path of a model folder or a weights file. Raises
    ``UserError`` if the file is not JSON.
    """
    path = Path(place) / SHARED_CONFIG
    if not path.is_file():
        return ""
    try:
        return stable_hash(json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise UserError(f"'{path}' is not JSON: {error}.", "Put the configuration of the weights there.") from error


@lru_cache(maxsize=16)
def _digest(path: Path, modified_ns: int, size: int) -> str:
    """Digest of a file, which is read once for all cells of a sweep. It is read again after a change."""
    return file_digest(path)


def interpolation(parent: Cell, alpha: float) -> Cell:
    """Return the WiSE-FT cell of a trained cell at ``alpha``, in [0, 1]."""
    return replace(parent, method="wise_ft", hyperparameters={"alpha": alpha}, parents=(parent.id,))


def soup_of(parents: Sequence[Cell], rule: SoupRule, catalog: Catalog) -> Cell:
    """Return the soup of trained cells.

    The parents may differ in hyperparameters, context temperature and seed only; the soup gets the context temperature
    of the first. The order of the parents does not change its id. Raises ``UserError`` for other parents.
    """
    members = sorted({parent.id: parent for parent in parents}.values(), key=lambda parent: parent.id)
    if len(members) < 2:
        raise UserError("A soup needs at least two different cells.", "Name the search cells of a study.")
    first = members[0]
    if catalog.method(first.method).kind != "trained":
        raise UserError(f"Cell {first.id} is '{first.method}', which has no trained weights to average.")
    for other in members[1:]:
        reading = replace(other.reading, context_temperature=first.reading.context_temperature)
        alike = replace(other, hyperparameters=first.hyperparameters, seed=first.seed, reading=reading)
        if id_form(other.model, other.pretrained) == id_form(first.model, first.pretrained):
            alike = replace(alike, model=first.model, pretrained=first.pretrained)
        if alike != first:
            what = next(f.name for f in fields(Cell) if getattr(alike, f.name) != getattr(first, f.name))
            raise UserError(
                f"Cells {first.id} and {other.id} differ in {what.replace('_', ' ')} and cannot be averaged.",
                "Name search cells of one study.",
            )
    return replace(
        first,
        method="soup",
        hyperparameters={"greedy": rule.value},
        seed=min(parent.seed for parent in members),
        parents=tuple(parent.id for parent in members),
    )


def combination(method: str, parents: Sequence[Cell], hyperparameters: Mapping[str, float], catalog: Catalog) -> Cell:
    """Return the cell of a method of the command ``combine``; ``UserError`` for parents that it cannot combine.

    Model Stock takes two trained cells or more that differ as those of a soup may, the others one.
    """
    card = catalog.method(method)
    if card.combines == "weights" and any(parent.reading.class_head == "random" for parent in parents):
        raise UserError("The cell began with a random class head, to which no update leads.", "Name another cell.")
    if card.of_several:
        return replace(soup_of(parents, SoupRule.UNIFORM, catalog), method=method, hyperparameters={})
    if len(parents) != 1 or catalog.method(parents[0].method).kind != "trained":
        raise UserError(f"{method} is made of one trained cell.", "Name it: --cells ID")
    return replace(parents[0], method=method, hyperparameters=dict(hyperparameters), parents=(parents[0].id,))


def command(cell: Cell, results: str, *, catalog: Catalog, unseal: bool = False) -> str:
    """Return the shell command that runs the cell without Ray into the folder ``results``.

    Where your own data, weights and plug-ins lie is left open.
    """
    if cell.parents:
        words = ["combine", cell.method, "--cells", ",".join(cell.parents)]
        if cell.hyperparameters.get("greedy"):
            words.append("--greedy")
        if "alpha" in cell.hyperparameters and cell.method != "wise_ft":  # whose command makes all of a curve
            words += ["--alpha", repr(cell.hyperparameters["alpha"])]
        return typed(*words, "--results", results)
    plain = specify(cell.task, cell.method, cell.hyperparameters, catalog=catalog)
    words = ["train", "--task", cell.task, "--method", cell.method]
    for name, value in sorted(cell.hyperparameters.items()):
        words += [option(name), repr(value)] if name in OWN_OPTIONS else ["--set", f"{name}={value!r}"]
    if cell.seed:
        words += ["--seed", str(cell.seed)]
    settings = {**vars(cell.training), **vars(cell.reading), **cell.protocol()}
    defaults = {**vars(plain.training), **vars(plain.reading), **plain.protocol()}
    for name, value in settings.items():
        if value != defaults[name]:
            words.append(option(name))
            if value is not True:
                words.append(str(value))
    words += _model_words(cell, plain)
    if catalog.named(cell.task):
        words += ["--tasks-file", "FILE"]
    if catalog.method(cell.method).digest:
        words += ["--plugin", "FILE"]
    if catalog.card(cell.task).folder:
        words += ["--data", "ROOT"]
    if unseal:
        words.append("--unseal")
    return typed(*words, "--results", results)


def _model_words(cell: Cell, plain: Cell) -> list[str]:
    """Return the options of model and weights, if they differ from those of ``plain``."""
    model, pretrained = cell.model, cell.pretrained
    if model.startswith(LOCAL_DIR):
        return ["--model", f"{LOCAL_DIR}FOLDER"]
    if model.startswith(ADDRESSES):
        return ["--model", model]
    if DIGEST_MARK in pretrained:  # a file, which does not contain the name of the model and its activation
        name = model.removesuffix(QUICK)
        activation = "gelu" if name == model else "quickgelu"
        return ["--model", name, "--activation", activation, "--pretrained", "FILE"]
    if (model, pretrained) == (plain.model, plain.pretrained):
        return []
    return ["--model", model, "--pretrained", pretrained]
