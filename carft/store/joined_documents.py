"""Many JSON files as the lines of one, which a zip archive compresses far better than files of their own.

documents.jsonl    one line for each file: {"name": name in the archive, "text": its text}, sorted by name

Cells of one sweep differ in little, and a zip archive compresses every file alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from carft.core.errors import UserError
from carft.store.document import Document, parse_document

FILE = "documents.jsonl"


class JoinedDocument(Document):
    """One line."""

    name: str
    """Name of the file in the archive, such as ``cells/ID/record.json``."""
    text: str
    """The text of the file."""


def join_documents(sources: Mapping[str, Path], joined: Path) -> None:
    """Write the text of files to ``joined``. sources: name in the archive -> file.

    Raises ``UserError`` when a file is not UTF-8 text.
    """
    with joined.open("w", encoding="utf-8", newline="\n") as stream:
        for name, path in sorted(sources.items()):
            try:
                text = path.read_bytes().decode()
            except UnicodeDecodeError as error:
                raise UserError(f"'{path}' is not UTF-8 text.", "Move it elsewhere, or run its cell again.") from error
            stream.write(json.dumps({"name": name, "text": text}) + "\n")


def split_documents(joined: Path) -> Iterator[tuple[str, bytes]]:
    """Name and content of every file in ``joined``.

    Raises:
        CorruptFile: A line is not what :func:`join_documents` writes.
    """
    with joined.open(encoding="utf-8") as stream:
        for line in stream:
            document = parse_document(line, JoinedDocument, Path(joined.name))
            yield document.name, document.text.encode()
