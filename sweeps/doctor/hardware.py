"""Checks of the machine: driver, cards, what GPUs exchange, memory, limits of the system."""

import multiprocessing
import resource
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from itertools import combinations, zip_longest
from multiprocessing.synchronize import Barrier
from typing import Any

import pandas as pd
import psutil
import torch
import torch.distributed as dist
import torch.multiprocessing

from carft.core.errors import UserError
from carft.core.machine import memory_limit
from carft.training import device
from sweeps.doctor.subject import Measurement, Subject
from sweeps.ray_backend.connect import require_gpus

#: seconds that work in processes may take, their start included
LIMIT_S = 300.0
#: side of the bfloat16 matrices of a product, and products that load a card for one to two seconds
SIDE, PRODUCTS = 8192, 1000
#: limit of a card's power and the usual one, in watts
POWER = ("power.limit", "power.default_limit")
#: what nvidia-smi is asked of each card after its UUID: clocks in MHz, power, MiB in use, errors since the driver began
FIELDS = ("clocks.sm", "clocks.max.sm", *POWER, "memory.used", "ecc.errors.uncorrected.volatile.total")
#: the mask of reasons for a lower clock, by its name since driver 535 and before
SLOWED = ("clocks_event_reasons.active", "clocks_throttle_reasons.active")
#: bits of that mask: hardware slowdown, heat (by software, by hardware), power brake (NVML's nvmlClocksEventReasons)
REASONS = 0x8 | 0x20 | 0x40 | 0x80
#: share of the fastest card's speed below which a card is slow
SLOW = 0.85
#: share of the fastest pair's speed below which a pair of GPUs is slow
SLOW_PAIR = 0.25
#: MiB that this check itself may use of a card
OWN_MIB = 2048
#: numbers of float32 that workers exchange on GPUs and on a CPU, and how often
NUMBERS, NUMBERS_CPU, ROUNDS = 2**26, 2**22, 10
#: seconds that a collective operation may take
COLLECTIVE_S = 60
SHARED = "/dev/shm"
#: bytes of shared memory that NCCL's documentation advises for a container
SHARED_BYTES = 2**30
#: open files below which Ray warns, and what it recommends
OPEN_FILES, MANY_OPEN_FILES = 4096, 8192


def driver(subject: Subject) -> Measurement:
    """Check that torch sees the GPUs that nvidia-smi lists."""
    require_gpus(subject.request.gpus)
    drivers = device.nvidia_smi("driver_version")  # of each GPU
    listed = f"driver {drivers[0].strip()} with {len(drivers)} GPUs" if drivers else "no driver of NVIDIA"
    measured = f"torch {torch.__version__} for CUDA {torch.version.cuda or 'none'}; {listed}"
    unused = f"A sweep like this runs on the CPU; for GPUs give --gpus {len(drivers)}." if drivers else ""
    return Measurement(measured, "" if subject.request.gpus else unused)


def cards(subject: Subject) -> Measurement:
    """Check that all cards compute equally fast, without errors, heat or other users."""
    if not subject.gpus:
        return Measurement("no GPU")
    subject.log("Loading the GPUs for a few seconds ...")
    try:
        speeds, lines, slowed = under_load(subject.gpus)
    except RuntimeError as error:  # of CUDA
        raise UserError(
            f"A GPU does not compute: {str(error).splitlines()[0]}.", "Look at nvidia-smi and the kernel's log."
        ) from error
    return judged(cards_of(lines, slowed, speeds))


def under_load(gpus: int) -> tuple[dict[str, float], list[str], list[str]]:
    """Multiply matrices on all GPUs at once; returns UUID -> TFLOP/s, and nvidia-smi's lines meanwhile.

    The lines are those of UUID and :data:`FIELDS`, and of :data:`SLOWED`.
    """
    device.use_repeatable_cublas()
    timers = []
    for number in range(gpus):
        with torch.cuda.device(number):
            ones = torch.ones(SIDE, SIDE, dtype=torch.bfloat16, device="cuda")
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            torch.mm(ones, ones)  # the first product also loads the library
            begin.record()
            for _ in range(PRODUCTS):
                torch.mm(ones, ones)
            end.record()
            timers.append((begin, end))
    lines = device.nvidia_smi(",".join(("uuid", *FIELDS)))
    slowed = next(filter(None, map(device.nvidia_smi, SLOWED)), [])
    speeds = {}
    for number, (begin, end) in enumerate(timers):
        end.synchronize()
        speeds[device.gpu_name(number)] = 2e-9 * SIDE**3 * PRODUCTS / begin.elapsed_time(end)
    return speeds, lines, slowed


