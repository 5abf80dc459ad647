"""Image files as the world has them: kinds that are decoded, and kinds that are refused by name."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from carft.core.errors import UserError
from carft.data.files import Files, decode
from carft.data.fixtures import picture
from carft.data.listing import unreadable

PLAIN = picture(3, side=20)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def wide() -> Image.Image:
    """A 16-bit grayscale picture: 257 times an 8-bit one."""
    return Image.fromarray(np.asarray(PLAIN.convert("L"), np.uint16) * 257)


KINDS = {
    "grayscale": (encoded(PLAIN.convert("L"), "JPEG", quality=95), PLAIN.convert("L").convert("RGB"), 4),
    "cmyk": (encoded(PLAIN.convert("CMYK"), "JPEG", quality=95), PLAIN, 30),
    "16-bit": (encoded(wide(), "PNG"), PLAIN.convert("L").convert("RGB"), 0),
    "animated": (encoded(PLAIN, "GIF", save_all=True, append_images=[picture(9, side=20)]), PLAIN, 12),
    "palette": (encoded(PLAIN.convert("P"), "PNG"), PLAIN, 40),
    "transparent": (encoded(Image.new("RGBA", (20, 20), (9, 9, 9, 0)), "PNG"), Image.new("RGB", (20, 20), "white"), 0),
    "one bit": (encoded(PLAIN.convert("1"), "PNG"), PLAIN.convert("1").convert("RGB"), 0),
    "webp": (encoded(PLAIN, "WEBP", lossless=True), PLAIN, 0),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_becomes_three_channels(kind: str, tmp_path: Path) -> None:
    content, expected, tolerance = KINDS[kind]
    (tmp_path / "image").write_bytes(content)
    found = decode(tmp_path / "image")
    assert found.shape == (3, 20, 20) and found.dtype == torch.uint8
    difference = np.abs(found.permute(1, 2, 0).numpy().astype(float) - np.asarray(expected, float))
    assert difference.mean() <= tolerance


@pytest.mark.parametrize(
    "content", [b"", b"GIF89a", b"not an image", encoded(PLAIN, "JPEG")[:-200], encoded(PLAIN, "PNG")[:-40]]
)
def test_what_cannot_be_decoded_whole_is_refused_by_name(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "broken.jpg"
    path.write_bytes(content)
    with pytest.raises(UserError, match="cannot be read") as caught:
        Files((path,))[0]
    assert str(path) in str(caught.value) and "--skip-unreadable" in str(caught.value)
    assert list(unreadable([path])) == [path]


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a file is written again and again."""
    return tmp_path_factory.mktemp("damaged") / "image"


@pytest.mark.filterwarnings("ignore::UserWarning")
@given(kind=st.sampled_from(["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF"]), data=st.data())
def test_a_damaged_file_is_an_image_or_a_refusal(damaged: Path, kind: str, data: st.DataObject) -> None:
    """Cut anywhere, and with a byte changed: never another error."""
    content = bytearray(encoded(picture(1, side=12), kind))
    content = content[: data.draw(st.integers(0, len(content)))]
    if content:
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    damaged.write_bytes(bytes(content))
    try:
        assert decode(damaged).shape[0] == 3
    except UserError as refusal:
        assert str(damaged) in refusal.message
