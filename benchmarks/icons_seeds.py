"""``python -m benchmarks.icons_seeds SEED FOLDER``: pretrain the model of icons-3 from another seed, on one core.

The recipes are those of the shipped weights, whose seed is 0: first icons-2, then icons-3 from there. It takes an hour.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import torch

from carft.core.allocator import keep_freed_memory
from carft.data.icons.pretraining import pretrain, shipped_recipe
from carft.data.icons.world import ICONS_2, ICONS_3

MODEL = "icons-resnet"


def main() -> None:
    """Write ``icons-2/icons-resnet.safetensors`` and ``icons-3/icons-resnet.safetensors`` in FOLDER."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.icons_seeds", description=__doc__)
    parser.add_argument("seed", type=int)
    parser.add_argument("folder", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(1)  # another number of threads gives other bits
    keep_freed_memory()
    start = asked.folder / ICONS_2.version / f"{MODEL}.safetensors"
    if not start.is_file():
        pretrain(replace(shipped_recipe(MODEL, ICONS_2.version), seed=asked.seed), start.parent, log=print)
    recipe = replace(shipped_recipe(MODEL, ICONS_3.version), seed=asked.seed, start=str(start))
    print(pretrain(recipe, asked.folder / ICONS_3.version, log=print))


if __name__ == "__main__":
    main()
