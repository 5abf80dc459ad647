"""What the report says of pictures."""

from __future__ import annotations

from carft.core.errors import UserError
from reports.words.provenance_words import without_picture


def test_images_without_a_picture_are_told_where_something_is_private_or_broken() -> None:
    assert without_picture(None, {}) == []
    assert without_picture(0, {"a": UserError("No data.")}) == [
        "0 private images have no picture.",
        "a has images without a picture. No data.",
    ]
