"""The index of a data set: make it, or compare it with every file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from carft_cli.console import out, print_json
from carft_cli.data import CheckSettings
from carft_cli.declare import DATA, option, takes


@dataclass(frozen=True)
class IndexSettings:
    """What to index, and whether to decode."""

    checked: CheckSettings
    decode: Annotated[
        bool, option(DATA, "Also decode every image, so that --skip-unreadable need not.", "--decode")
    ] = False


@takes(IndexSettings)
def data_index(settings: IndexSettings) -> None:
    """Make the index that all processes read in place of listing the files, or compare it with every file.

    The first cell that needs an index makes it as well.

    Example: `python cli.py data index imagenet --data data`
    """
    chosen, root, _ = settings.checked.chosen()
    for data_set in chosen:
        data_set.require_present(root)

    from carft.data.indexing import indexed

    rows = []
    for data_set in chosen:
        found = indexed(data_set, root, settings.decode, full=True)
        rows.append(
            {
                "data set": data_set.name,
                "status": "packed" if data_set.packed else "made" if found.made else "current",
                "images": sum(map(len, found.splits.values())),
                "digest": found.digest,
                "index": None if found.path is None else str(found.path),
                "unreadable": {str(path): why for path, why in found.unreadable.items()} if settings.decode else None,
            }
        )
    if settings.checked.as_json:
        print_json(rows)
        return
    for row in rows:
        out.say(_index_line(row))
        for why in (row["unreadable"] or {}).values():
            out.say(f"  {why}")


def _index_line(row: dict[str, Any]) -> str:
    """What became of an index, in a sentence."""
    state = {"made": "the index was made", "current": "the index is current", "packed": "is packed, needs no index"}
    where = f": {row['index']}" if row["index"] else ", but no folder can be written" * (row["status"] != "packed")
    broken = "" if row["unreadable"] is None else f"; {len(row['unreadable'])} cannot be decoded"
    return f"{row['data set']}: {row['images']:,} images{broken}; {state[row['status']]}{where}"
