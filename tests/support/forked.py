"""Imported by the process that all processes of a test are forked from: torch, and the images of the smallest task."""

from __future__ import annotations

from carft.catalog.catalog import BUILT_IN
from carft.training import run as run  # imports what a training needs
from carft.training.execution import Execution
from tests.support.drawn import share_drawings
from tests.support.helpers import TASK

share_drawings()
BUILT_IN.open(TASK, Execution())
BUILT_IN.unseal(TASK, Execution())
