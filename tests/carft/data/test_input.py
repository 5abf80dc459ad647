"""The way of images from files to the device: decoder, threads, batches made ahead."""

from __future__ import annotations

import io
import multiprocessing
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFile
from torch._inductor import config as compiler

from carft.core import machine
from carft.core.errors import UnreadableImage, UserError
from carft.core.machine import cpu_quota, memory_limit
from carft.data import decoding, image_files, views
from carft.data.decoding import decode_pixels, decoders, set_decoders
from carft.data.image_files import Files, decode, jpeg_decoder, jpeg_pixels
from carft.data.indexing import unreadable
from carft.data.sets import picture
from carft.data.views import AHEAD, CentreView, Feed, TrainView, batches
from carft.training.execution import Execution
from carft.training.schedule import draws
from tests.support.helpers import environment

#: JPEG files of a comparison, and those of them that are damaged
MANY, DAMAGED = 150, 50


def random_jpeg(rng: np.random.Generator) -> bytes:
    """A JPEG file of any kind, size and quality."""
    width, height = (int(side) for side in rng.integers(1, 180, 2))
    rough = int(rng.choice([1, 3, 9]))
    shape = (max(1, height // rough), max(1, width // rough), 3)
    image = Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).resize((width, height))
    mode = str(rng.choice(["RGB", "RGB", "RGB", "L", "CMYK"]))
    options = {"subsampling": int(rng.integers(3))} if mode == "RGB" else {}
    stream = io.BytesIO()
    image.convert(mode).save(
        stream, "JPEG", quality=int(rng.integers(5, 96)), progressive=bool(rng.integers(2)), **options
    )
    return stream.getvalue()


@pytest.fixture
def photos(tmp_path: Path) -> Files:
    """Twenty JPEG files."""
    rng = np.random.default_rng(3)
    paths = [tmp_path / f"{number}.jpg" for number in range(20)]
    for path in paths:
        path.write_bytes(random_jpeg(rng))
    return Files(paths)


@pytest.mark.parametrize("mode", ["F", "I"])
def test_tiff_files_of_32_bits_are_no_images(mode: str, tmp_path: Path) -> None:
    """Read as 8 or 16 bits they would be black."""
    path = tmp_path / "image.tif"
    Image.fromarray(np.linspace(0, 1, 64).reshape(8, 8).astype(np.float32)).convert(mode).save(path)
    with pytest.raises(UnreadableImage, match="32 bits"):
        decode_pixels(path)


def test_torchvision_decodes_to_the_pixels_of_pillow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three subsamplings, grey and CMYK, baseline and progressive, whole and damaged."""
    monkeypatch.setattr(ImageFile, "MAXBLOCK", 2**20)
    assert jpeg_decoder() == "torchvision"
    rng, path, decoded = np.random.default_rng(0), tmp_path / "one.jpg", 0
    for number in range(MANY):
        data = bytearray(random_jpeg(rng))
        if number < DAMAGED:
            data[int(rng.integers(2, len(data)))] = int(rng.integers(256))
        path.write_bytes(data)
        found = jpeg_pixels(path)
        if found is not None:
            decoded += 1
            np.testing.assert_array_equal(found.permute(1, 2, 0).numpy(), decode_pixels(path))
    assert decoded >= MANY - DAMAGED


def test_pillow_decodes_where_the_pixels_of_torchvision_differ(photos: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, torchvision_s = photos[0], image_files.decode_by_torchvision
    monkeypatch.setattr(image_files, "decode_by_torchvision", lambda data: torchvision_s(data) ^ 1)
    jpeg_decoder.cache_clear()
    try:
        assert jpeg_decoder() == "pillow" and jpeg_pixels(photos.paths[0]) is None
        assert torch.equal(photos[0], plain)
    finally:
        jpeg_decoder.cache_clear()


@pytest.mark.parametrize(
    ("version", "files", "expected"),
    [
        ("0::/job/step", {"job/cpu.max": "250000 100000", "job/step/cpu.max": "max 100000"}, 2.5),
        ("0::/job/step", {"job/step/cpu.max": "max 100000"}, np.inf),
        ("0::/elsewhere", {"cpu.max": "400000 100000"}, 4.0),
    ],
)
def test_the_quota_of_a_cgroup_is_the_smallest_of_those_above_it(
    tmp_path: Path, version: str, files: dict[str, str], expected: float
) -> None:
    write_groups(tmp_path, version, files)
    assert cpu_quota(tmp_path, tmp_path / "own") == expected


@pytest.mark.parametrize(
    ("version", "files", "expected"),
    [
        ("0::/job/step", {"job/memory.max": "4096", "job/step/memory.max": "max"}, 4096),
        ("0::/job", {}, np.inf),
    ],
)
def test_the_memory_limit_of_a_cgroup_is_the_smallest_of_those_above_it(
    tmp_path: Path, version: str, files: dict[str, str], expected: float
) -> None:
    write_groups(tmp_path, version, files)
    assert memory_limit(tmp_path, tmp_path / "own") == expected


def write_groups(root: Path, version: str, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{text}\n")
    (root / "own").write_text(f"{version}\n")


def test_decoding_threads_follow_the_quota_and_what_a_sweep_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda process: set(range(64)))
    monkeypatch.setattr(machine, "cpu_quota", lambda: 5.9)
    monkeypatch.setattr(compiler, "compile_threads", 64)
    try:
        set_decoders(0)
        assert decoders() == 5
        Execution(decoders=3, compile=True).prepare()
        assert decoders() == compiler.compile_threads == 3
        set_decoders(100)
        assert decoders() == 5
        monkeypatch.setattr(machine, "cpu_quota", lambda: 64.0)
        assert decoders() == decoding.MOST_DECODERS
    finally:
        set_decoders(0)


def test_batches_of_files_are_put_together_in_the_decoding_threads(
    photos: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The main thread only waits: stacking 512 images there takes 45 ms in which a GPU gets no work."""
    plan, view = [np.arange(20), np.array([7, 3, 3])], TrainView(draws(0, 0, 20), 32, 0.9)
    expected = [torch.stack([view(photos[int(row)], int(row)) for row in rows]) for rows in plan]
    writers, fill = set(), views.fill_batch

    def noted(*given: object) -> None:
        writers.add(threading.current_thread())
        fill(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(views, "fill_batch", noted)
    monkeypatch.setattr(torch, "stack", None)
    found = list(batches(photos, plan, view))
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
    assert writers and threading.main_thread() not in writers


def test_pixels_in_memory_are_made_ahead_for_a_gpu() -> None:
    asked = threading.Semaphore(0)

    class Noted(CentreView):
        def __call__(self, image: torch.Tensor, row: int) -> torch.Tensor:
            asked.release()
            return super().__call__(image, row)

    pixels = torch.arange(6 * 3 * 16, dtype=torch.uint8).reshape(6, 3, 4, 4)
    plan = [np.array([row]) for row in range(6)]
    made = views.read_ahead(pixels, plan, Noted(4), pinned=False)
    first = next(made)
    assert all(asked.acquire(timeout=10) for _ in range(AHEAD + 1))
    assert torch.equal(torch.cat([first, *made]), pixels)


def test_batches_for_inference_are_written_by_other_threads(photos: Files) -> None:
    with torch.inference_mode():
        (found,) = batches(photos, [np.arange(20)], CentreView(16))
    assert found.shape == (20, 3, 16, 16)


def test_processes_make_the_same_batches_and_draw_nothing_of_their_own(photos: Files) -> None:
    plan, view = [np.arange(20), np.array([7, 3, 3]), np.array([1])], TrainView(draws(0, 0, 20), 32, 0.9)
    before = torch.get_rng_state()
    found = list(batches(photos, plan, view, processes=2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(one, other) for one, other in zip(found, batches(photos, plan, view), strict=True))


def test_an_image_that_a_process_cannot_read_is_named_with_what_to_do(photos: Files) -> None:
    photos.paths[5].write_bytes(b"no image")
    with pytest.raises(UnreadableImage, match=r"5\.jpg") as caught:
        list(batches(photos, [np.arange(20)], CentreView(16), processes=2))
    assert "data check" in caught.value.hint


def test_what_lost_processes_leave_is_made_by_threads(photos: Files) -> None:
    plan, view = [np.arange(20)] * 40, CentreView(16)
    found = batches(photos, plan, view, processes=2)
    first = next(found)
    for process in multiprocessing.active_children():
        process.kill()
    rest = list(found)
    assert len(rest) == 39 and all(torch.equal(one, first) for one in rest)


class Faulty(CentreView):
    """A view with a fault in its code."""

    def __call__(self, image: torch.Tensor, row: int) -> torch.Tensor:
        raise OSError("shared memory is not what this says")


def test_a_fault_in_what_processes_do_is_no_loss_of_them(photos: Files) -> None:
    with pytest.raises(OSError, match="Caught OSError"):
        list(batches(photos, [np.arange(20)], Faulty(16), processes=2))


def test_processes_end_with_the_one_that_started_them(photos: Files) -> None:
    """Killed, it cannot end them itself. It has no ``__main__`` guard: no process runs it again."""
    script = (
        "import sys, time; from pathlib import Path; import numpy as np\n"
        "from carft.data.image_files import Files; from carft.data.views import CentreView, batches\n"
        "files = Files([Path(name) for name in sys.argv[1:]])\n"
        "next(made := batches(files, [np.arange(20)] * 40, CentreView(16), processes=2)); print('made', flush=True)\n"
        "time.sleep(600)\n"
    )
    path = photos.paths[0].with_name("script.py")
    path.write_text(script)
    command = [sys.executable, path, *map(str, photos.paths)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment()) as started:
        assert started.stdout is not None and started.stdout.readline() == "made\n"
        begun = psutil.Process(started.pid).children(recursive=True)
        started.kill()
    assert len(begun) >= 3  # the server of forks, and two of them
    _, alive = psutil.wait_procs(begun, timeout=120)
    assert not alive


def test_a_feed_counts_the_seconds_of_waiting(photos: Files) -> None:
    feed = Feed(photos, [np.arange(20)] * 2, CentreView(16), torch.device("cpu"))
    assert feed.waited_s == 0 and len(list(feed)) == 2 and feed.waited_s > 0


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
    assert str(path) in str(caught.value)
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
