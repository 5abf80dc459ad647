"""All checks in their order, and those of what a sweep works with: data, disks, one measured step, decoding."""

import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import numpy as np
import torch
from PIL import Image

from carft.config.settings import Training
from carft.core.errors import UserError, size_words
from carft.core.machine import cores
from carft.data.decoding import set_decoders
from carft.data.image_files import Files
from carft.data.shards import forget_cached, image_status, read_image_file
from carft.data.views import batches
from carft.training.preemption import GRACE_S
from carft.training.schedule import train_view
from sweeps.doctor.hardware import cards, driver, exchange, host_memory, in_processes, open_files, shared_memory
from sweeps.doctor.subject import Measurement, Subject
from sweeps.plan.planning import images_per_second, is_in_memory
from sweeps.plan.rates import LEAST_UTILISATION, Rates
from sweeps.ray_backend.gpus import cores_of_each
from sweeps.ray_backend.preflight import existing_folder, require_space

MIB, GIB = 2**20, 2**30
#: bytes that are written to a disk and read again, and those of one call
WRITTEN, PART = 256 * MIB, 8 * MIB
#: images that are read or decoded, and how many files are read at a time
IMAGES, READERS = 256, 16
#: duration of a compiled step over that of another below which compiling is worth its minutes
WORTHWHILE = 0.9
#: side of a decoded view in pixels, images of a batch, and seconds of decoding
SIDE, BATCH, DECODING_S = 224, 32, 3.0


def training_step(subject: Subject) -> Measurement:
    """Check that the recipe trains here, and as fast as the card should."""
    rates, plan = subject.rates, subject.plan
    if rates is None:
        return Measurement("not measured, since GPUs, data or weights are missing")
    if isinstance(rates, UserError):
        raise rates
    measured = f"{images_per_second(subject.recipe, plan.pass_s):,.0f} images/s, one cell alone"
    card = plan.hardware.card
    if card is None or plan.size is None:
        return Measurement(measured)
    share = plan.size.flop / plan.pass_s / card.peak(plan.hardware.precision)
    measured = f"{measured}, {share:.0%} of the card's peak"
    if share >= LEAST_UTILISATION:
        return Measurement(measured)
    return Measurement(measured, "That is less than an estimate assumes: look at the checks of cards and decoding.")


def compiling(subject: Subject) -> Measurement:
    """Compare a step with --compile and without it, and recommend the faster one."""
    if not subject.request.gpus:
        return Measurement("compared on GPUs alone")
    rates, other, is_compiled = subject.rates, subject.other_rates, subject.request.execution.compile
    if isinstance(other, UserError) and not is_compiled:
        return Measurement(f"this model does not train with it: {other.message}")
    if not isinstance(rates, Rates) or not isinstance(other, Rates):
        return Measurement("not measured")
    ratio = other.trained.seconds / rates.trained.seconds
    if is_compiled:
        ratio = 1 / ratio
    measured = f"a step with --compile takes {ratio:.2f} times as long as one without"
    if ratio < WORTHWHILE and not is_compiled:
        return Measurement(measured, "Give --compile to sweep and plan; each process compiles for some minutes first.")
    if ratio > 1 and is_compiled:
        return Measurement(measured, "Leave --compile out.")
    return Measurement(measured)


def decoding(subject: Subject) -> Measurement:
    """Check that the cores decode the recipe's views as fast as the GPUs train."""
    request, here = subject.request, cores()
    processes = request.gpus * request.execution.cells_per_gpu
    if here < processes:
        raise UserError(
            f"There are {here} CPU cores for {processes} cells at a time, of which each needs one.",
            f"Use a machine with more cores, or --gpus {max(1, here // request.execution.cells_per_gpu)}.",
        )
    if is_in_memory(subject.recipe):
        return Measurement(f"{here} CPU cores; the images stay in memory, and none is decoded")
    processes, threads = processes or here, cores_of_each(request, {"CPU": here, "GPU": request.gpus})
    subject.log(f"Decoding images in {processes} processes ...")
    files = _files(subject)
    rates = in_processes(decoding_rate, processes, files, subject.recipe.training, threads)
    rate, wanted = sum(rates) / (request.gpus or processes), subject.images_wanted
    kind = "images of the task" if files else "made-up photos"
    source = f"from {here} CPU cores and {kind}"
    if not request.gpus:
        return Measurement(f"{rate:,.0f} images/s for each of {processes} cells, {source}")
    measured = f"{rate:,.0f} images/s of {wanted:,.0f} for each GPU, {source}"
    if rate >= wanted:
        return Measurement(measured)
    return Measurement(measured, "GPUs will wait for images: use a machine with more cores for each GPU.")


def decoding_rate(rank: int, count: int, folder: str, paths: list[Path], training: Training, threads: int) -> float:
    """Images per second that one of the processes decodes and crops for training. paths: empty for made-up photos."""
    torch.set_num_threads(1)
    set_decoders(threads)
    files = Files(paths) if paths else photos(Path(folder), BATCH, f"{rank}-")
    plan = [np.arange(first, first + BATCH) % len(files) for first in range(0, 10**6, BATCH)]
    views = batches(files, plan, train_view(training, 0, 0, len(files), SIDE))
    next(views)
    started, seconds, images = time.perf_counter(), 0.0, 0
    while seconds < DECODING_S:
        images += len(next(views))
        seconds = time.perf_counter() - started
    return images / seconds


