"""Draws docs/architecture.svg, the subpackages of the project, from the imports in the code: ``python docs/rooms.py``.

A subpackage is a folder of a package. Each box gives its name, the first sentence of its ``__init__``, and the others
of the same package that it imports. The order is that of the layers in pyproject.toml.
"""

from __future__ import annotations

import ast
import re
import textwrap
import tomllib
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "docs" / "architecture.svg"
WIDTH, BOX, GAP, TOP = 560, 78, 10, 80
#: characters that fit into a line of a box
LINE = 86
COLOURS = {"carft_cli": "#f6f8fa", "sweeps": "#fff4e0", "reports": "#e6f4ee", "carft": "#e3f0fa"}


def layers() -> dict[str, list[str]]:
    """Subpackages of each package, the highest layer first, as import-linter holds them."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    return {c["containers"][0]: re.split(r"[ |]+", " | ".join(c["layers"])) for c in contracts if "containers" in c}


def sentence(folder: Path) -> str:
    """The first sentence of a package's docstring, without its full stop."""
    text = ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))) or ""
    return text.split("\n\n")[0].replace("\n", " ").replace("``", "").partition(". ")[0].rstrip(".")


def imported(folder: Path) -> set[str]:
    """Dotted names that the modules of a folder import from the project."""
    names = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
            elif isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
    return {name for name in names if name.split(".")[0] in COLOURS}


def lines(text: str, x: int, y: int) -> list[str]:
    """Text at (x, y), wrapped into as many lines as it takes."""
    wrapped = textwrap.wrap(text, LINE)
    return [f'<text x="{x}" y="{y + 16 * n}" font-size="12">{escape(line)}</text>' for n, line in enumerate(wrapped)]


def column(package: str, names: list[str], x: int, y: int) -> tuple[list[str], int]:
    """The drawing of a package at (x, y), and its height in pixels."""
    others = sorted({used.split(".")[0] for used in imported(ROOT / package)} - {package})
    height = TOP + len(names) * (BOX + GAP)
    found = f" It imports {', '.join(others)}." if others else " It imports none of the others."
    parts = [
        f'<rect x="{x}" y="{y}" width="{WIDTH}" height="{height}" rx="8" fill="{COLOURS[package]}" stroke="#57606a"/>',
        f'<text x="{x + 14}" y="{y + 26}" font-weight="600" font-size="17">{package}/</text>',
        *lines(f"{sentence(ROOT / package)}.{found}", x + 14, y + 46),
    ]
    for row, name in enumerate(names):
        top, folder = y + TOP + row * (BOX + GAP), ROOT / package / name
        uses = {".".join(used.split(".")[:2]) for used in imported(folder)}
        inside = ", ".join(other for other in names if other != name and f"{package}.{other}" in uses)
        parts += [
            f'<rect x="{x + 10}" y="{top}" width="{WIDTH - 20}" height="{BOX}" rx="5" fill="#fff" stroke="#8c959f"/>',
            f'<text x="{x + 20}" y="{top + 19}" font-weight="600">{package}/{name}/</text>',
            *lines(sentence(folder), x + 20, top + 36),
            f'<text x="{x + 20}" y="{top + 69}" font-size="12" fill="#57606a">imports: {inside or "none"}</text>',
        ]
    return parts, height


def drawing() -> str:
    """The whole picture as SVG."""
    found = layers()
    right, left = WIDTH + 50, 20
    cli, cli_height = column("carft_cli", [], left, 20)
    below = 20 + cli_height + 20
    sweeps, sweeps_height = column("sweeps", found["sweeps"], left, below)
    reports, reports_height = column("reports", found["reports"], right, below)
    under = below + max(sweeps_height, reports_height) + 20
    carft, carft_height = column("carft", found["carft"], left, under)
    width, height = 2 * WIDTH + 70, under + carft_height + 20
    notes = [
        f'<text x="{right + 14}" y="{under + 30 + 22 * row}" font-size="13">{line}</text>'
        for row, line in enumerate(
            (
                "Boxes are subpackages: the folders of a package, the highest layer first.",
                "A subpackage imports those below it in its package, never one above.",
                "Between sweeps and reports nothing passes but the records on disk.",
                "Drawn by docs/rooms.py from the imports in the code.",
            )
        )
    ]
    body = "\n  ".join([*cli, *sweeps, *reports, *carft, *notes])
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'role="img" aria-labelledby="t" font-family="system-ui, sans-serif" font-size="14" fill="#1b1f24">\n'
        '  <title id="t">Packages and subpackages of the project, and what each imports</title>\n'
        f'  <rect width="{width}" height="{height}" fill="#ffffff"/>\n  {body}\n</svg>\n'
    )


if __name__ == "__main__":
    TARGET.write_text(drawing(), encoding="utf-8")
    print(f"Written: {TARGET.relative_to(ROOT)}")
