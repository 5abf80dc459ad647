"""How far a sweep is, from any terminal."""

from __future__ import annotations

import shutil
import socket
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from carft.core.errors import duration
from carft_cli.answer import Answer, Rows, Shown, answering, bold, stacked
from carft_cli.options import ResultsPath, open_results, say_left_out

if TYPE_CHECKING:
    from carft.store.failures import Failure
    from carft.store.records import Store
    from carft.store.sweep_state import SweepState

#: running cells and failures that a person is shown
FEW = 12


@answering
def status(
    everything: Annotated[bool, typer.Option("--all", help="Every sweep that wrote here, not only the last.")] = False,
    results: ResultsPath = "results",
) -> Answer:
    """How far the sweeps in a results folder are: cells, rate, time left, failures with reasons, logs.

    Example: `python cli.py status`
    """
    from carft.store.failures import failures
    from carft.store.sweep_state import read_states

    store = open_results(results, "sweeps", "failures")
    states, finished = read_states(store), store.finished()
    say_left_out(store)
    if not states and not finished:
        store.require_present()
    shown = states
    if not everything:
        shown = [state for state in states if state.is_alive()] or states[-1:]
    failed: Rows = []
    for failure in failures(store):
        failed.append(_failure_row(failure, results))
    sweeps = []
    people: list[Shown] = []
    for state in shown:
        facts = state.model_dump(by_alias=True, exclude={"version"})
        lively = {"alive": state.is_alive(), "waits_for_disk": _waits(state, store)}
        sweeps.append({**facts, **lively, "cells_per_s": state.rate})
        people += _lines(state, results, lively["waits_for_disk"])
    if not shown:
        people.append(f"No sweep wrote its state to {results}. It holds {finished} finished cells.")
    if failed:
        people += [bold(f"\n{len(failed)} failures on record:"), *stacked(failed[:FEW], ("cell", "what"))]
    if len(failed) > FEW:
        people.append(f"and {len(failed) - FEW} more; all with --json")
    return Answer({"cells": finished, "sweeps": sweeps, "failures": failed}, people)


def _lines(state: SweepState, results: str, waits: bool) -> Iterator[Shown]:
    """How far a sweep is. waits: for room on the disk of its results."""
    alive, how = state.is_alive(), state.outcome or "is gone: it was killed; the same command goes on"
    if alive:
        how = "runs"
    yield bold(f"Sweep {state.recipe}, process {state.pid} on {state.host}: {how}.")
    if waits:
        yield bold(f"It waits for room on the disk of '{results}'. Nothing that is finished is lost.")
    counts = state.counts
    yield (
        f"{counts.done} of {counts.total} cells done ({counts.reused} found done), {counts.running} jobs running, "
        f"{counts.failed} failed, {counts.pruned} pruned, {counts.left} left; {60 * state.rate:.1f} cells a minute"
    )
    if alive:
        time_left = "not known" if state.left_s is None else duration(state.left_s)
        yield f"Time left: {time_left}, from {state.basis}"
    facts: dict[str, Any] = {
        "busy share on this machine": state.busy,
        "busy share, last five minutes": state.busy_lately,
        "share of training time that waited for images": state.data_wait,
        "GPU that is set aside": state.gpus_set_aside,
    }
    yield {name: value for name, value in facts.items() if value}
    yield [{"task": name, **task.model_dump()} for name, task in state.tasks.items()]
    if alive:
        rows: Rows = []
        for running in state.running[:FEW]:
            row = {"job": running.job, "task": running.task, "method": running.method}
            row["for"] = duration(time.time() - running.since)
            row["log"] = _log(results, f"{running.job}-{running.cell}")
            rows.append(row)
        yield from stacked(rows, ("job", "task", "method"))


def _waits(state: SweepState, store: Store) -> bool:
    """Whether a sweep on this machine waits for room on the disk of its results: it cannot write so there."""
    from sweeps.faults.storage import ROOM

    here = state.is_alive() and state.host == socket.gethostname()
    return here and shutil.disk_usage(store.root).free < ROOM


def _failure_row(failure: Failure, results: str) -> dict[str, Any]:
    what = failure.title
    if failure.job:
        what = f"{failure.job} of {what}"
    return {
        "cell": failure.cell,
        "what": what,
        "kind": failure.kind,
        "reason": failure.reason,
        "attempt": failure.attempt,
        "when": failure.when,
        "log": _log(results, failure.key),
    }


def _log(results: str, key: str) -> str:
    return f"{results}/logs/{key}.log"
