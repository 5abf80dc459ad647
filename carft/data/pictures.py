"""Single held-out images as pictures for people, found by the names that predictions give them. No torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np

from carft.core.errors import UserError
from carft.data.card import Card
from carft.data.decoding import decode_pixels
from carft.data.domainbed.cards import DATA_SETS as DOMAINBED
from carft.data.domainbed.cards import FAMILIES
from carft.data.downstream.cards import DATA_SETS as DOWNSTREAM
from carft.data.folder.named import located, version_of
from carft.data.icons.drawings import Drawing, census
from carft.data.icons.rendering import render
from carft.data.icons.world import PROMPTS
from carft.data.imagenet.cards import DATA_SETS as IMAGENET
from carft.data.imagenet.layout import BORDER

#: (card, held-out set, name of the image, data root) -> (H, W, 3) uint8
Finder = Callable[[Card, str, str, Path | None], np.ndarray]


def picture_of(card: Card, held_out: str, name: str, root: Path | None = None) -> np.ndarray:
    """Return an image of a task as (H, W, 3) uint8 RGB, whole and at its own size.

    Args:
        card: The task.
        held_out: ``test`` or ``ood/<suite>``.
        name: Name of the image in predictions.
        root: Data root; None where no data folder is known.

    Raises:
        UserError: The data are not here, changed, or hold no readable image of this name.
    """
    if card.loader not in FINDERS:
        raise UserError(
            f"Pictures of {card.name} cannot be found.", f"Name a finder for {card.loader} in carft/data/pictures.py."
        )
    return FINDERS[card.loader](card, held_out, name, root)


def _icon(card: Card, held_out: str, name: str, root: Path | None) -> np.ndarray:
    rest, _, number = name.rpartition("/")
    drawing, _, context = rest.rpartition("/")
    if drawing not in _drawings() or context not in PROMPTS or not number.isdecimal():
        raise _unknown(card, name)
    return render(_drawings()[drawing], context, int(number))


@lru_cache(maxsize=1)
def _drawings() -> Mapping[str, Drawing]:
    return {drawing.name: drawing for drawing in census()}


def _own(card: Card, held_out: str, name: str, root: Path | None) -> np.ndarray:
    tree, _ = located(card.name)
    if not card.version.startswith(version_of(tree)):
        raise UserError(f"'{tree.root}' changed since {card.name} was run.", "Its pictures are left out.")
    return decode_pixels(_inside(card, tree.base, name))


def _downstream(card: Card, held_out: str, name: str, root: Path | None) -> np.ndarray:
    data_set = DOWNSTREAM[card.name]
    folder = _root(card, root) / data_set.folder
    if not data_set.packed:
        return decode_pixels(_inside(card, folder, name))
    file, _, number = name.rpartition("/")
    if not number.isdecimal():
        raise _unknown(card, name)
    return data_set.packed_picture(_inside(card, folder, file) / number)


def _domainbed(card: Card, held_out: str, name: str, root: Path | None) -> np.ndarray:
    data_set = DOMAINBED[card.name.split("/")[0]]
    domain, _, file = name.partition("/")
    if domain not in FAMILIES[data_set.name].domains:
        raise _unknown(card, name)
    folder = _root(card, root) / data_set.folder / FAMILIES[data_set.name].domains[domain].folder
    return decode_pixels(_inside(card, folder, file))


def _imagenet(card: Card, held_out: str, name: str, root: Path | None) -> np.ndarray:
    data_set = held_out.removeprefix("ood/") if held_out.startswith("ood/") else "imagenet"
    base = _root(card, root) / IMAGENET[data_set].folder
    folder = base / "val" if data_set == "imagenet" else base
    return decode_pixels(_inside(card, folder, name), BORDER if data_set == "objectnet" else 0)


#: loader of a task's card -> where it finds an image
FINDERS: Mapping[str, Finder] = {
    "carft.data.icons.tasks": _icon,
    "carft.data.icons.domains": _icon,
    "carft.data.folder.tasks": _own,
    "carft.data.downstream.tasks": _downstream,
    "carft.data.domainbed.tasks": _domainbed,
    "carft.data.imagenet.tasks": _imagenet,
}


def _root(card: Card, root: Path | None) -> Path:
    if root is None:
        raise UserError(f"Where the images of {card.name} lie was not said.", "Give --data ROOT.")
    return root


def _inside(card: Card, folder: Path, name: str) -> Path:
    """The path of an image. A results folder may come from others, so its names must not lead out of the data."""
    path = folder / name
    if ".." in Path(name).parts or Path(name).is_absolute() or not path.is_file():
        raise _unknown(card, name)
    return path


def _unknown(card: Card, name: str) -> UserError:
    return UserError(f"{card.name} has no image called '{name}' here.", "Its picture is left out.")
