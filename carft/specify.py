"""From what a person asks for to a cell. No torch."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from carft.cell import DIGEST_MARK, Cell, Reading, Training
from carft.data.catalog import card
from carft.errors import Refusal
from carft.methods import check_hyperparameters, method_card


def specify(
    task: str,
    method: str,
    hyperparameters: Mapping[str, float],
    seed: int = 0,
    training: Training | None = None,
    reading: Reading | None = None,
    model: str | None = None,
    pretrained: str | None = None,
    precision: str = "float32",
) -> Cell:
    """The cell of a request; ``Refusal`` for unknown names and for hyperparameters that cannot be.

    Model and weights default to the task card's. An untrained method has one seed and no training budget, so that
    the same request always is the same cell.
    """
    chosen = card(task)
    if method_card(method).kind == "post-hoc":
        raise Refusal(f"'{method}' works on a finished cell.", "Use: python cli.py interpolate --cell ID")
    check_hyperparameters(method, hyperparameters)
    chosen.bank((reading or Reading()).context_templates)
    if not 0 <= seed < 2**32:
        raise Refusal(f"The seed must lie between 0 and {2**32 - 1}, not {seed}.")
    untrained = method_card(method).kind == "untrained"
    return Cell(
        task=chosen.name,
        data_version=chosen.version,
        model=model or chosen.model,
        pretrained=_named_weights(pretrained or chosen.pretrained),
        method=method,
        hyperparameters=dict(hyperparameters),
        seed=0 if untrained else seed,
        training=Training() if untrained else training or Training(),
        reading=Reading() if untrained else reading or Reading(),
        precision=precision,
    )


def _named_weights(pretrained: str) -> str:
    """A weights file with its digest, since a path does not say what is in it; a tag as it is."""
    path = Path(pretrained)
    if not path.is_file():
        return pretrained
    return f"{pretrained}{DIGEST_MARK}{hashlib.sha256(path.read_bytes()).hexdigest()}"


def interpolation(parent: Cell, alpha: float) -> Cell:
    """The WiSE-FT cell at alpha of a trained cell; its id comes from the parent's id and alpha."""
    check_hyperparameters("wise_ft", {"alpha": alpha})
    return Cell(
        task=parent.task,
        data_version=parent.data_version,
        model=parent.model,
        pretrained=parent.pretrained,
        method="wise_ft",
        hyperparameters={"alpha": alpha},
        seed=parent.seed,
        training=parent.training,
        reading=parent.reading,
        precision=parent.precision,
        parents=(parent.id,),
    )


def command(cell: Cell, results: str, unseal: bool = False) -> str:
    """The exact shell command that makes the cell again without Ray, in the folder ``results``."""
    if cell.parents:
        return f"python cli.py interpolate --cell {cell.parents[0]} --results {shlex.quote(results)}"
    parts = ["python cli.py train", f"--task {shlex.quote(cell.task)}", f"--method {cell.method}"]
    parts += [_option(name, value) for name, value in sorted(cell.hyperparameters.items())]
    plain = specify(cell.task, cell.method, cell.hyperparameters)
    if cell.seed:
        parts.append(f"--seed {cell.seed}")
    for name, value in asdict(cell.training).items():
        if value != getattr(plain.training, name):
            parts.append(f"--{name.replace('_', '-')} {value!r}")
    parts += [f"--{name.replace('_', '-')} {value}" for name, value in cell.reading.factors().items()]
    for name in ("model", "pretrained", "precision"):
        if getattr(cell, name) != getattr(plain, name):
            parts.append(f"--{name} {shlex.quote(getattr(cell, name).partition(DIGEST_MARK)[0])}")
    if unseal:
        parts.append("--unseal")
    return " ".join([*parts, f"--results {shlex.quote(results)}"])


def _option(name: str, value: float) -> str:
    """A hyperparameter on the command line: the two that every paper names have options of their own."""
    return f"--{name.replace('_', '-')} {value!r}" if name in ("lr", "kl_weight") else f"--set {name}={value!r}"
