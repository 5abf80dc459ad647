"""Cells from requests, post-hoc cells from their parents, and the command that runs a cell. No torch."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from carft.core.commands import PROGRAM, typed
from carft.core.errors import UserError
from carft.core.files import file_digest
from carft.data.card import Card
from carft.data.folder.naming import without_place
from carft.data.icons.world import BUILT_IN_WEIGHTS
from carft.spec.catalog import BUILT_IN, Catalog
from carft.spec.cell import PROTOCOL, Cell, Precision, Reading, Training
from carft.spec.registry import METHODS, OWN_OPTIONS, SOUP_RULES, MethodCard
from carft.spec.weights import DIGEST_MARK, LOCAL_DIR, id_form, located

#: prefixes of model names that point to a configuration with weights
ADDRESSES = ("hf-hub:", LOCAL_DIR)
#: open_clip's suffix of a model with OpenAI's activation
QUICK = "-quickgelu"
#: the tag of random weights
RANDOM = "random"
#: the weights file in open_clip's folder format
SHARED_WEIGHTS = "open_clip_model.safetensors"


def specify(
    task: str,
    method: str,
    hyperparameters: Mapping[str, float],
    seed: int = 0,
    training: Training | None = None,
    reading: Reading | None = None,
    model: str | None = None,
    pretrained: str | None = None,
    precision: Precision = "float32",
    catalog: Catalog = BUILT_IN,
    **protocol: Any,
) -> Cell:
    """Return the cell of a request. Raises ``UserError`` for unknown names and invalid values.

    Model and weights default to those of the task's card. Untrained methods ignore seed and training recipe, so that
    they have one cell. protocol: settings of a cell that :data:`carft.spec.cell.PROTOCOL` lists.
    """
    chosen, method_card = catalog.card(task), catalog.method(method)
    if method_card.kind == "post-hoc":
        raise method_card.not_trainable()
    method_card.check_hyperparameters(hyperparameters)
    chosen.bank((reading or Reading()).context_templates)
    if not 0 <= seed < 2**32:
        raise UserError(f"The seed must lie between 0 and {2**32 - 1}, not {seed}.")
    untrained = method_card.kind == "untrained"
    model, pretrained = _model_and_weights(chosen, model, pretrained)
    if not chosen.domains:
        _require_domains(chosen, training or Training(), protocol)
    return Cell(
        task=chosen.name,
        data_version=chosen.version,
        model=model,
        pretrained=_named_weights(pretrained),
        method=method,
        hyperparameters=dict(hyperparameters),
        seed=0 if untrained else seed,
        training=Training() if untrained else replace(training or Training(), **method_card.own_training),
        reading=_read(method_card, reading or Reading()),
        precision=precision,
        plugin=catalog.source_of(method, chosen.name),
        **protocol,
    )


def _require_domains(chosen: Card, training: Training, protocol: Mapping[str, str]) -> None:
    """Raise ``UserError`` for settings that need training domains, on a task that has none."""
    asked = ["holdout"] * (protocol.get("holdout", "stable") != "stable")
    asked += ["domain_balanced"] * training.domain_balanced
    if asked:
        raise UserError(
            f"{chosen.name} has no training domains, which {asked[0].replace('_', ' ')} needs.",
            "Only the tasks of DomainBed have them, such as pacs/sketch.",
        )


def _read(method: MethodCard, reading: Reading) -> Reading:
    """Return the reading with every factor that the method does not depend on at its default."""
    plain = Reading()
    return replace(reading, **{name: getattr(plain, name) for name in asdict(reading) if name not in method.reads})


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


def _named_weights(pretrained: str) -> str:
    """Return the path of a weights file with the digest of its content, or a tag unchanged.

    The path is absolute, since the workers of a sweep run in folders of their own.
    """
    folder = pretrained.removeprefix(LOCAL_DIR)
    path = Path(pretrained) if folder == pretrained else Path(folder) / SHARED_WEIGHTS
    if not path.is_file():
        return pretrained
    where = path.absolute() if folder == pretrained else pretrained
    facts = path.stat()
    return f"{where}{DIGEST_MARK}{_digest(path.absolute(), facts.st_mtime_ns, facts.st_size)}"


@lru_cache(maxsize=16)
def _digest(path: Path, modified_ns: int, size: int) -> str:
    """Return the digest of a file, which is read once for all cells of a sweep. It is read again after a change."""
    return file_digest(path)


def interpolation(parent: Cell, alpha: float) -> Cell:
    """Return the WiSE-FT cell of a trained cell at ``alpha``, in [0, 1]."""
    METHODS["wise_ft"].check_hyperparameters({"alpha": alpha})
    return replace(parent, method="wise_ft", hyperparameters={"alpha": alpha}, parents=(parent.id,))


def soup_of(parents: Sequence[Cell], greedy: float, catalog: Catalog) -> Cell:
    """Return the soup of trained cells. greedy: 0 (uniform) or 1 (greedy).

    The parents may differ in hyperparameters, context temperature and seed only; the soup gets the context temperature
    of the first. The order of the parents does not change its id. Raises ``UserError`` for other parents.
    """
    if greedy not in SOUP_RULES:
        raise UserError(f"A soup is uniform (greedy 0) or greedy (greedy 1), not {greedy}.")
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
        hyperparameters={"greedy": greedy},
        seed=min(parent.seed for parent in members),
        parents=tuple(parent.id for parent in members),
    )


def command(cell: Cell, results: str, *, catalog: Catalog, unseal: bool = False, published: bool = False) -> str:
    """Return the shell command that runs the cell without Ray into the folder ``results``.

    published: leave open where your own data and weights lie.
    """
    if cell.method == "soup":
        rule = ["--greedy"] if cell.hyperparameters["greedy"] else []
        return typed("soup", "--cells", ",".join(cell.parents), *rule, "--results", results)
    if cell.parents:
        return typed("interpolate", "--cell", cell.parents[0], "--results", results)
    parts = [
        f"{PROGRAM} train",
        *_task_options(without_place(cell.task) if published else cell.task, catalog),
        f"--method {cell.method}",
    ]
    plain = specify(cell.task, cell.method, cell.hyperparameters, catalog=catalog)
    parts += [_option(name, value) for name, value in sorted(cell.hyperparameters.items())]
    parts += [*_training_options(cell, plain), *_model_options(cell, plain, published, catalog)]
    if catalog.plugged(cell.method):
        parts.append("--plugin FILE")
    if catalog.card(cell.task).folder:
        parts.append("--data ROOT")
    if unseal:
        parts.append("--unseal")
    return " ".join([*parts, f"--results {shlex.quote(results)}"])


def _training_options(cell: Cell, plain: Cell) -> list[str]:
    """Return the options of seed, training recipe, reading and protocol that differ from those of ``plain``."""
    parts = [f"--seed {cell.seed}"] if cell.seed else []
    for name, value in asdict(cell.training).items():
        if value != getattr(plain.training, name):
            parts.append(f"--{name.replace('_', '-')}" if value is True else f"--{name.replace('_', '-')} {value}")
    protocol = {name: getattr(cell, name) for name in PROTOCOL}
    chosen = {**cell.reading.factors(), **{k: v for k, v in protocol.items() if v != PROTOCOL[k]}}
    return parts + [f"--{name.replace('_', '-')} {value}" for name, value in chosen.items()]


def _model_options(cell: Cell, plain: Cell, published: bool, catalog: Catalog) -> list[str]:
    """Return the options of model, weights and precision that differ from those of ``plain``.

    published: leave out where a file or folder of weights lies.
    """
    parts = []
    model, pretrained = located(cell.model, cell.pretrained, catalog.weights)
    shown = {"model": model, "pretrained": pretrained, "precision": cell.precision}
    if cell.model.startswith(ADDRESSES):
        del shown["pretrained"]
    elif cell.model != plain.model:
        plain = replace(plain, pretrained="")  # the weights of another model are always named
    if cell.pretrained == RANDOM:
        del shown["pretrained"]
        parts.append("--random-weights")
    if DIGEST_MARK in cell.pretrained and "pretrained" in shown:
        parts += _of_file(shown.pop("model"))
    for name, value in shown.items():
        if value != getattr(plain, name):
            parts.append(f"--{name} {_addressed(value, published)}")
    return parts


def _addressed(value: str, published: bool) -> str:
    """Return a name of model or weights, or the place of their files, for a shell."""
    path, is_file, _ = value.partition(DIGEST_MARK)
    if published and path.startswith(LOCAL_DIR):
        return f"{LOCAL_DIR}FOLDER"
    return "FILE" if published and is_file else shlex.quote(path)


def _task_options(task: str, catalog: Catalog) -> list[str]:
    """Return the options that name a task. Where the folder of a named task lies is left open."""
    named = catalog.named(task)
    if named is None:
        return [f"--task {shlex.quote(task)}"]
    if named.in_file:
        return [f"--task {shlex.quote(task)}", "--tasks-file FILE"]
    sides = {"--id-domains": named.id_domains, "--ood-domains": named.ood_domains}
    domains = [f"{option} {shlex.quote(','.join(names))}" for option, names in sides.items() if names]
    return [f"--task {shlex.quote(f'{task}=PATH')}", *domains]


def _of_file(model: str) -> list[str]:
    """Return the options for model and activation, which a weights file does not contain."""
    name = model.removesuffix(QUICK)
    return [f"--model {shlex.quote(name)}", f"--activation {'gelu' if name == model else 'quickgelu'}"]


def _option(name: str, value: float) -> str:
    """Return the option of a hyperparameter."""
    return f"--{name.replace('_', '-')} {value!r}" if name in OWN_OPTIONS else f"--set {name}={value!r}"
