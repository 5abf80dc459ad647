"""What this package had once (``retired.json``). Its records are read, listed and reported, and nothing of it runs.

``commit`` of an entry is one that holds the code. No torch.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from carft.config.registry import METHODS, NOT_HERE, MethodCard

CONTENT: Mapping[str, Mapping[str, Any]] = json.loads(
    Path(__file__).with_name("retired.json").read_text(encoding="utf-8")
)


def _card(name: str, entry: Mapping[str, str]) -> MethodCard:
    """The card of a retired method: that of the method ``like``, whose hyperparameters it has."""
    return replace(
        METHODS[entry["like"]],
        name=name,
        label=entry["label"],
        summary=f"Removed; commit {entry['commit']} has it.",
        implementation=NOT_HERE,
        in_soups=False,
        removed_at=entry["commit"],
    )


#: trained methods that were removed, by name
RETIRED_METHODS: Mapping[str, MethodCard] = {name: _card(name, entry) for name, entry in CONTENT["methods"].items()}
