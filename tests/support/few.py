"""ImageNet with two prompts a class in place of 80, for tests that need its layout and not its text.

``RAY_RUNTIME_ENV_HOOK=tests.support.few.runtime_env`` makes Ray call :func:`install` in every worker of a sweep.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from carft.data.card import Card
from carft.spec.catalog import BUILT_IN

ENVIRONMENT = {"RAY_RUNTIME_ENV_HOOK": "tests.support.few.runtime_env"}
TASK = "imagenet"


def runtime_env(asked: dict[str, Any] | None) -> dict[str, Any]:
    """Ray's hook."""
    return {**(asked or {}), "worker_process_setup_hook": "tests.support.few.install"}


def few_templates() -> Card:
    """The card of ImageNet with the first two templates."""
    whole = BUILT_IN.card(TASK)
    return replace(whole, templates=whole.templates[:2], banks={"standard": whole.bank("standard")[:2]})


def install() -> None:
    """Use that card in this process."""
    BUILT_IN.family(TASK).cards[TASK] = few_templates()  # type: ignore[index]