def cards_of(lines: Sequence[str], slowed: Sequence[str], speeds: Mapping[str, float]) -> pd.DataFrame:
    """One row for each card in use, by UUID, of what :func:`under_load` returns.

    Columns: those of :data:`FIELDS`, NaN where nvidia-smi says [N/A] or ERR!; ``reasons``, a mask; ``tflops``.
    """
    rows = {}
    for line, mask in zip_longest(lines, slowed, fillvalue=""):
        uuid, *values = (text.strip() for text in line.split(","))
        if uuid in speeds:
            rows[uuid] = [*values, int(mask, 16) if mask.strip().startswith("0x") else 0, speeds[uuid]]
    table = pd.DataFrame.from_dict(rows, orient="index", columns=[*FIELDS, "reasons", "tflops"])
    return table.apply(pd.to_numeric, errors="coerce")


def judged(table: pd.DataFrame) -> Measurement:
    """The check of the cards of :func:`cards_of`."""
    if table.empty:
        return Measurement("nvidia-smi does not tell the state of the GPUs")
    speeds, clocks = table["tflops"], table["clocks.sm"]
    measured = (
        f"{len(table)} cards, {speeds.min():.0f} to {speeds.max():.0f} TFLOP/s in bfloat16 products, "
        f"{clocks.min():.0f} to {clocks.max():.0f} MHz of {table['clocks.max.sm'].max():.0f}"
    )
    wrong = [
        f"{uuid}: {', '.join(words)}" for uuid, card in table.iterrows() if (words := _problems(card, speeds.max()))
    ]
    advice = "See 'nvidia-smi -q'; reset the card, leave it out with CUDA_VISIBLE_DEVICES, or ask for another machine."
    return Measurement("; ".join([measured, *wrong]), advice if wrong else "")


def _problems(card: pd.Series, fastest: float) -> list[str]:
    """What is wrong with a card, in words. fastest: ``tflops`` of the fastest card."""
    errors, limit, usual = (card[name] for name in ("ecc.errors.uncorrected.volatile.total", *POWER))
    problems = {
        f"{errors:.0f} uncorrected errors of memory": errors > 0,
        "slowed down by heat or by its supply of power": int(card["reasons"]) & REASONS,
        f"limited to {limit:.0f} W of {usual:.0f} W": limit < usual,
        f"{card['memory.used']:.0f} MiB of its memory in use, by another process too": card["memory.used"] > OWN_MIB,
        f"{1 - card['tflops'] / fastest:.0%} slower than the fastest": card["tflops"] < SLOW * fastest,
    }
    return [words for words, is_wrong in problems.items() if is_wrong]


def exchange(subject: Subject) -> Measurement:
    """Check that GPUs exchange numbers, all of them and each pair; on a CPU two processes do."""
    on_gpus = subject.request.gpus > 0
    count = subject.gpus if on_gpus else 2
    if count < 2:
        return Measurement("one GPU exchanges nothing" if count else "no GPU")
    try:
        speeds = in_processes(all_reduce_speeds, count, on_gpus)[0]
    except UserError as error:
        hint = "NCCL_DEBUG=INFO says more; usual causes are shared memory, the network interface and the driver."
        if subject.request.execution.workers > 1:
            raise UserError(error.message, hint) from error
        return Measurement(f"{error.message} Cells of one worker run", hint)
    fastest = max(speeds, key=speeds.__getitem__)
    slowest = min(speeds, key=speeds.__getitem__)
    measured = (
        f"{'NCCL' if on_gpus else 'gloo'} among {count} workers: {speeds[slowest] / 1e9:.3g} GB/s ({slowest}) to "
        f"{speeds[fastest] / 1e9:.3g} GB/s ({fastest})"
    )
    slow = "Workers of a cell wait for the slowest pair; see 'nvidia-smi topo -m'."
    return Measurement(measured, slow if speeds[slowest] < SLOW_PAIR * speeds[fastest] else "")


