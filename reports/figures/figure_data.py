"""The drawn numbers of a figure, read from the figure itself, so that they can be compared and reused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import Collection, LineCollection
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

Point = tuple[float, float, float]  # x, y, value
NOTHING = float("nan")
COLUMNS = ("panel", "title", "x_axis", "y_axis", "artist", "label", "x", "y", "value")


def figure_data(figure: Figure) -> pd.DataFrame:
    """One row per point of every line, marker, bar, segment and image of a figure, in drawing order.

    The column ``value`` is the number that a colour stands for; NaN without one.
    """
    rows = []
    for panel, axes in enumerate(figure.axes):
        texts = (axes.get_title(), axes.get_xlabel(), axes.get_ylabel())
        for number, artist in enumerate(_data_artists(axes)):
            label = str(artist.get_label())
            public = "" if label.startswith("_") else label
            for x, y, value in _points(artist):
                rows.append((panel, *texts, number, public, x, y, value))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _data_artists(axes: Axes) -> list[Artist]:
    """Lines, collections, bars and images, without the background of the axes."""
    kinds = (Line2D, Collection, Rectangle, AxesImage)
    return [a for a in axes.get_children() if isinstance(a, kinds) and a is not axes.patch]


def _points(artist: Artist) -> list[Point]:
    if isinstance(artist, Line2D):
        return _places(artist.get_xydata())
    if isinstance(artist, LineCollection):
        return [point for part in artist.get_segments() for point in _places(part)]
    if isinstance(artist, Collection):
        return _collected(artist)
    if isinstance(artist, Rectangle):
        box = artist.get_bbox()
        return [(box.x0, box.y0, NOTHING), (box.x1, box.y1, NOTHING)]
    if isinstance(artist, AxesImage):
        return _values(artist.get_array())
    return []


def _collected(artist: Collection) -> list[Point]:
    """Markers with the numbers of their colours; faces of a mesh; the outline of a band."""
    places, values = _places(artist.get_offsets()), _values(artist.get_array())
    if len(values) > len(places):
        return values
    if not values and len(places) <= 1:
        return [point for path in artist.get_paths() for point in _places(path.vertices)]
    padded = [*(value for _, _, value in values), *[NOTHING] * (len(places) - len(values))]
    return [(x, y, value) for (x, y, _), value in zip(places, padded, strict=True)]


def _places(pairs: Any) -> list[Point]:
    return [(float(x), float(y), NOTHING) for x, y in _plain(pairs).reshape(-1, 2)]


def _values(numbers: Any) -> list[Point]:
    return [] if numbers is None else [(NOTHING, NOTHING, float(value)) for value in _plain(numbers).ravel()]


def _plain(numbers: Any) -> np.ndarray:
    return np.ma.filled(np.ma.asarray(numbers, dtype=float), NOTHING)
