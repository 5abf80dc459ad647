"""Copies of training images among held-out ones are found, byte for byte."""

from __future__ import annotations

from pathlib import Path

from carft.data.copies import held_out_copies
from carft.data.index import Index


def index_of(folder: Path, images: dict[str, bytes]) -> Index:
    """An index of files with these contents."""
    folder.mkdir()
    for name, content in images.items():
        (folder / name).write_bytes(content)
    paths = [folder / name for name in sorted(images)]
    return Index(paths, (0,) * len(paths), [path.name for path in paths])


def test_a_held_out_image_with_the_bytes_of_a_training_image_is_named_with_it(tmp_path: Path) -> None:
    sets = {
        "train": index_of(tmp_path / "train", {"a.png": b"first", "b.png": b"other", "c.png": b"other"}),
        "val": index_of(tmp_path / "val", {"a.png": b"fresh"}),  # of the same size
        "test": index_of(tmp_path / "test", {"again.png": b"first", "new.png": b"longer than all"}),
        "ood/sketch": index_of(tmp_path / "sketch", {"x.png": b"newer", "y.png": b"newer"}),  # copies of each other
    }
    (tmp_path / "train" / "c.png").unlink()  # a file that is gone equals no other
    copies = held_out_copies(sets)
    assert copies == {"test": [(tmp_path / "test" / "again.png", tmp_path / "train" / "a.png")]}
