"""The sources of the drawings: icon fonts inside two Python packages.

A *foundry* is one design team with one visual style. The fonts of a foundry (weights, filled and outlined versions,
older and newer releases) hold *cuts* of the same drawings. A drawing is therefore named by foundry and base name.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from carft.core.errors import UserError
from carft.core.files import file_digest
from carft.data.icons.world import WEIGHTS_FOLDER


@dataclass(frozen=True)
class Font:
    """A font file and the table of its glyph names, as paths in an installed package."""

    package: str
    file: str
    names: str


def _qta(file: str) -> Font:
    stem, version = file.rsplit("-", 1)
    return Font("qtawesome", f"fonts/{file}.ttf", f"fonts/{stem}-charmap-{version}.json")


def _iconipy(folder: str, file: str, names: str) -> Font:
    return Font("iconipy", f"assets/{folder}/{file}", f"assets/{folder}/{names}")


def _google(style: str, suffix: str) -> Font:
    base = f"MaterialIcons{style}-Regular"
    folder = f"material_icons_{style.lower()}_regular".replace("__", "_")
    return _iconipy(folder, f"{base}.{suffix}", f"{base}.codepoints")


#: foundry -> its fonts. Google's Material Icons and the community's Material Design Icons share drawings.
FOUNDRIES: dict[str, tuple[Font, ...]] = {
    "material": (
        _qta("materialdesignicons6-webfont-6.9.96"),
        _qta("materialdesignicons5-webfont-5.9.55"),
        _google("", "ttf"),
        _google("Outlined", "otf"),
        _google("Round", "otf"),
        _google("Sharp", "otf"),
    ),
    "fontawesome": (
        _qta("fontawesome6-solid-webfont-6.7.2"),
        _qta("fontawesome6-regular-webfont-6.7.2"),
        _qta("fontawesome5-solid-webfont-5.15.4"),
        _qta("fontawesome5-regular-webfont-5.15.4"),
    ),
    "phosphor": (_qta("phosphor-1.3.0"),),
    "remix": (_qta("remixicon-2.5.0"),),
    "elusive": (_qta("elusiveicons-webfont-2.0"),),
    "codicon": (_qta("codicon-0.0.36"),),
    "lucide": (_iconipy("lucide", "lucide.ttf", "info.json"),),
    "boxicons": (_iconipy("boxicons", "boxicons.ttf", "boxicons.css"),),
    "lineicons": (_iconipy("lineicons", "lineicons.ttf", "unicodesMap.json"),),
    "typicons": (_iconipy("typicons", "typicons.ttf", "typicons.css"),),
}

_PREFIX = re.compile(r"^(bxs?|bxl|typcn|lni)-")
_CUT = re.compile(r"-(outline|outlined|line|fill|filled|bold|light|thin|duotone)$")


def package_root(package: str) -> Path:
    """Folder of an installed package, found without importing it (importing qtawesome needs Qt)."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise UserError(
            f"The icons world draws with the fonts of '{package}', which is not installed.",
            hint="Install the project's dependencies again: python -m pip install -e .",
        )
    return Path(spec.submodule_search_locations[0])


def font_path(font: Font) -> Path:
    """Return the path of the font file."""
    return package_root(font.package) / font.file


def fonts_digest() -> str:
    """Return sha256 over all font files and their tables of glyph names."""
    digest = hashlib.sha256()
    for fonts in FOUNDRIES.values():
        for font in fonts:
            for path in (font_path(font), package_root(font.package) / font.names):
                digest.update(bytes.fromhex(file_digest(path)))
    return digest.hexdigest()


def require_present() -> None:
    """Raise ``UserError`` unless the fonts and the built-in weights exist. Opens neither."""
    for fonts in FOUNDRIES.values():
        for font in fonts:
            if not font_path(font).is_file():
                raise UserError(
                    f"The font {font.file} is not in the installed '{font.package}'.",
                    "Install the versions that the project asks for: python -m pip install -e .",
                )
    if not (WEIGHTS_FOLDER / "icons-resnet.safetensors").is_file():
        raise UserError(
            f"The built-in weights are missing: {WEIGHTS_FOLDER / 'icons-resnet.safetensors'}.",
            "Install the project again, or make them with: python cli.py icons pretrain",
        )


@cache
def glyph_names(font: Font) -> dict[str, int]:
    """Return glyph name -> code point, in the order of the file."""
    text = (package_root(font.package) / font.names).read_text(encoding="utf-8")
    if font.names.endswith(".codepoints"):
        return {name: int(code, 16) for name, code in (line.split() for line in text.splitlines() if line)}
    if font.names.endswith(".css"):
        found = re.findall(r"\.([\w-]+):before\s*\{\s*content:\s*\"\\([0-9a-fA-F]+)\"", text)
        return {name: int(code, 16) for name, code in found}
    table = json.loads(text)
    return {name: _code_point(entry) for name, entry in table.items()}


def _code_point(entry: str | int | dict[str, str]) -> int:
    if isinstance(entry, int):
        return entry
    if isinstance(entry, dict):
        entry = entry["encodedCode"].lstrip("\\")
    return int(entry.removeprefix("0x"), 16)


def base_name(glyph: str) -> str:
    """Return the name of the drawing: the glyph's name without the prefix of the font and the words for the cut.

    >>> base_name("car-side-outline"), base_name("bxs-car"), base_name("credit_card")
    ('car-side', 'car', 'credit-card')
    """
    name = _PREFIX.sub("", glyph.replace("_", "-"))
    while (shorter := _CUT.sub("", name)) != name:
        name = shorter
    return name
