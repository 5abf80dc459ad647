"""Settings of PyTorch: what each of them saves, one at a time."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from typing import Any
from unittest.mock import patch

import torch
import torch.nn.functional as F

from benchmarks.benches import Setting, icons, vit
from benchmarks.measuring import Figure, interleaved, ratio
from carft.core.allocator import keep_freed_memory
from carft.models.network import Network

ROUNDS = 7


def measure() -> list[Figure]:
    """CPU seconds with a setting over those without it: below 1 it saves."""
    figures = []
    for model, setting, batch, rounds in (("icons model", icons(), 32, ROUNDS), ("ViT-B-32", vit(), 4, 3)):
        figures += [
            _figure("channels last", model, rounds, _step(setting, batch), _step(setting, batch, contiguous=True)),
            _figure("bfloat16", model, rounds, _step(setting, batch, bfloat16=True), _step(setting, batch)),
            _figure("inference_mode over no_grad", model, rounds, *_forwards(setting, batch)),
        ]
    small = icons()
    figures.append(_memory())
    figures.append(
        _figure("fused AdamW over foreach", "icons model", ROUNDS, _step(small, 32), _step(small, 32, foreach=True))
    )
    return [*figures, *_compiled(small)]


def _figure(name: str, model: str, rounds: int, given: Callable, without: Callable) -> Figure:
    seconds = interleaved({"with": given, "without": without}, rounds)
    return Figure(f"{name} ({model})", ratio(seconds, "with", "without"), None, rounds)


def _images(setting: Setting, batch: int) -> torch.Tensor:
    assert isinstance(setting.images.images, torch.Tensor)
    return setting.pretrained.normalise(setting.images.images[:batch])


def _step(
    setting: Setting,
    batch: int,
    contiguous: bool = False,
    bfloat16: bool = False,
    foreach: bool = False,
    wrap: Callable[[Network], Any] = lambda network: network,
) -> Callable[[], None]:
    """Three updates of plain fine-tuning of a network of its own."""
    network, images, labels = setting.network(), _images(setting, batch), setting.images.labels[:batch]
    if contiguous:
        images, network = images.contiguous(), network.to(memory_format=torch.contiguous_format)
    kind = {"foreach": True} if foreach else {"fused": True}
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-6, **kind)
    model = wrap(network)

    def run() -> None:
        for _ in range(3):
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
                logits, _ = model(images)
            F.cross_entropy(logits, labels).backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()

    return run


def _forwards(setting: Setting, batch: int) -> tuple[Callable[[], None], Callable[[], None]]:
    network, images = setting.network(), _images(setting, batch)

    def under(mode: Callable[[], Any]) -> Callable[[], None]:
        def run() -> None:
            with mode():
                for _ in range(3):
                    network(images)

        return run

    return under(torch.inference_mode), under(torch.no_grad)


def _memory() -> Figure:
    """Updates in a process that keeps freed memory over those in a process with glibc's defaults."""
    context = multiprocessing.get_context("spawn")  # what the allocator was told cannot be taken back
    with ProcessPoolExecutor(1, context) as keeping, ProcessPoolExecutor(1, context) as default:
        runs = {
            "with": lambda: keeping.submit(_updates, True).result(),
            "without": lambda: default.submit(_updates, False).result(),
        }
        seconds = interleaved(runs, ROUNDS, time.perf_counter)
    note = "wall clock of two processes, in turn"
    return Figure("freed memory kept (icons model)", ratio(seconds, "with", "without"), None, ROUNDS, note=note)


def _updates(keeps: bool) -> None:
    """Thirty updates of a model, which is made once a process."""
    step = _step_of(keeps)
    for _ in range(10):
        step()


@cache
def _step_of(keeps: bool) -> Callable[[], None]:
    with patch("carft.training.execution.keep_freed_memory"):
        setting = icons()
    if keeps:
        keep_freed_memory()
    return _step(setting, 32)


def _compiled(setting: Setting) -> list[Figure]:
    """The saving of torch.compile, and after how many steps it has paid for itself."""
    try:
        compiled = _step(setting, 32, wrap=torch.compile)
        started = time.perf_counter()
        compiled()
        compiling = time.perf_counter() - started
    except Exception as error:  # it needs a C++ compiler, which a machine may lack
        return [Figure("torch.compile (icons model)", None, note=f"not run: {str(error).splitlines()[0][:100]}")]
    seconds = interleaved({"with": compiled, "without": _step(setting, 32)}, ROUNDS)
    saved = (sum(seconds["without"]) - sum(seconds["with"])) / (3 * ROUNDS)
    note = f"{compiling:.0f} s to compile; " + (
        f"pays after {compiling / saved:.0f} steps" if saved > 0 else "never pays"
    )
    return [Figure("torch.compile (icons model)", ratio(seconds, "with", "without"), None, ROUNDS, note=note)]
