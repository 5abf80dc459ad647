"""methods/<name>.json: the cards of methods that are no part of this package. No torch.

A report on their records needs the cards and not the code. No code is read from a results folder.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from pydantic import Field

from carft.core.files import write_json
from carft.spec.plugins import known_only
from carft.spec.registry import METHODS, PLUGGED, MethodCard, Range
from carft.store.document import Document, Number, read_document
from carft.store.records import Store

FOLDER = "methods"


class RangeFile(Document):
    """The fields of :class:`carft.spec.registry.Range`."""

    low: Number
    high: Number
    first_guess: Number
    zero_allowed: bool


class MethodFile(Document):
    """methods/<name>.json: the fields of :class:`carft.spec.registry.MethodCard` that reports need."""

    name: str
    digest: str
    """Digest of the source of the method."""
    label: str
    summary: str
    space: dict[str, RangeFile]
    shares: dict[str, str]
    reads: tuple[str, ...]
    whole_batch: bool
    first_passes: int
    epoch_passes: int
    in_soups: bool
    compares: bool = False
    own_training: dict[str, Any] = Field(default_factory=dict)


def keep_methods(store: Store) -> None:
    """Write the cards of the methods of this process that are no part of this package."""
    for name, digest in PLUGGED.items():
        path = store.root / FOLDER / f"{name}.json"
        with store.changing(f"{FOLDER}/{name}.json"):
            store.make(store.root / FOLDER)
            card = {key: value for key, value in asdict(METHODS[name]).items() if key in MethodFile.model_fields}
            write_json(path, {**card, "digest": digest})


def load_methods(store: Store) -> None:
    """Make the methods of a results folder known to this process. Raises ``CorruptFile`` for a file that cannot be."""
    for path in sorted((store.root / FOLDER).glob("*.json")):
        file = read_document(path, MethodFile)
        fields = {key: getattr(file, key) for key in MethodFile.model_fields if key != "digest"}
        fields["space"] = {name: Range(**dict(limits)) for name, limits in file.space.items()}
        known_only(MethodCard(**fields, kind="trained", implementation="", command="train"), file.digest)


def copy_methods(source: Store, target: Store) -> None:
    """Copy the cards of one results folder to another."""
    for path in sorted((source.root / FOLDER).glob("*.json")):
        (target.root / FOLDER).mkdir(exist_ok=True)
        (target.root / FOLDER / path.name).write_bytes(path.read_bytes())
