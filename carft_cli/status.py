"""How far a sweep is, from any terminal."""

from __future__ import annotations

import shutil
import socket
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from carft.core.errors import duration, size_words
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
    for state in shown:
        facts = state.model_dump(by_alias=True, exclude={"version"})
        lively = {"alive": state.is_alive(), "waits_for_disk": bool(_waiting(state, store))}
        sweeps.append({**facts, **lively, "cells_per_s": state.rate})
    people: list[Shown] = []
    if not shown:
        people.append(f"No sweep wrote its state to {results}. It holds {finished} finished cells.")
    for state in shown:
        people += [*_lines(state, results), Text(_waiting(state, store), "bold yellow")]
    if failed:
        people += [bold(f"\n{len(failed)} failures on record:"), *stacked(failed[:FEW], ("cell", "what"))]
    if len(failed) > FEW:
        people.append(f"and {len(failed) - FEW} more; all with --json")
    return Answer({"cells": finished, "sweeps": sweeps, "failures": failed}, people)


def _lines(state: SweepState, results: str) -> Iterator[Shown]:
    """How far a sweep is."""
    counts = state.counts
    how = state.outcome or "is gone: it was killed; the same command goes on"
    if state.is_alive():
        how = "runs"
    many = search_words(state.searches, state.selection)
    yield bold(f"Sweep {state.recipe}{many}, process {state.pid} on {state.host}: {how}.")
    yield (
        f"{counts.done} of {counts.total} cells done ({counts.reused} found done), {counts.running} jobs running, "
        f"{counts.failed} failed, {counts.pruned} pruned, {counts.left} left; {60 * state.rate:.1f} cells a minute"
    )
    if state.is_alive():
        time_left = "not known" if state.left_s is None else duration(state.left_s)
        yield f"Time left: {time_left}, from {state.basis}"
    if state.busy:
        yield busy_line(state.busy)
    if state.busy_lately and state.is_alive():
        yield f"In the last five minutes: {busy_line(state.busy_lately)}"
    if state.is_alive():
        yield from node_lines(state.busy_nodes)
    if state.data_wait is not None:
        yield f"Trainings waited for images {100 * state.data_wait:.0f} % of their time."
    for gpu, ratio in state.gpus_slow.items():
        yield f"{gpu} takes {ratio:.2f} times as long as the others for alike jobs: see nvidia-smi -q."
    for gpu, reason in state.gpus_set_aside.items():
        yield f"{gpu} is set aside: {reason}"
    yield [{"task": name, **task.model_dump()} for name, task in state.tasks.items()]
    if state.is_alive():
        rows: Rows = []
        for running in state.running[:FEW]:
            row = {"job": running.job, "task": running.task, "method": running.method}
            row["for"] = duration(time.time() - running.since)
            row["log"] = _log(results, f"{running.job}-{running.cell}")
            rows.append(row)
        yield from stacked(rows, ("job", "task", "method"))


def _waiting(state: SweepState, store: Store) -> str:
    """That a running sweep waits for room on the disk of its results, in a sentence; empty for any other.

    The state itself cannot say so: it is a file on that disk.
    """
    from sweeps.faults.storage import LIMIT_S, ROOM

    free = shutil.disk_usage(store.root).free
    if not state.is_alive() or state.host != socket.gethostname() or free >= ROOM:
        return ""
    return (
        f"It waits for the disk of '{store.name}', where {size_words(free)} are free: up to {duration(LIMIT_S)} for "
        f"{size_words(ROOM)}. Nothing that is finished is lost."
    )


def search_words(searches: int, selection: str) -> str:
    """How many searches each question has and how they select, to be added to a sentence."""
    words = ""
    if searches > 1:
        words += f", {searches} searches of every method on every task"
    if selection == "shared":
        words += ", one setting for the tasks of a family"
    return words


def busy_line(busy: Any) -> str:
    """How busy the machine of the driver was, in words."""
    return f"This machine: {_shares(busy)}"


def node_lines(nodes: Mapping[str, Mapping[str, float]]) -> list[str]:
    """How busy the GPUs of other nodes were, a line for each of the :data:`FEW` that have the least busy one."""
    lines = []
    of_nodes = [(node, shares) for node, shares in nodes.items() if shares]
    of_nodes.sort(key=lambda of_node: min(of_node[1].values()))
    for node, shares in of_nodes[:FEW]:
        lines.append(f"{node}: {_shares(shares)}")
    if len(of_nodes) > FEW:
        lines.append(f"and {len(of_nodes) - FEW} more nodes; all with --json")
    return lines


def _shares(busy: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {100 * share:.0f} % busy" for name, share in busy.items())


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
