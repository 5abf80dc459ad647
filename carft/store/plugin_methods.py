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
    """A search range; see :class:`carft.spec.registry.Range`."""

    low: Number
    """Lowest value."""
    high: Number
    """Highest value."""
    first_guess: Number
    """Value of the first trial."""
    zero_allowed: bool
    """Whether a single cell may use 0."""


class MethodFile(Document):
    """methods/<name>.json; see :class:`carft.spec.registry.MethodCard`."""

    name: str
    """Name of the method."""
    digest: str
    """Digest of its source."""
    label: str
    """Name in tables and figures."""
    summary: str
    """One sentence."""
    space: dict[str, RangeFile]
    """Hyperparameter -> range."""
    shares: dict[str, str]
    """Hyperparameter -> its name across methods."""
    reads: list[str]
    """Reading factors that training depends on."""
    whole_batch: bool
    """Whether the loss compares the images of a batch."""
    first_passes: int
    """Passes of the image encoder before the first epoch."""
    epoch_passes: int
    """Passes of the image encoder per epoch."""
    in_soups: bool
    """Whether a sweep with soups averages its search cells."""
    compares: bool = False
    """Whether the loss compares the images of a batch through ``embed`` and ``compare``."""
    own_training: dict[str, Any] = Field(default_factory=dict)
    """Training settings that the method fixes."""


def keep_methods(store: Store) -> None:
    """Write the cards of the methods of this process that are no part of this package."""
    for name, digest in PLUGGED.items():
        path = store.root / FOLDER / f"{name}.json"
        with store.changing(f"{FOLDER}/{name}.json"):
            store.make(store.root / FOLDER)
            write_json(path, _content(METHODS[name], digest))


def load_methods(store: Store) -> None:
    """Make the methods of a results folder known to this process. Raises ``CorruptFile`` for a file that cannot be."""
    for path in sorted((store.root / FOLDER).glob("*.json")):
        file = read_document(path, MethodFile)
        known_only(_card(file), file.digest)


def copy_methods(source: Store, target: Store) -> None:
    """Copy the cards of one results folder to another."""
    for path in sorted((source.root / FOLDER).glob("*.json")):
        (target.root / FOLDER).mkdir(exist_ok=True)
        (target.root / FOLDER / path.name).write_bytes(path.read_bytes())


def _content(card: MethodCard, digest: str) -> dict[str, Any]:
    content = {name: value for name, value in asdict(card).items() if name in MethodFile.model_fields}
    return {**content, "reads": list(card.reads), "digest": digest}


def _card(file: MethodFile) -> MethodCard:
    values = {name: getattr(file, name) for name in MethodFile.model_fields if name != "digest"}
    space = {name: Range(**dict(limits)) for name, limits in file.space.items()}
    return MethodCard(
        **{**values, "space": space, "reads": tuple(file.reads)}, kind="trained", implementation="", command="train"
    )
