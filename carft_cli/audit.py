"""All sweeps of an audit, one after another, and their report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from carft.core.errors import duration
from carft_cli.console import counted, err, headed, out, print_json, rows_table, split, typed_again
from carft_cli.declare import OUTPUT, RUN, option, takes
from carft_cli.options import NoImages, OutputOptions, Private, RetryFailed, writable
from carft_cli.plan import slots_of
from carft_cli.report import ReportFolder, print_built
from carft_cli.sweep import Session, choose_workers
from carft_cli.sweep_settings import ClusterOptions

if TYPE_CHECKING:
    from carft.core.errors import UserError
    from carft.store.records import Store
    from sweeps.plan.forecast import Forecast
    from sweeps.ray_backend.connect import Resources
    from sweeps.recipes.audit import AuditSweep, Part


@dataclass(frozen=True, kw_only=True)
class AuditSettings(ClusterOptions, OutputOptions):
    """Everything that `audit` is asked for."""

    name: Annotated[str, typer.Argument(metavar="AUDIT", help="A shipped audit, or a YAML file.")] = "miniature"
    only: Annotated[str | None, option(RUN, "Comma-separated parts; default: all.", "--only")] = None
    smoke: Annotated[bool, option(RUN, "Every part at its smallest: to see that everything runs.", "--smoke")] = False
    retry_failed: RetryFailed = False
    out: ReportFolder = Path("report")
    no_images: NoImages = False
    private: Private = None
    dry_run: Annotated[bool, option(OUTPUT, "Print the plan, run nothing.", "--dry-run")] = False


@takes(AuditSettings)
def audit(settings: AuditSettings) -> None:
    """Run every sweep of an audit into one results folder, then write the report. Runs only what is missing.

    Exit code: 0 when everything is done, 1 when cells failed, 2 when refused, 130 after Ctrl-C, 143 after SIGTERM.

    Example: `python cli.py audit --smoke`
    """
    from carft.config.catalog import BUILT_IN
    from carft.store.failures import settled_failures
    from sweeps.plan.planning import plan_of
    from sweeps.recipes.audit import load_audit
    from sweeps.search.protocol import Protocol

    asked = load_audit(settings.name)
    sweeps = asked.sweeps(split(settings.only), settings.smoke)
    requests = [settings.resources(one.recipe) for one in sweeps]
    requests[0].check()
    _require_possible(sweeps, requests, settings.dry_run)
    store = writable(settings.results, BUILT_IN, [task for one in sweeps for task in one.recipe.tasks])
    slots, failed = slots_of(requests[0], []), settled_failures(store)
    planned = []
    for one, asked_of_ray in zip(sweeps, requests, strict=True):
        request = choose_workers(settings, asked_of_ray, one.recipe, store)
        forecast = plan_of(Protocol(one.recipe, store, failed_before=failed), request, slots).forecast
        planned.append((one, request, forecast))
    forecasts = [(one.part, forecast) for one, _, forecast in planned]  # parts that share cells each count them
    if settings.as_json and settings.dry_run:
        return print_json({"audit": asked.name, "parts": [_facts(one, forecast) for one, _, forecast in planned]})
    (err if settings.as_json else out).print(*_plan_lines(asked.question, forecasts), sep="\n")
    if settings.dry_run:
        out.print(f"Next: {typed_again('--dry-run')}", soft_wrap=True)
        return
    lost = [
        _run(one, f"Part {number} of {len(sweeps)}", store, request, settings)
        for number, (one, request, _) in enumerate(planned, 1)
    ]
    _report(store, settings, sum(lost))
    if any(lost):
        raise SystemExit(1)


def _require_possible(sweeps: list[AuditSweep], requests: list[Resources], dry_run: bool) -> None:
    """Refuse before the first part starts what any part misses; a dry run names it and goes on."""
    from sweeps.ray_backend.preflight import obstacles

    found: dict[str, UserError] = {}
    for one, request in zip(sweeps, requests, strict=True):
        found |= {refusal.message: refusal for refusal in obstacles(one.recipe, request, err.say)}
    if found and not dry_run:
        raise next(iter(found.values()))
    for refusal in found.values():
        err.say(headed("In the way:", f" {refusal.message}", "bold red"))


def _facts(sweep: AuditSweep, forecast: Forecast) -> dict[str, Any]:
    facts = {name: getattr(forecast, name) for name in ("wall_s", "low_s", "high_s", "basis")}
    names = {"part": sweep.part.name, "recipe": sweep.recipe.name}
    return {**names, "cells": forecast.total, "left": forecast.cells, **facts}


def _plan_lines(question: str, forecasts: list[tuple[Part, Forecast]]) -> list[Any]:
    """The question, one row a part, and the time of all of them."""
    rows = [
        {
            "part": part.name,
            "cells": forecast.total,
            "to run": forecast.cells,
            "time": duration(forecast.wall_s) if forecast.wall_s else "-",
            "answers": part.answers,
        }
        for part, forecast in forecasts
    ]
    low, middle, high = (sum(getattr(one, name) for _, one in forecasts) for name in ("low_s", "wall_s", "high_s"))
    bases = "; ".join(dict.fromkeys(forecast.basis for _, forecast in forecasts if forecast.cells))
    total = f"Time: about {duration(middle)} ({duration(low)} to {duration(high)}); from {bases}."
    return [headed(question, ""), rows_table(rows), total if middle else "Nothing is left to run."]


def _run(sweep: AuditSweep, title: str, store: Store, request: Resources, settings: AuditSettings) -> int:
    """Run a part; returns the number of its cells that failed. A signal ends the command."""
    from carft.store.failures import settled_failures
    from sweeps.search.protocol import Protocol

    name = f"{title}: {sweep.part.name}"
    failed = {} if settings.retry_failed else settled_failures(store)
    if Protocol(sweep.recipe, store, failed_before=failed).finished() and not failed:
        err.print(f"{name}: done before.", highlight=False)
        return 0
    err.print(headed(f"{name}.", f" {sweep.part.answers[0].upper()}{sweep.part.answers[1:]}."), highlight=False)
    session = Session(sweep.recipe, store, request)
    _, summary, _ = session.run(settings.retry_failed)
    err.say(
        f"{name}: {counted(summary.cells_done, 'cell')} done, {summary.cells_reused} found done, "
        f"{summary.cells_failed} failed, {duration(summary.wall_s)}."
    )
    if summary.stopped:
        err.print(f"Stopped. Finished cells are kept; go on: {typed_again('--dry-run')}", soft_wrap=True)
        raise SystemExit(128 + summary.stopped)
    return summary.cells_failed


def _report(store: Store, settings: AuditSettings, failed: int) -> None:
    from reports.build import build_report
    from reports.render.pictures import PictureOptions

    pictures = PictureOptions(not settings.no_images, split(settings.private) or (), settings.data)
    built = build_report(store, settings.out, pictures)
    if settings.as_json:
        return print_json({"cells_failed": failed, "verdicts": [v.as_json() for v in built.sources.verdicts]})
    print_built(built, settings.results)
    if failed:
        out.print(f"{counted(failed, 'cell')} failed. Why: {settings.results}/failures/", soft_wrap=True)
