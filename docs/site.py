"""Hooks of the documentation site: README as its first page, files outside docs/ that pages link to, and formulas.

MkDocs calls the functions by their names (mkdocs.org, "Hooks").
"""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
#: folder of the site with files from outside docs/
OUTSIDE = "files"
#: target of a link, beside its text or in a definition of two characters, such as ``[a1]: TARGET``
LINK = re.compile(r"(?:(?<=\]\()|(?<=\n\[..\]: ))(?!\w+:|#)([^)#\s]*)")
FORMULA = re.compile(r"\$\$(.+?)\$\$|\$(\S(?:[^$\n]*?\S)?)\$", re.DOTALL)
#: code, in which nothing is a formula
CODE = re.compile(r"(```.*?```|`[^`\n]+`)", re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the first page and every file outside docs/ that a page links to."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    files.append(File.generated(config, "index.md", content=LINK.sub(lambda link: _from_root(link[1]), readme)))
    for page in [*files.documentation_pages()]:
        for link in LINK.findall(page.content_string):
            source = _outside(link)
            if source is not None and files.get_file_from_path(_site_path(source)) is None:
                content = _listing(source) if source.is_dir() else source.read_bytes()
                files.append(File.generated(config, _site_path(source), content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links to copied files, and write formulas as MathML, which browsers show without a script."""
    markdown = LINK.sub(lambda link: _site_path(source) if (source := _outside(link[1])) else link[1], markdown)
    parts = CODE.split(markdown)
    return "".join(part if CODE.fullmatch(part) else FORMULA.sub(_mathml, part) for part in parts)


def _from_root(link: str) -> str:
    """A link of README as one of a page in docs/."""
    return link.removeprefix("docs/") if link.startswith("docs/") else f"../{link}" if link else link


def _outside(link: str) -> Path | None:
    """The file or folder outside docs/ that a link leads to; None for any other link."""
    if not link.startswith("../"):
        return None
    path = (ROOT / "docs" / unquote(link)).resolve()
    return path if path.exists() else None


def _site_path(source: Path) -> str:
    """Path of a copied file in the site. Text that a browser would offer to save gets a name that it shows."""
    path = f"{OUTSIDE}/{source.relative_to(ROOT).as_posix()}"
    return path if source.suffix in {".png", ".svg"} else f"{path}.txt"


def _listing(folder: Path) -> str:
    """The names of what a folder holds."""
    names = sorted(path.name + "/" * path.is_dir() for path in folder.iterdir())
    return "\n".join([f"{folder.relative_to(ROOT).as_posix()}/ of the project holds:", "", *names, ""])


def _mathml(formula: re.Match[str]) -> str:
    block, inline = formula.groups()
    if not block:
        return convert(inline)
    return f'<div style="overflow-x: auto">{convert(block, display="block")}</div>'
