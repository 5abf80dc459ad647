"""Many cells: sweep."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Annotated, NoReturn

from carft_cli.console import err, out, print_json, printing_to
from carft_cli.declare import OUTPUT, option, takes
from carft_cli.options import print_setting, writable
from carft_cli.plan import print_plan, time_line
from carft_cli.status import busy_line
from carft_cli.sweep_settings import SweepSettings

if TYPE_CHECKING:
    from carft.core.errors import UserError
    from carft.store.sweep_state import SweepState
    from sweeps.ray_backend.run import Summary
    from sweeps.search.protocol import Protocol


@dataclass(frozen=True)
class SweepCommand:
    """The settings of a sweep, and whether it runs."""

    sweep: SweepSettings
    dry_run: Annotated[bool, option(OUTPUT, "Print the plan, run nothing; as `plan` does.", "--dry-run")] = False


@takes(SweepCommand)
def sweep(command: SweepCommand) -> None:
    """Search, select on validation, confirm with fresh seeds, evaluate on the held-out sets. Runs only what is missing.

    Exit code: 0 when everything is done, 1 when cells failed, 2 when refused, 130 after Ctrl-C, 143 after SIGTERM.

    Example: `python cli.py sweep downstream --gpus 8`
    """
    if command.dry_run:
        print_plan(command.sweep)
        return
    run(command.sweep)


def run(settings: SweepSettings) -> None:
    """Run what the records say is missing; ``SystemExit`` with the exit code of the command when it is not 0."""
    chosen, request, results = settings.chosen_recipe(), settings.resources(), settings.output.results
    request.check()
    store = writable(results)
    from carft.spec.resolve import specify

    first = specify(chosen.tasks[0], "zeroshot", {}, model=chosen.model, pretrained=chosen.pretrained)
    print_setting(chosen.tasks, first.model, first.pretrained, settings.data.data)

    from sweeps.faults.restart import Earlier, start_again, taken_up
    from sweeps.faults.stdio_log import printing_aside
    from sweeps.plan.forecast import Forecast
    from sweeps.plan.planning import plan_of, write_plan_result
    from sweeps.ray_backend.connect import concurrency
    from sweeps.ray_backend.head_monitor import exit_process
    from sweeps.ray_backend.preflight import require_space
    from sweeps.ray_backend.run import run_sweep
    from sweeps.status.progress import ProgressDisplay
    from sweeps.status.writer import StatusWriter

    environment, earlier = dict(os.environ), taken_up()
    board, reporter, plans = ProgressDisplay(err), StatusWriter(store, chosen.name, earlier.began), []

    def watch(protocol: Protocol) -> Callable[[], None]:
        plans.append(plan_of(protocol, request, concurrency(request)))
        require_space(store.root, plans[0].forecast.bytes)
        err.print(f"{plans[0].forecast.cells} cells to run. {time_line(plans[0].forecast)}", soft_wrap=True)
        shown, kept = board.watch(protocol), reporter.watch(protocol)
        if reporter.dashboard:
            err.print(f"Ray's dashboard: {reporter.dashboard}", soft_wrap=True)

        def update() -> None:
            with suppress(OSError):  # what is printed may go to a file on a disk that is full
                shown()
            kept()

        return update

    def say(words: str) -> None:
        with suppress(OSError):
            err.print(words, soft_wrap=True, markup=False, highlight=False)

    def leave(refusal: UserError, code: int) -> NoReturn:
        board.close()
        reporter.close("broken" if code == 2 else "stopped")
        aside.turn_back()
        exit_process(refusal, code)

    def again(earlier: Earlier) -> NoReturn:
        board.close()
        aside.turn_back()
        forecast = earlier.forecast or asdict(plans[0].forecast)
        start_again(replace(earlier, forecast=forecast), environment)

    outcome = "broken"
    with printing_aside(store.root / "sweeps" / f"{reporter.name}.log") as aside, printing_to(aside.people):
        try:
            protocol, summary = run_sweep(
                chosen, store, request, watch, say, settings.run.retry_failed, leave, earlier, again
            )
            outcome = "stopped" if summary.stopped else "done"
        finally:
            board.close()
            state = reporter.close(outcome)
    if plans and earlier.forecast is not None:
        plans[0] = replace(plans[0], forecast=Forecast.of(earlier.forecast))
    came = None
    if plans and state is not None:
        over = summary.cells_done + summary.cells_stopped - plans[0].forecast.stopped
        came = plans[0].result(chosen.name, over, summary.cells_failed, summary.wall_s, outcome)
        write_plan_result(store, state.name, came)
    if settings.output.as_json:
        counts = ("cells_done", "cells_failed", "cells_reused", "cells_stopped", "wall_s")
        plan = None if came is None else came.model_dump(exclude={"version"})
        print_json({**{name: getattr(summary, name) for name in counts}, "failed": protocol.failed, "plan": plan})
    else:
        _say_outcome(protocol, summary, results, state)
        if came is not None:
            out.print(f"Plan: {came.summary}.", soft_wrap=True, highlight=False)
    if summary.stopped:
        raise SystemExit(128 + summary.stopped)
    if summary.cells_failed:
        raise SystemExit(1)


def _say_outcome(protocol: Protocol, summary: Summary, results: str, state: SweepState | None) -> None:
    """What a sweep came to, for people: winners, counts, what failed and why, and what to do next."""
    from carft.store.failure_kinds import PASSING
    from carft.store.failures import failures
    from sweeps.status.progress import winners_table

    given_up = f"{summary.cells_stopped} stopped early, " if summary.cells_stopped else ""
    out.print(winners_table(protocol))
    out.print(
        f"{summary.cells_done} cells done, {summary.cells_reused} found done, {summary.cells_failed} failed, {given_up}"
        f"{summary.wall_s:.0f} s. Records: {results}",
        soft_wrap=True,
    )
    if state is not None and state.busy:
        out.print(busy_line(state.busy), highlight=False)
    known = {failure.key: failure for failure in failures(protocol.store)}
    for key, reason in protocol.failed.items():
        said = f"{known[key].title}: {known[key].kind}: " if key in known else ""
        out.print(f"failed: {key}: {said}{reason}", soft_wrap=True, markup=False, highlight=False)
    for study in protocol.studies:
        if too_few := protocol.too_few(study):
            out.print(f"no winner: {study.method.name} on {study.task}: {too_few}", soft_wrap=True, highlight=False)
    if summary.stopped:
        out.print("Stopped. Finished cells are kept; the same command goes on where it stopped.")
    again = shlex.join(["python", "cli.py", *sys.argv[1:]])
    if any(key in known and known[key].kind not in PASSING for key in protocol.failed):
        out.print("The same command does not run failed cells again; with --retry-failed it does.", soft_wrap=True)
        again = again if "--retry-failed" in sys.argv else f"{again} --retry-failed"
    nothing_left = not (summary.stopped or summary.cells_failed)
    if protocol.failed:
        out.print(f"Why, with the ends of their logs: {results}/failures/; logs: {results}/logs/", soft_wrap=True)
    if state is not None:
        out.print(f"Curves and studies: python cli.py results events --results {shlex.quote(results)}", soft_wrap=True)
    following = f"python cli.py report --results {shlex.quote(results)}" if nothing_left else again
    out.print(f"Next: {following}", soft_wrap=True)
