"""Pictures and YAML files that somebody made to do harm are read or refused in words.

Each kind is tried ``CARFT_HOSTILE_FILES`` times (100) from the seed ``CARFT_HOSTILE_SEED`` (40)::

    CARFT_HOSTILE_FILES=5000 python -m pytest tests/carft/data/test_hostile_files.py

No file may take ten seconds of processor time.
"""

from __future__ import annotations

import io
import os
import resource
import signal
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from carft.catalog.catalog import BUILT_IN
from carft.core.errors import UserError
from carft.data.decoding import MOST_PIXELS
from carft.data.folder.named import tasks_in
from carft.data.image_files import decode
from carft.data.indexing import unreadable
from carft.data.sets import picture
from carft.data.trees import IMAGES
from sweeps.recipes.loading import parse_recipe
from tests.support.folder import draw_pets, write_tasks
from tests.support.helpers import ROOT, TASK, run_cli

COUNT = int(os.environ.get("CARFT_HOSTILE_FILES", "100"))
SEED = int(os.environ.get("CARFT_HOSTILE_SEED", "40"))
#: seconds of processor time of one file
SECONDS = 10.0


@contextmanager
def no_hang() -> Iterator[None]:
    """End what takes more than ``SECONDS`` of processor time, which a busy machine does not lengthen."""
    with _limited(signal.ITIMER_PROF, signal.SIGPROF, SECONDS, "of processor time"):
        yield


@contextmanager
def no_wait() -> Iterator[None]:
    """End what waits for a pipe that nobody writes to: five minutes, which no busy machine needs."""
    with _limited(signal.ITIMER_REAL, signal.SIGALRM, 300.0, "and waits"):
        yield


@contextmanager
def _limited(timer: int, sent: signal.Signals, seconds: float, of_what: str) -> Iterator[None]:
    def end(*_: object) -> None:
        raise TimeoutError(f"it took more than {seconds:g} s {of_what}")

    before = signal.signal(sent, end)
    signal.setitimer(timer, seconds)
    try:
        yield
    finally:
        signal.setitimer(timer, 0)
        signal.signal(sent, before)


@pytest.fixture(scope="module")
def pets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_pets(tmp_path_factory.mktemp("hostile"))


# pictures

POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n0 0 9 9 rectfill\nshowpage\n%%EOF\n"


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that a ``gs`` on the search path writes when it is started."""
    mark, program = tmp_path / "started", tmp_path / "bin" / "gs"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ntouch '{mark}'\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    return mark


@pytest.mark.parametrize("ending", IMAGES)
def test_a_postscript_file_starts_no_program_whatever_it_is_called(started: Path, tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"photo{ending}"
    path.write_bytes(POSTSCRIPT)
    with pytest.raises(UserError, match="cannot be read"):
        decode(path)
    assert list(unreadable([path])) == [path] and not started.exists()
    with suppress(Exception), Image.open(path) as image:
        image.load()
    assert started.exists(), "the test cannot fail: Pillow alone starts no program"


@pytest.mark.parametrize("ending", IMAGES)
def test_every_format_that_the_docs_name_is_read(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"photo{ending}"
    picture(1, side=12).save(path)
    assert decode(path).shape == (3, 12, 12)
    path.rename(other := path.with_suffix(".png"))  # the content decides, as in ImageNet, where a JPEG is a PNG
    assert decode(other).shape == (3, 12, 12)


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def vast_png(side: int) -> bytes:
    """A PNG file whose header says that it has so many pixels on a side, and that holds few."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(10**6))) + chunk(b"IEND", b"")


def vast_jpeg(side: int, progressive: bool = False) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(stream, "JPEG", progressive=progressive)
    content = bytearray(stream.getvalue())
    place = content.index(b"\xff\xc2" if progressive else b"\xff\xc0")
    content[place + 5 : place + 9] = struct.pack(">HH", side, side)
    return bytes(content)


def vast_webp(side: int) -> bytes:
    size = (side - 1).to_bytes(3, "little") * 2
    frame = io.BytesIO()
    Image.new("RGB", (1, 1)).save(frame, "WEBP")
    body = b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + size + frame.getvalue()[12:]
    return b"RIFF" + struct.pack("<I", len(body)) + body


