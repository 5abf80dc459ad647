"""The glyphs of the npm package ``@iconify/json`` that may be used, with their foundries and base names.

A *foundry* is one design team with one visual style; collections that copy or continue each other are one foundry. A
*drawing* is named by foundry and base name: the glyph's name without the words for its cut.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGE = "@iconify/json"
VERSION = "2.2.535"

LICENCES = frozenset(["MIT", "Apache-2.0", "ISC", "BSD-3-Clause", "OFL-1.1", "CC0-1.0", "CC-BY-3.0", "CC-BY-4.0"])
_CATEGORIES_LEFT_OUT = frozenset({"Logos", "Emoji"})
#: emoji, brands, flags of states, diagrams and signs without pictures, which their categories do not tell
_COLLECTIONS_LEFT_OUT = (
    "academicons bitcoin-icons bpmn cib covid cryptocurrency devicon-plain duo-icons emojione-monotone fad file-icons "
    "flag fluent-emoji-high-contrast formkit gcp geo ginetex k8s map nonicons osmic svg-spinners token unjs"
)

#: foundry -> collections, where one foundry has several; every other collection is a foundry of its own
_SHARED = {
    "material": "material-symbols material-symbols-light ic mdi mdi-light zmdi line-md",
    "fontawesome": "fa fa-solid fa-regular fa6-solid fa6-regular fa7-solid fa7-regular la",
    "boxicons": "boxicons bx bxs",
    "lucide": "lucide lucide-lab feather",
    "microsoft": "fluent fluent-mdl2",
    "icon-park": "icon-park-outline icon-park-solid icon-park-twotone",
    "streamline": "streamline streamline-ultimate streamline-plump streamline-sharp streamline-cyber "
    "streamline-freehand streamline-pixel streamline-block streamline-flex",
    "ionic": "ion famicons",
    "heroicons": "heroicons heroicons-outline heroicons-solid sidekickicons",
    "pepicons": "pepicons pepicons-pop pepicons-print pepicons-pencil",
    "unicons": "uil uim uis uit",
    "glyphs": "glyphs glyphs-poly",
    "coolicons": "ci proicons",
    "maps": "maki temaki pinhead roentgen",
}
FOUNDRY_OF = {collection: foundry for foundry, names in _SHARED.items() for collection in names.split()}

_BEFORE = re.compile(
    r"^(baseline|outlined?|rounded|round|sharp|twotone|filled|fill|bold|line|duotone|bxs?|ios|md|solid|light|thin|"
    r"regular|o)-"
)
_AFTER = re.compile(
    r"-(outlined?|outlines|linear|line|filled|fills?|bold|light|thin|duotone|solid|regular|rounded|round|sharp|twotone|"
    r"two-tone|broken|o|stroke|standard|remix|flat|\d\d|\d\d?-\d|[1-3]px|\d\dpx|xs|sm|md|lg|xl|s|l|thick|black|medium|"
    r"bulk|curved)$"
)
#: cuts that are not legible at 64 pixels
_FAINT = re.compile(r"(^|-)(thin|duotone|twotone|two-tone|bulk|light|hairline)(-|$)")


@dataclass(frozen=True)
class Collection:
    """One icon set of the package."""

    title: str
    author: str
    licence: str
    """SPDX identifier."""
    version: str


@dataclass(frozen=True)
class Glyph:
    """One glyph: a cut of a drawing."""

    collection: str
    name: str
    svg: str

    @property
    def foundry(self) -> str:
        """Return the foundry of the collection."""
        return FOUNDRY_OF.get(self.collection, self.collection)

    @property
    def drawing(self) -> str:
        """Return the name of the drawing, ``<foundry>/<base name>``."""
        return f"{self.foundry}/{base_name(self.name)}"

    def __str__(self) -> str:
        return f"{self.collection}:{self.name}"


def collections(package: Path) -> dict[str, Collection]:
    """Return the single-colour collections under an open licence, by prefix."""
    listed = json.loads((package / "collections.json").read_text(encoding="utf-8"))
    return {
        prefix: Collection(entry["name"], entry["author"]["name"], entry["license"]["spdx"], entry.get("version", ""))
        for prefix, entry in sorted(listed.items())
        if not entry.get("palette")
        and entry["license"].get("spdx") in LICENCES
        and entry.get("category") not in _CATEGORIES_LEFT_OUT
        and prefix not in _COLLECTIONS_LEFT_OUT.split()
    }


def glyphs(package: Path, prefix: str) -> Iterator[Glyph]:
    """Yield the legible glyphs of a collection. Aliases repeat other glyphs and are left out."""
    table = json.loads((package / "json" / f"{prefix}.json").read_text(encoding="utf-8"))
    defaults = {"left": 0, "top": 0, "width": 16, "height": 16}
    for name, icon in table["icons"].items():
        if icon.get("hidden") or _FAINT.search(name):
            continue
        box = [icon.get(key, table.get(key, default)) for key, default in defaults.items()]
        svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{" ".join(map(str, box))}">{icon["body"]}</svg>'
        yield Glyph(prefix, name, svg)


def base_name(glyph: str) -> str:
    """Return the glyph's name without the words for its cut.

    >>> base_name("car-side-outline"), base_name("baseline-credit_card"), base_name("bell-24-filled")
    ('car-side', 'credit-card', 'bell')
    """
    name = glyph.replace("_", "-")
    for words in (_AFTER, _BEFORE):
        while (shorter := words.sub("", name)) != name:
            name = shorter
    return name
