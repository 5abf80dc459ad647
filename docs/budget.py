"""Prints the lines and words of the project beside the budgets in CONTRIBUTING.md: ``python docs/budget.py``.

The table there is the only list: a row names folders or files, a unit and a budget. Of folders the
tracked ``*.py`` files count where the unit is lines, else ``*.md``. Nothing fails here.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
#: the heading that the table stands below
HEADING = "## Budgets"


def rows() -> list[tuple[str, list[str], str, int | None]]:
    """Capability, folders and files, unit and budget of each row; None where no budget is set."""
    section = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split(HEADING)[1].split("\n## ")[0]
    found = []
    for line in section.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 4 and "`" in cells[1]:
            paths = [path.strip(" `") for path in cells[1].split(",")]
            budget = cells[3].replace(",", "")
            found.append((cells[0], paths, cells[2], int(budget) if budget else None))
    return found


def count(paths: list[str], unit: str) -> int:
    """The lines or words of the tracked files."""
    suffix = ".md" if unit == "words" else ".py"
    listed = subprocess.run(["git", "ls-files", "-z", "--", *paths], cwd=ROOT, capture_output=True, text=True)
    total = 0
    for name in listed.stdout.split("\0"):
        if name.endswith(suffix) and (ROOT / name).is_file():
            text = (ROOT / name).read_text(encoding="utf-8")
            total += len(text.split()) if unit == "words" else text.count("\n")
    return total


def main() -> None:
    """Print a line for each row."""
    for capability, paths, unit, budget in rows():
        limit = "" if budget is None else f" of {budget:,}"
        print(f"{count(paths, unit):>7,}{limit:<10} {unit:<5}  {capability}")


if __name__ == "__main__":
    main()