VAST: dict[str, bytes] = {
    "photo.png": vast_png(30_000),
    "photo.jpg": vast_jpeg(30_000),
    "wide.jpg": vast_jpeg(65_000),
    "progressive.jpg": vast_jpeg(30_000, progressive=True),
    "edge.jpg": vast_jpeg(10_000),
    "photo.ppm": b"P6 30000 30000 255\n",
    "photo.webp": vast_webp(16_383),
}


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("name", VAST)
def test_a_picture_that_is_too_large_is_refused_by_its_header(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(VAST[name])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with no_hang(), pytest.raises(UserError, match=f"it has more than {MOST_PIXELS:,} pixels"):
        decode(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024  # a decoded one takes 300 MB


def test_a_named_pipe_is_named_and_never_opened(tmp_path: Path) -> None:
    tree, lists, model = draw_pets(tmp_path), tmp_path / "dtd" / "dtd" / "labels", tmp_path / "model"
    tasks = write_tasks(tmp_path, {"name": "zoo/pets", "path": str(tree)})
    run_cli("data", "check", "dtd", "--fake", "--data", tmp_path)
    (lists / "val1.txt").unlink()
    model.mkdir()
    (model / "open_clip_model.safetensors").write_bytes(b"")
    for pipe in (tree / "photo" / "cat" / "pipe.png", lists / "val1.txt", model / "open_clip_config.json"):
        os.mkfifo(pipe)
    asked: list[tuple[tuple[object, ...], int, str]] = [
        (("data", "check", "zoo/pets", "--tasks-file", tasks), 1, "pipe.png' is no plain file"),
        (("data", "check", "dtd", "--data", tmp_path), 2, "val1.txt' is no plain file"),
        (
            ("train", "--method", "zeroshot", "--model", f"local-dir:{model}", "--task", TASK),
            2,
            "There are no weights in",
        ),
    ]
    for arguments, code, says in asked:
        with no_wait():
            done = run_cli(*arguments)
        assert done.returncode == code, done.stderr
        assert says in " ".join(f"{done.stdout} {done.stderr}".split())


def spoiled(content: bytes, rng: np.random.Generator, tokens: list[bytes]) -> bytes:
    """The content with a few of its bytes set, removed, repeated or replaced by a token."""
    changed = bytearray(content)
    for _ in range(rng.integers(1, 6)):
        place = int(rng.integers(0, len(changed) + 1))
        length = int(rng.integers(1, 9))
        what = rng.integers(5)
        if what == 0:
            changed[place : place + length] = rng.bytes(length)
        elif what == 1:
            changed[place : place + length] = b""
        elif what == 2:
            changed[place:place] = changed[place : place + 50 * length]
        elif what == 3:
            token = tokens[rng.integers(len(tokens))]
            changed[place : place + len(token) * int(rng.integers(2))] = token
        elif rng.integers(4) == 0:
            del changed[place:]
    return bytes(changed)


# YAML files


TASKS_TEXT = """
tasks:
  - name: zoo/cats
    path: pets
    id_domains: [photo, scan]
    class_names: {guinea_pig: cavy}
    prompts: {sketch: "a pencil drawing of a {}."}
    metric: mean_per_class
    private: true
  - {name: zoo/dogs, path: pets, leave_one_out: true}
"""
#: what YAML, pydantic and terminals take for more than text
YAML_TOKENS = [
    b"!!python/object/apply:os.system [exit]", b"!!binary x", b"!!set", b"&a ", b"*a", b"<<: *a", b"? ", b"- " * 400,
    b"[" * 2000, b"{" * 300, b"|", b">", b"%YAML 9.9\n---\n", b"\n---\n", b"\t", b"\0", b"\xff", b"\xe2\x80\xae",
    b"\x1b]0;x\x07", b": ", b"#", b"'", b'"', b"9" * 5000, b"1e999", b".nan", b"-.inf", b"2026-99-99", b"0x",
    b"1:60:99", b"~", b"null", b"(?P<n>", b"{}", b"..",
    b"/etc/passwd", b"a" * 5000, b"\n  ", b"tasks:\n",
]  # fmt: skip


def read_tasks(path: Path) -> None:
    tasks_in(path)


def read_recipe(path: Path) -> None:
    parse_recipe(path.read_bytes().decode("utf-8", "replace"), str(path), catalog=BUILT_IN)


READERS: dict[str, tuple[Callable[[], str], Callable[[Path], None]]] = {
    "tasks file": (lambda: TASKS_TEXT, read_tasks),
    "recipe": (lambda: (ROOT / "sweeps" / "recipes" / "ood.yaml").read_text(), read_recipe),
}


@pytest.mark.parametrize("kind", READERS)
def test_spoiled_yaml_files_are_read_or_refused(pets: Path, kind: str) -> None:
    rng, path = np.random.default_rng(SEED), pets.parent / "spoiled.yaml"
    write, use = READERS[kind]
    text = write().encode()
    for _ in range(-(-COUNT // len(READERS))):
        path.write_bytes(spoiled(text, rng, YAML_TOKENS))
        with no_hang(), suppress(UserError):
            use(path)


def test_many_keys_are_compared_in_linear_time(tmp_path: Path) -> None:
    keys = "".join(f"key{number}: 1\n" for number in range(20_000))
    (path := tmp_path / "carft.yaml").write_text(f"{keys}key7: 2\n")
    with no_hang(), pytest.raises(UserError, match="line 20001: the key 'key7' appears twice"):
        tasks_in(path)


# cards of a results folder
