"""torch.compile with graphs that depend on one training alone."""

import os
from pathlib import Path
from typing import cast

import torch
from torch import nn

#: graphs of one function in one training: whole batches, the last one and their parts, with and without gradients
MOST_GRAPHS = 32


def set_up_compiler(threads: int, folder: Path | None) -> None:
    """Compile in so many threads, and store what is compiled in a folder that all workers of a machine share.

    By default torch starts as many compilers in each process as the machine has cores. It has read its environment when
    it was imported, and named a folder there. folder: Triton's kernels lie below it; None for torch's own.
    """
    from torch._inductor import config

    config.compile_threads = threads
    if folder is not None:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder)


def forget_graphs() -> None:
    """Forget the graphs of earlier trainings in this process; call it before :func:`compile_shapes` in a training.

    They would count against torch's limit, behind which a function runs without its compiler. Such a training is an
    error here, since its record says that it was compiled.
    """
    from torch import _dynamo  # takes a second to import

    torch.compiler.reset()
    _dynamo.config.recompile_limit = MOST_GRAPHS
    _dynamo.config.fail_on_recompile_limit_hit = True


def compile_shapes(module: nn.Module) -> nn.Module:
    """The module compiled on its first call with each shape of a batch.

    With a graph for all shapes a short last batch would change the bits of the whole batches after it, and a training
    that goes on from a checkpoint would end with other weights than one in a single process.
    """
    return cast(nn.Module, torch.compile(module, dynamic=False))