def photos(folder: Path, count: int, prefix: str = "") -> Files:
    """Write JPEG files of 500 x 375 pixels with about the bytes of photos."""
    rng = np.random.default_rng(0)
    paths = []
    for number in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (375 // 8, 500 // 8, 3), dtype=np.uint8))
        paths.append(folder / f"{prefix}{number}.jpg")
        coarse.resize((500, 375), Image.Resampling.BICUBIC).save(paths[-1], quality=90)
    return Files(tuple(paths))


def data_disk(subject: Subject) -> Measurement:
    """Check that the disk of the data delivers images as fast as all GPUs train."""
    files = _files(subject)
    if not files:
        return Measurement("no image is read from a file")
    size = sum(bytes_ for bytes_, _ in map(image_status, files)) / len(files)
    rate, wanted = len(files) / seconds_to_read(files), subject.images_wanted * subject.request.gpus
    measured = f"{rate:,.0f} images/s of {size / 1024:.0f} KiB, of {wanted:,.0f} for all GPUs"
    if rate >= wanted:
        return Measurement(measured)
    return Measurement(measured, "GPUs will wait for images: pack the data (data pack) onto a local disk.")


def _files(subject: Subject) -> list[Path]:
    """Some files that the recipe's first task trains on, evenly spread; empty where there are none."""
    recipe = subject.recipe
    if subject.obstacles:
        return []
    images = recipe.catalog.open(recipe.tasks[0], subject.request.execution, recipe.holdout).train.images
    if not isinstance(images, Files):
        return []
    rows = np.linspace(0, len(images) - 1, min(IMAGES, len(images)), dtype=int)
    return [images.paths[row] for row in rows]


def results_disk(subject: Subject) -> Measurement:
    """Check that the disk of the results has room, and takes all checkpoints in the time that a preemption gives."""
    root, needs = subject.protocol.store.root, subject.plan.needs
    wanted = subject.plan.bytes + needs.checkpoint_bytes
    require_space(root, wanted)
    measured, rate = disk_rates(root)
    measured = f"{measured}; {size_words(wanted)} wanted"
    seconds = needs.checkpoint_bytes / rate if rate else 0.0
    if seconds <= GRACE_S:
        return Measurement(measured)
    slow = f"All checkpoints take {seconds:.0f} s, so that a preemption loses minutes: use a faster disk."
    return Measurement(measured, slow)


def cache_disk(subject: Subject) -> Measurement:
    """Check that the disk of the feature cache has room for it."""
    cache = subject.request.execution.cache
    if cache is None:
        return Measurement("no cache of features")
    held = sum(path.stat().st_size for path in cache.folder.glob("*.npy"))
    room = shutil.disk_usage(existing_folder(cache.folder)).free + held
    measured, _ = disk_rates(cache.folder)
    if room >= cache.limit:
        return Measurement(measured)
    small = f"The cache may take {cache.limit / GIB:.0f} GiB: give --feature-cache FOLDER or --feature-cache-size GIB."
    return Measurement(measured, small)


def disk_rates(folder: Path) -> tuple[str, float]:
    """Free space and rates of the disk of a folder, in words; bytes per second written, 0 where room is short.

    Raises ``UserError`` when nothing can be written there.
    """
    there = existing_folder(folder)
    free = shutil.disk_usage(there).free
    words = f"'{there}' has {size_words(free)} free"
    if free < 4 * WRITTEN:
        return words, 0.0
    path, part = there / f".carft-doctor-{uuid4().hex}", os.urandom(PART)
    try:
        started = time.perf_counter()
        with path.open("wb") as file:
            for _ in range(WRITTEN // PART):
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        written = WRITTEN / (time.perf_counter() - started)
        read = WRITTEN / seconds_to_read([path])
    except OSError as error:
        raise UserError(f"'{there}' cannot be written: {error.strerror}.", "Name another folder.") from error
    finally:
        path.unlink(missing_ok=True)
    return f"{words}, {written / MIB:,.0f} MiB/s written, {read / MIB:,.0f} MiB/s read", written


def seconds_to_read(paths: Sequence[Path]) -> float:
    """Seconds that reading files takes, several at a time, from their disk and not from memory."""
    for path in paths:
        forget_cached(path)
    started = time.perf_counter()
    with ThreadPoolExecutor(READERS) as pool:
        for _ in pool.map(read_image_file, paths):
            pass
    return time.perf_counter() - started


#: name -> check
CHECKS: Mapping[str, Callable[[Subject], Measurement]] = {
    "driver": driver,
    "cards": cards,
    "exchange": exchange,
    "shared memory": shared_memory,
    "open files": open_files,
    "training step": training_step,
    "--compile": compiling,
    "decoding": decoding,
    "disk of data": data_disk,
    "disk of results": results_disk,
    "disk of cache": cache_disk,
    "host memory": host_memory,
}
#: name of the check of methods, data and weights, which has a line for each that is missing
RECIPE = "data and weights"


def examine(subject: Subject) -> Iterator[Measurement]:
    """Yield every check when it is done. Where one raises ``UserError``, a sweep could not run."""
    for error in subject.obstacles:
        yield Measurement(error.message, error.hint, RECIPE, stops=True)
    if not subject.obstacles:
        yield Measurement(f"all that {subject.recipe.name} needs is here, or can be downloaded", name=RECIPE)
    for name, check in CHECKS.items():
        try:
            result = check(subject)
        except UserError as error:
            result = Measurement(error.message, error.hint, stops=True)
        yield replace(result, name=name)
