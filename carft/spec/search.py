"""The settings of a search: how many trials, seeds and searches, and what becomes of search cells. No torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from carft.core.settings import STRICT

#: limit of every count here: more is a mistake in typing
MOST = 10_000
Selection = Literal["per-task", "shared"]


class SearchSettings(BaseModel):
    """Keys of a recipe that are options of ``sweep`` and ``plan`` as well."""

    model_config = STRICT

    trials: Annotated[int, Field(ge=1, le=MOST, description="Search trials of each trained method on each task.")]
    seeds: Annotated[int, Field(ge=1, le=MOST, description="Confirm seeds of each winner.")]
    searches: Annotated[
        int,
        Field(
            ge=1, le=MOST, description="Independent searches of each method on each task; 2 or more cover tuning luck."
        ),
    ] = 1
    selection: Annotated[
        Selection,
        Field(
            description="A winner for each task, or one setting shared by a family: that of the best mean validation."
        ),
    ] = "per-task"
    oracle: Annotated[
        bool, Field(description="Also evaluate search cells on the held-out sets: what selection on test gives.")
    ] = False
