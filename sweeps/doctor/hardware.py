"""Checks of the machine: driver, cards, what GPUs exchange, memory, limits of the system."""

import multiprocessing
import re
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

from carft.core.errors import UserError, size_words
from carft.core.machine import memory_limit
from carft.training import device
from sweeps.doctor.subject import Measurement, Subject
from sweeps.ray_backend.connect import require_gpus

#: seconds that work in processes may take, their start included
LIMIT_S = 300.0
#: side of the bfloat16 matrices of a product, and products that load a card for one to two seconds
SIDE, PRODUCTS = 8192, 1000
#: what nvidia-smi is asked of each card after its UUID: clocks in MHz, limits of power in watts, MiB in use, errors
#: since the driver began
FIELDS = (
    *("clocks.sm", "clocks.max.sm", "power.limit", "power.default_limit"),
    *("memory.used", "ecc.errors.uncorrected.volatile.total"),
)
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
    measured = f"torch {torch.__version__} for CUDA {torch.version.cuda or 'none'}"
    if not drivers:
        return Measurement(f"{measured}; no driver of NVIDIA")
    measured = f"{measured}; driver {drivers[0].strip()} with {len(drivers)} GPUs"
    if subject.request.gpus:
        return Measurement(measured)
    return Measurement(measured, f"A sweep like this runs on the CPU; for GPUs give --gpus {len(drivers)}.")


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
            begin = torch.cuda.Event(enable_timing=True)
            end = torch.cuda.Event(enable_timing=True)
            torch.mm(ones, ones)  # the first product also loads the library
            begin.record()
            for _ in range(PRODUCTS):
                torch.mm(ones, ones)
            end.record()
            timers.append((begin, end))
    lines = device.nvidia_smi(",".join(("uuid", *FIELDS)))
    slowed: list[str] = []
    for name in SLOWED:
        slowed = slowed or device.nvidia_smi(name)
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
        uuid, *values = re.split(r"\s*,\s*", line.strip())
        if uuid in speeds:
            reasons = int(mask, 16) if mask.strip().startswith("0x") else 0
            rows[uuid] = [*values, reasons, speeds[uuid]]
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
    findings = [measured]
    for uuid, card in table.iterrows():
        problems = _problems(card, speeds.max())
        if problems:
            findings.append(f"{uuid}: {', '.join(problems)}")
    if findings == [measured]:
        return Measurement(measured)
    advice = "See 'nvidia-smi -q'; reset the card, leave it out with CUDA_VISIBLE_DEVICES, or ask for another machine."
    return Measurement("; ".join(findings), advice)


def _problems(card: pd.Series, fastest: float) -> list[str]:
    """What is wrong with a card, in words. fastest: ``tflops`` of the fastest card. NaN is no problem."""
    problems = []
    errors = card["ecc.errors.uncorrected.volatile.total"]
    if errors > 0:
        problems.append(f"{errors:.0f} uncorrected errors of memory")
    if int(card["reasons"]) & REASONS:
        problems.append("slowed down by heat or by its supply of power")
    limit, usual = card["power.limit"], card["power.default_limit"]
    if limit < usual:
        problems.append(f"limited to {limit:.0f} W of {usual:.0f} W")
    if card["memory.used"] > OWN_MIB:
        problems.append(f"{card['memory.used']:.0f} MiB of its memory in use, by another process too")
    if card["tflops"] < SLOW * fastest:
        problems.append(f"{1 - card['tflops'] / fastest:.0%} slower than the fastest")
    return problems


def exchange(subject: Subject) -> Measurement:
    """Check that GPUs exchange numbers, all of them and each pair; on a CPU two processes do."""
    on_gpus = subject.request.gpus > 0
    count = subject.gpus if on_gpus else 2
    if count == 0:
        return Measurement("no GPU")
    if count == 1:
        return Measurement("one GPU exchanges nothing")
    try:
        speeds = in_processes(all_reduce_speeds, count, on_gpus)[0]
    except UserError as error:
        hint = "NCCL_DEBUG=INFO says more; usual causes are shared memory, the network interface and the driver."
        if subject.request.execution.workers > 1:
            raise UserError(error.message, hint) from error
        return Measurement(f"{error.message} Cells of one worker run", hint)
    fastest = max(speeds, key=speeds.__getitem__)
    slowest = min(speeds, key=speeds.__getitem__)
    library = "NCCL" if on_gpus else "gloo"
    measured = (
        f"{library} among {count} workers: {speeds[slowest] / 1e9:.3g} GB/s ({slowest}) to "
        f"{speeds[fastest] / 1e9:.3g} GB/s ({fastest})"
    )
    if speeds[slowest] >= SLOW_PAIR * speeds[fastest]:
        return Measurement(measured)
    return Measurement(measured, "Workers of a cell wait for the slowest pair; see 'nvidia-smi topo -m'.")


def all_reduce_speeds(rank: int, count: int, folder: str, on_gpus: bool) -> dict[str, float]:
    """Bytes per second that a worker sends in an all-reduce, by group: all workers, and each pair."""
    if on_gpus:
        backend, place, length = "nccl", torch.device("cuda", rank), NUMBERS
        torch.cuda.set_device(place)
    else:
        backend, place, length = "gloo", torch.device("cpu"), NUMBERS_CPU
    dist.init_process_group(
        backend,
        init_method=f"file://{folder}/rendezvous",
        rank=rank,
        world_size=count,
        timeout=timedelta(seconds=COLLECTIVE_S),
    )
    numbers = torch.empty(length, device=place)
    groups = {"all": tuple(range(count))}
    for pair in combinations(range(count), 2):
        groups[f"{pair[0]} and {pair[1]}"] = pair
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
    speeds = {}
    for (name, members), took in zip(groups.items(), seconds.tolist(), strict=True):
        sent = 2 * (len(members) - 1) / len(members) * numbers.nbytes
        speeds[name] = sent / took
    return speeds


def host_memory(subject: Subject) -> Measurement:
    """Check that the processes of all cells fit into the memory of the host, or of the container."""
    needed = subject.plan.needs.memory_per_device * (subject.request.gpus or 1)
    free = min(psutil.virtual_memory().available, memory_limit())
    measured = f"{size_words(free)} available, about {size_words(needed)} wanted"
    if free >= needed:
        return Measurement(measured)
    return Measurement(measured, "Use fewer GPUs, or a machine with more memory.")


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
    measured = f"at most {most:,}"
    if most >= OPEN_FILES:
        return Measurement(measured)
    return Measurement(
        measured, f"Raise the limit to {MANY_OPEN_FILES}, with ulimit -n or as an option of the container."
    )


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
