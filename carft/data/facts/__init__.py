"""Facts about data sets, as JSON tables in this folder. The source of a key ``x`` is under ``x_from``. No torch.

The keys are the fields of :class:`carft.data.sets.DataSet` and of its layout; ``templates`` are CLIP's.
"""

import json
from functools import cache
from importlib.resources import files
from typing import Any


@cache
def facts(name: str, package: str = __name__) -> dict[str, Any]:
    """Return the table of a data set, or another JSON table of a package. Callers must not modify it."""
    return json.loads(files(package).joinpath(f"{name}.json").read_text(encoding="utf-8"))


def imagenet_templates() -> tuple[str, ...]:
    """Return CLIP's 80 prompts for ImageNet, the context bank ``standard`` of every data set."""
    return tuple(facts("imagenet_templates")["templates"])
