"""What `sweep` and `plan` are asked for: the same options, the same recipe, the same request."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from carft.core.errors import UserError
from carft_cli.console import split
from carft_cli.options import execution_settings, weights, with_domains

if TYPE_CHECKING:
    from sweeps.ray_backend.connect import Resources
    from sweeps.recipes import Recipe


def ask(
    *,
    recipe: str,
    tasks: str | None,
    methods: str | None,
    trials: int | None,
    seeds: int | None,
    searches: int | None,
    model: str | None,
    pretrained: str | None,
    activation: str | None,
    random_weights: bool,
    precision: str | None,
    gpus: int,
    workers_per_cell: int,
    cells_per_gpu: int,
    address: str | None,
    accumulation: int,
    compile_: bool,
    checkpoint_every: int,
    data: Path | None,
    skip_unreadable: bool,
    feature_cache: str,
    feature_dtype: str,
    id_domains: str | None,
    ood_domains: str | None,
    leave_one_out: bool,
    oracle: bool,
    early_stopping: bool | None,
    hang_after: float,
    smoke: bool,
    **_: object,
) -> tuple[Recipe, Resources]:
    """The recipe as the command line changes it, and what is asked of Ray; ``UserError`` for what cannot be meant."""
    from sweeps.ray_backend.connect import Resources
    from sweeps.recipes import load_recipe

    chosen = load_recipe(recipe)
    named = split(tasks)
    own = any(task.startswith("folder:") for task in named or [])
    if data is None and chosen.without_data and not own:
        chosen = load_recipe(chosen.without_data)
    if leave_one_out:
        if id_domains or ood_domains:
            raise UserError("--leave-one-out chooses the domains itself.", "Leave --id-domains and --ood-domains out.")
        named = _held_out(named)
    elif named:
        named = [with_domains(task, id_domains, ood_domains) for task in named]
    model, pretrained = weights(model, pretrained, activation, random_weights)
    other = {
        "model": model,
        "pretrained": pretrained,
        "precision": precision,
        "oracle": oracle or None,
        "early_stopping": early_stopping,
    }
    chosen = chosen.smoked() if smoke else chosen
    chosen = chosen.changed(named, split(methods), trials, seeds, searches, **other)
    kept = (feature_cache, feature_dtype, cells_per_gpu)
    settings = execution_settings(accumulation, compile_, checkpoint_every, data, skip_unreadable, *kept)
    request = Resources(gpus, workers_per_cell, address, settings, hang_after)
    request.check_numbers()
    return chosen, request


def _held_out(tasks: list[str] | None) -> list[str]:
    """One task per domain of every folder, that domain held out."""
    from carft.data.folder.cards import leave_one_out
    from carft.data.folder.naming import is_folder, parse

    if not tasks or not all(map(is_folder, tasks)):
        raise UserError("--leave-one-out is for --tasks folder:PATH.", "DomainBed has a recipe: sweep domainbed")
    return [held_out for task in tasks for held_out in leave_one_out(parse(task).path)]
