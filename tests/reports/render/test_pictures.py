"""Which pictures a report holds."""

from __future__ import annotations

import pytest

from reports.render.pictures import PictureOptions

PATTERN = "patients/*"


@pytest.mark.parametrize("image", ["patients/x.png", "./patients/x.png", "patients//x.png", "a/../patients/x.png"])
def test_another_spelling_of_a_path_is_as_private(image: str) -> None:
    assert PictureOptions(private=[PATTERN]).hides("clinic", image)
    assert PictureOptions(private=["./patients/*", "other"]).hides("clinic", image)
    assert PictureOptions(private=["clinic/patients/*"]).hides("clinic", image)
    assert PictureOptions(private=["clin*"]).hides("clinic", image)


def test_other_images_are_shown() -> None:
    for image in ("visitors/x.png", "patients.png", "visitors/patients-x.png"):
        assert not PictureOptions(private=[PATTERN]).hides("clinic", image)
