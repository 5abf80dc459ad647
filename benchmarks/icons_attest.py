"""Renders every set of the built-in world and writes their digests to ``carft/data/icons/attested_sets.json``.

    python benchmarks/icons_attest.py

It takes ten minutes on one core, and a machine whose sample of pixels is attested (``carft/data/icons/tasks.py``).
"""

import sys
from pathlib import Path

from carft.core.files import write_json
from carft.data.icons.family import FAMILY
from carft.data.icons.rendering import renderings_of
from carft.data.icons.tasks import attest, image_set

TARGET = Path(__file__).parents[1] / "carft" / "data" / "icons" / "attested_sets.json"


def main() -> None:
    """Write the digests; exit code 1 on a machine that renders other pixels."""
    if attest()["attested"] != "yes":
        sys.exit("This machine renders other pixels than the attested ones.")
    found: dict[str, dict[str, dict[str, str]]] = {}
    for card in FAMILY.cards.values():
        for part in ("train", "val", *(("test",) if card.has_test else ()), *card.suites):
            images = image_set(card.name, renderings_of(card.name, part))
            found.setdefault(card.version, {}).setdefault(card.name, {})[part] = images.digest
            print(card.name, part, flush=True)
    write_json(TARGET, found)


if __name__ == "__main__":
    main()
