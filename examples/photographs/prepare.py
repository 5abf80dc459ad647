"""``python examples/photographs/prepare.py ROOT``: compare PACS in ROOT with the table, and write the tasks there.

ROOT is the folder that holds PACS. It gets photographs.csv, the images of the tasks, and photographs.yaml, the tasks.
"""

import argparse
import csv
import io
from pathlib import Path

from common import HERE, table_rows

from carft.core.files import write_text

#: splits of the table -> those of the tasks
SPLITS = {"train": "train", "val": "val", "test": "test"}
COLUMNS = ("path", "class", "domain", "group", "split")


def prepare(root: Path, more: bool) -> Path:
    """Write both files, and return the path of the tasks. more: whether to train on twice as many images."""
    splits = {**SPLITS, "more": "train"} if more else SPLITS
    table = io.StringIO()
    writer = csv.DictWriter(table, COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for row in table_rows(root, list(splits)):
        writer.writerow({**row, "split": splits[row["split"]]})
    write_text(root / "photographs.csv", table.getvalue())
    write_text(root / "photographs.yaml", (HERE / "tasks.yaml").read_text(encoding="utf-8"))
    return root / "photographs.yaml"


def main() -> None:
    """Write both files and say so."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path, help="the folder that holds PACS")
    parser.add_argument("--more", action="store_true", help="train on twice as many images")
    asked = parser.parse_args()
    print(f"Written: {prepare(asked.root, asked.more)}, and the table beside it.")


if __name__ == "__main__":
    main()
