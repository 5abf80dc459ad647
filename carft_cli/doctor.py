"""Before time is paid for: what this machine is, and whether a sweep would run on it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated

import typer

from carft.core.errors import UserError
from carft_cli.console import err, headed, out, print_json
from carft_cli.declare import OUTPUT, option, takes
from carft_cli.plan import time_line
from carft_cli.sweep_settings import SweepSettings


@dataclass(frozen=True, kw_only=True)
class DoctorSettings(SweepSettings):
    """The settings of a sweep on this machine, and the price of a GPU."""

    recipe: Annotated[
        str, typer.Argument(metavar="[RECIPE]", help="The recipe that will run; without data its miniature.")
    ] = "downstream"
    price_per_gpu_hour: Annotated[
        float | None, option(OUTPUT, "Price of a GPU for an hour, in any currency: also print the cost.", min=0)
    ] = None


@takes(DoctorSettings)
def doctor(settings: DoctorSettings) -> None:
    """Look at this machine before a sweep: GPUs, cores, disks, limits, data, one measured step; then the forecast.

    Writes no record, and takes one to three minutes. Exit code 2 when something would stop the sweep. On a cluster run
    it on every node.

    Example: `python cli.py doctor ood --data ROOT --gpus 8 --price-per-gpu-hour 2.5`
    """
    price = settings.price_per_gpu_hour
    if price is not None and not settings.cluster.get("gpus"):
        raise UserError("--price-per-gpu-hour is for a sweep on GPUs, and --gpus asks for none.", "Give --gpus N too.")
    chosen = settings.chosen_recipe()
    request = settings.resources(chosen)
    if request.address is not None:
        raise UserError("doctor looks at this machine alone.", "Run it on every node, without --address.")

    from carft.store.failures import settled_failures
    from carft.store.mirror import open_store
    from sweeps.doctor.checks import examine
    from sweeps.doctor.subject import Subject
    from sweeps.search.protocol import Protocol

    store = open_store(settings.results, writable=True, catalog=chosen.catalog)
    protocol = Protocol(chosen, store, {} if settings.retry_failed else settled_failures(store))
    subject = Subject(chosen, settings.choose_workers(request, protocol), protocol, err.say)
    checks = []
    for check in examine(subject):
        checks.append(check)
        if not settings.as_json:
            kind, style = ("Obstacle", "bold red") if check.stops else ("Slower", "yellow")
            line = f" {check.name}: {check.measured.removesuffix('.')}."
            out.say(headed("OK:", line, "green") if check.ok else headed(f"{kind}:", f"{line} {check.remedy}", style))
    plan = subject.plan
    cost = None
    if price is not None:
        cost = {"busy": plan.device_hours * price, "reserved": request.gpus * plan.forecast.wall_s / 3600 * price}
    if settings.as_json:
        forecast = {name: getattr(plan.forecast, name) for name in ("wall_s", "low_s", "high_s", "basis", "estimate")}
        print_json({"checks": [{**asdict(one), "ok": one.ok} for one in checks], "forecast": forecast, "cost": cost})
    else:
        out.say(time_line(plan.forecast))
        if cost is not None:
            busy, reserved = f"{cost['busy']:,.2f} for busy GPUs", f"{cost['reserved']:,.2f} with all of them"
            out.say(f"Cost: {busy}, {reserved} from start to end.")
    if any(check.stops for check in checks):
        raise SystemExit(2)
