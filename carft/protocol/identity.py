"""What identifies a study, and its id. No torch."""

from collections.abc import Mapping
from typing import Any

from carft.config.cell import DIGEST_MARK, id_form, path_in, stable_hash

#: keys of study.json that do not identify the study; files of earlier versions have ``seed``
BOOKKEEPING = ("id", "seed", "trials", "winner", "confirm", "oracle", "too_few", "grid", "extended_from", "allow_edges")


def identity(content: Mapping[str, Any]) -> dict[str, Any]:
    """The part of study.json that identifies the study: everything that decides which trial tries what.

    Weights that are a file count by their digest, as in the id of a cell. In files of earlier versions, which hold the
    path of the weights, the path counts.
    """
    identifying = dict(content)
    for name in BOOKKEEPING:
        identifying.pop(name, None)
    start = (identifying["model"], identifying["pretrained"])
    if DIGEST_MARK in start[1] and not path_in(*start):
        identifying["model"], identifying["pretrained"] = id_form(*start)
    if not identifying.get("reading"):
        identifying.pop("reading", None)
    return identifying


def study_id(identifying: Mapping[str, Any]) -> str:
    """The id of the study with this identity."""
    return stable_hash(dict(identifying))
