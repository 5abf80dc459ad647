"""weights.json: where the weights files and model folders of a results folder lie on this machine. No torch.

Records name weights by name and digest alone. No archive holds this file.
"""

from __future__ import annotations

from pydantic import Field

from carft.core.files import write_json
from carft.spec.cell import Cell
from carft.spec.weights import DIGEST_MARK, declare_places, path_in
from carft.store.document import Document, read_document
from carft.store.records import Store

FILE = "weights.json"


class PlacesFile(Document):
    """weights.json."""

    places: dict[str, str] = Field(default_factory=dict)
    """sha256 of the weights -> path of their file, or of the model folder, on this machine."""


def places(store: Store) -> dict[str, str]:
    """Digest -> path of the weights that a results folder knows. Raises ``CorruptFile`` if they cannot be read."""
    path = store.root / FILE
    return read_document(path, PlacesFile).places if path.is_file() else {}


def load_places(store: Store) -> None:
    """Make them known to this process."""
    declare_places(places(store))


def keep_places(store: Store, found: dict[str, str]) -> None:
    """Write where weights lie into a results folder, and make it known to this process. found: digest -> path."""
    declare_places(found)
    known = places(store)
    if known | found != known:
        with store.changing(FILE):
            write_json(store.root / FILE, PlacesFile(places=known | found).content())


def place_of(cell: Cell) -> dict[str, str]:
    """Digest -> path of a cell's weights; empty unless they are a file or folder that it holds the path of."""
    path, digest = path_in(cell.model, cell.pretrained), cell.pretrained.partition(DIGEST_MARK)[2]
    return {digest: path} if path and digest else {}


def paths_in_records(store: Store) -> list[str]:
    """Paths of weights that cells and studies hold, sorted: those that earlier versions wrote, and model folders
    whose weights have no digest."""
    named = [(record.cell.model, record.cell.pretrained) for record in store.records()]
    named += [(study.model, study.pretrained) for study in store.studies()]
    return sorted({path for start in named if (path := path_in(*start))})
