"""Facts about data sets, as JSON tables beside this file: each key ``x`` has its source under ``x_from``. No torch.

classes: names as words, in label order. labels: what the set's own files call the same classes. templates: CLIP's
prompts. counts: split -> images. needs: what must be there. digests: file -> md5 or sha256. archives: what may be
downloaded, and the folder that it is unpacked in.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any


@cache
def facts(name: str) -> dict[str, Any]:
    """The table of a data set. Do not change it."""
    return json.loads(files(__name__).joinpath(f"{name}.json").read_text(encoding="utf-8"))


def imagenet_templates() -> tuple[str, ...]:
    """CLIP's 80 prompts for ImageNet: the context bank ``standard`` of every data set."""
    return tuple(facts("imagenet_templates")["templates"])
