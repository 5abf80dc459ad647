"""Weights that are a file or a folder: how records name them, what ids count of them, and where they lie. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath

#: between the path or name of a weights file and the sha256 of its content, in ``Cell.pretrained``
DIGEST_MARK = "#sha256:"
#: what a model that is a folder begins with, in ``Cell.model``
LOCAL_DIR = "local-dir:"


def record_form(model: str, pretrained: str) -> tuple[str, str]:
    """Model and weights as records name them: a file or folder by its name and digest, not by its path.

    A folder whose weights have no digest keeps its path, since nothing else identifies it.
    """
    path, mark, digest = pretrained.partition(DIGEST_MARK)
    if not mark:
        return model, pretrained
    if model.startswith(LOCAL_DIR):
        model = path = model_by_name(model)
    return model, f"{PurePath(path).name}{mark}{digest}"


def display_form(model: str, pretrained: str) -> tuple[str, str]:
    """Model and weights as a report names them: of a file or folder its name, of a file also its digest."""
    path, mark, digest = pretrained.partition(DIGEST_MARK)
    if mark:
        pretrained = f"{PurePath(path).name} {mark.lstrip('#')}{digest[:8]}"
    return model_by_name(model), pretrained


def id_form(model: str, pretrained: str) -> tuple[str, str]:
    """Model and weights as ids count them: a file by its digest, a model folder by the digest of its weights."""
    return "local-dir" if model.startswith(LOCAL_DIR) else model, pretrained.rpartition(DIGEST_MARK)[2]


def path_in(model: str, pretrained: str) -> str:
    """The path of a file or folder that the names of model and weights hold; empty when they hold none."""
    path = pretrained.partition(DIGEST_MARK)[0].removeprefix(LOCAL_DIR)
    is_file = DIGEST_MARK in pretrained or model.startswith(LOCAL_DIR)
    return path if is_file and PurePath(path).name != path else ""


def located(model: str, pretrained: str, places: Mapping[str, str]) -> tuple[str, str]:
    """Model and weights with the path of their file or folder, where it is known. places: digest -> path."""
    path, mark, digest = pretrained.partition(DIGEST_MARK)
    if digest not in places or path_in(model, pretrained):
        return model, pretrained
    if model.startswith(LOCAL_DIR):
        model = path = f"{LOCAL_DIR}{places[digest]}"
    else:
        path = places[digest]
    return model, f"{path}{mark}{digest}"


def model_by_name(model: str) -> str:
    """A model without the path of its folder, if it is one."""
    return LOCAL_DIR + PurePath(model.removeprefix(LOCAL_DIR)).name if model.startswith(LOCAL_DIR) else model
