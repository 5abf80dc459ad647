"""A card without memory or kernels: torch knows the shape and place of each tensor, and computes none."""

from __future__ import annotations

import json
import sys
import weakref
from typing import Any

import numpy as np
import open_clip
import torch
import torch.distributed as dist
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.utils import parametrize
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend
from torch.utils.flop_counter import FlopCounterMode

from carft.catalog.catalog import BUILT_IN
from carft.catalog.resolve import specify
from carft.config.cell import Cell, Training
from carft.config.registry import METHODS
from carft.data.task import ImageSet, Task
from carft.models.availability import fused_attention
from carft.models.clip import Pretrained
from carft.models.network import Prompts
from carft.training import loop
from carft.training.context import CellContext
from carft.training.execution import Execution
from carft.training.loop import Trainer
from carft.training.schedule import parts_of_epoch
from tests.support.helpers import LR, ROOT, TASK

#: a device of its own: an installation without CUDA has no autograd on ``cuda``
CARD = "card"
PLACE = f"{CARD}:0"


def updated(method: str, model: str, precision: str, images: int, workers: int, counts: bool) -> dict[str, float]:
    """Peak ``bytes`` and ``flop`` of a step of a method, after a first one, on a worker with so many images.

    Call it under ``FakeTensorMode``. counts: whether there is a second step, whose bytes and operations are counted.
    """
    cell = cell_of(method, model, precision, images * workers)
    context = context_of(cell, images * workers, workers)
    with torch.device(PLACE):
        network = context.network(cell.reading.class_head, cell.seed)
    made = METHODS[method].load()(cell, context.pretrained, context.prompts)
    if not METHODS[method].first_passes:  # a probe is solved with numbers
        made.setup(network, context.task.train)
    trainer = Trainer(cell, context, network, made)
    (parts,) = parts_of_epoch(np.arange(images * workers), images * workers, trainer.worker, 1)
    side = context.pretrained.side
    pixels = torch.empty(images, 3, side, side, dtype=torch.uint8, device=PLACE)
    trainer.update(0, parts, iter([pixels]), LR)
    if not counts:
        return {}
    allocated = Allocated()
    allocated.add(network.state_dict(), context.pretrained.clip.state_dict(), trainer.optimizer.state_dict(), pixels)
    with fused_attention(), allocated, FlopCounterMode(display=False) as counter:
        trainer.update(1, parts, iter([pixels]), LR)
    return {"bytes": allocated.peak, "flop": counter.get_total_flops()}


class Allocated(TorchDispatchMode):
    """Counts the bytes of the tensors on the card that are alive, and the most of them within the block."""

    def __init__(self) -> None:
        super().__init__()
        self.held = self.peak = 0
        self.known: set[int] = set()

    def add(self, *values: Any) -> None:
        """Count the tensors in values, once a storage."""
        for tensor in tree_leaves(values):
            if not isinstance(tensor, torch.Tensor) or str(tensor.device) != PLACE:
                continue
            storage = tensor.untyped_storage()
            if storage._cdata not in self.known:
                self.known.add(storage._cdata)
                self.held += storage.nbytes()
                self.peak = max(self.peak, self.held)
                weakref.finalize(storage, self.free, storage._cdata, storage.nbytes())

    def free(self, storage: int, size: int) -> None:
        self.known.discard(storage)
        self.held -= size

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        self.add(made)
        return made


def cell_of(method: str, model: str, precision: str, batch: int) -> Cell:
    guess = {name: limits.first_guess for name, limits in METHODS[method].space.items()}
    training = Training(epochs=1, batch_size=batch)
    return specify(TASK, method, guess, 0, training, None, model, "random", precision=precision)


def context_of(cell: Cell, images: int, workers: int) -> CellContext:
    with torch.device(PLACE):
        clip = open_clip.create_model(cell.model, load_weights=False, device=PLACE).eval().requires_grad_(False)
    card = BUILT_IN.card(TASK)
    side, width = clip.visual.image_size[0], clip.visual.output_dim
    tokenize = open_clip.get_tokenizer(cell.model)
    pretrained = Pretrained(cell.model, clip, tokenize, 100.0, (0.5,) * 3, (0.5,) * 3, side, "random")
    counts = len(card.classes), len(card.bank("standard")), len(card.contexts)
    prompts = Prompts(card, *(torch.empty(count, width, device=PLACE) for count in counts))
    names = tuple(map(str, range(images)))
    unknown = torch.zeros(images, dtype=torch.int64)
    shown = ImageSet(torch.empty(images, 3, side, side, dtype=torch.uint8), unknown, unknown, names, names)
    execution = Execution(workers=workers)
    return CellContext(Task(TASK, shown, shown, {}), pretrained, prompts, card, execution, BUILT_IN)


class Unwrapped(nn.Module):
    """In place of DistributedDataParallel, whose C++ reads values: gradients are not exchanged."""

    def __init__(self, module: nn.Module, broadcast_buffers: bool) -> None:
        super().__init__()
        self.module = module

    def forward(self, images: torch.Tensor) -> Any:
        return self.module(images)


#: operations that autocast computes in 16 bits, and in 32, on a card of NVIDIA; those that CLIP's models have
HALF, SINGLE = ("linear", "matmul", "conv2d", "addmm", "bmm", "baddbmm"), ("layer_norm", "softmax.int")


def register_card() -> list[torch.library.Library]:
    """Make :data:`CARD` a device of this process, with what autocast does on a card of NVIDIA."""
    _setup_privateuseone_for_python_backend(CARD)
    torch.card.get_amp_supported_dtype = lambda: [torch.bfloat16]
    from_values = torch.tensor  # it would copy to the card, which is none
    torch.tensor = lambda values, device=None, **options: from_values(values, **options).to(device)
    parametrize._maybe_set = lambda tensor, values: None
    torch.utils.swap_tensors = lambda first, second: None  # of a module that moves to where it is
    others, library = torch.library.Library("_", "IMPL"), torch.library.Library("aten", "IMPL")
    others.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")
    for names, kind in ((HALF, torch.bfloat16), (SINGLE, torch.float32)):
        for name in names:
            library.impl(name, in_type(name, kind), "AutocastPrivateUse1")
    return [others, library]


def in_type(name: str, kind: torch.dtype) -> Any:
    operation, _, overload = name.partition(".")
    called = getattr(getattr(torch.ops.aten, operation), overload or "default")
    key = torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastPrivateUse1)

    def cast(value: Any) -> Any:
        floating = isinstance(value, torch.Tensor) and value.is_floating_point()
        return value.to(kind) if floating else value

    def autocast(*args: Any, **kwargs: Any) -> Any:
        with torch._C._ExcludeDispatchKeyGuard(key):
            return called(*map(cast, args), **kwargs)

    return autocast


if __name__ == "__main__":
    kept = register_card()
    open_clip.add_model_config(ROOT / "tests" / "support" / "models")
    answers: list[dict[str, Any]] = []
    for asked in json.loads(sys.argv[1]):  # one worker before several, which stay
        if asked["workers"] > 1:
            loop.DistributedDataParallel = Unwrapped
            dist.init_process_group(f"{CARD}:fake,cpu:fake", rank=0, world_size=asked["workers"], store=FakeStore())
        answers.append({})
        for method in asked.pop("methods"):
            with FakeTensorMode(allow_non_fake_inputs=True):
                answers[-1][method] = updated(method, **asked)
    print(json.dumps(answers))