def all_reduce_speeds(rank: int, count: int, folder: str, on_gpus: bool) -> dict[str, float]:
    """Bytes per second that a worker sends in an all-reduce, by group: all workers, and each pair."""
    place = torch.device("cuda", rank) if on_gpus else torch.device("cpu")
    if on_gpus:
        torch.cuda.set_device(place)
    dist.init_process_group(
        "nccl" if on_gpus else "gloo",
        init_method=f"file://{folder}/rendezvous",
        rank=rank,
        world_size=count,
        timeout=timedelta(seconds=COLLECTIVE_S),
    )
    numbers = torch.empty(NUMBERS if on_gpus else NUMBERS_CPU, device=place)
    groups = {"all": tuple(range(count)), **{f"{a} and {b}": (a, b) for a, b in combinations(range(count), 2)}}
    seconds = torch.zeros(len(groups), device=place)
    for number, members in enumerate(groups.values()):
        group = dist.new_group(list(members))
        dist.barrier()
        if rank not in members:
            continue
        numbers.fill_(1)
        dist.all_reduce(numbers, group=group)  # the first one also connects the workers
        if float(numbers[-1]) != len(members):
            raise RuntimeError(f"the workers {members} add ones to {float(numbers[-1])}")
        started = time.perf_counter()
        for _ in range(ROUNDS):
            dist.all_reduce(numbers, group=group)
        float(numbers[-1])  # waits for the GPU
        seconds[number] = (time.perf_counter() - started) / ROUNDS
    dist.all_reduce(seconds, dist.ReduceOp.MAX)
    dist.destroy_process_group()
    shares = {name: 2 * (len(members) - 1) / len(members) for name, members in groups.items()}
    return {name: shares[name] * numbers.nbytes / s for name, s in zip(groups, seconds.tolist(), strict=True)}


def host_memory(subject: Subject) -> Measurement:
    """Check that the processes of all cells fit into the memory of the host, or of the container."""
    needed = subject.plan.needs.memory_per_device * (subject.request.gpus or 1)
    free = min(psutil.virtual_memory().available, memory_limit())
    measured = f"{free / 2**30:.1f} GiB available, about {needed / 2**30:.1f} GiB wanted"
    return Measurement(measured, "Use fewer GPUs, or a machine with more memory." if free < needed else "")


def shared_memory(subject: Subject) -> Measurement:
    """Check that shared memory suffices for Ray, and for the workers of a cell."""
    size = shutil.disk_usage(SHARED).total
    measured, remedy = f"{SHARED} has {size / 2**20:,.0f} MiB", "Start the container with --shm-size=8g."
    if size >= SHARED_BYTES:
        return Measurement(measured)
    if subject.request.gpus and subject.request.execution.workers > 1:
        raise UserError(f"{measured}, with which NCCL fails between the workers of a cell.", remedy)
    return Measurement(f"{measured}, so that Ray uses a slow disk", remedy)


def open_files(subject: Subject) -> Measurement:
    """Check that Ray may open enough files; it raises the soft limit itself."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most == resource.RLIM_INFINITY:
        return Measurement("no limit")
    remedy = f"Raise the limit to {MANY_OPEN_FILES}, with ulimit -n or as an option of the container."
    return Measurement(f"at most {most:,}", remedy if most < OPEN_FILES else "")


def in_processes(work: Callable[..., Any], count: int, *given: object) -> list[Any]:
    """Return what ``work(rank, count, folder, *given)`` returns in each process, in order of ranks.

    folder: an empty one that the processes share. None works before all have started. They end when this process does.
    They are forks of one process, which imports torch once for all. Raises ``UserError`` when one fails or is killed,
    or they take too long.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    started, results = context.Barrier(count), context.SimpleQueue()
    with tempfile.TemporaryDirectory(prefix="carft-doctor-") as folder:
        arguments = (started, results, work, count, folder, *given)
        running = torch.multiprocessing.start_processes(
            _run, arguments, nprocs=count, join=False, start_method="forkserver"
        )
        end = time.monotonic() + LIMIT_S
        try:
            while not running.join(timeout=1.0):
                if time.monotonic() > end:
                    raise UserError(f"{count} processes did not end within {LIMIT_S:.0f} s.")
        except (torch.multiprocessing.ProcessRaisedException, torch.multiprocessing.ProcessExitedException) as error:
            reason = str(error).strip().splitlines()[-1].removesuffix(".")
            raise UserError(f"A process failed: {reason}.") from error
        finally:
            for process in running.processes:
                process.kill()
        by_rank = dict(results.get() for _ in range(count))
        return [by_rank[rank] for rank in range(count)]


def _run(rank: int, started: Barrier, results: Any, work: Callable[..., Any], count: int, *given: object) -> None:
    started.wait()
    results.put((rank, work(rank, count, *given)))
