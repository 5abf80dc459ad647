"""Shards of images become class folders, wherever they lie, and once each."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet
from scipy.io import savemat

from carft.config.catalog import BUILT_IN
from carft.data.imagenet.family import SYNSETS
from carft.data.indexing import indexed
from carft.data.trees import IMAGES
from tests.support.buckets import BUCKET, Server
from tests.support.helpers import run_cli


def picture(number: int, kind: str = "PNG") -> bytes:
    """The file of a small image whose colour is its number."""
    stream = io.BytesIO()
    Image.new("RGB", (4, 4), (number, 0, 0)).save(stream, kind)
    return stream.getvalue()


def tar(path: Path, files: Mapping[str, bytes], mode: Any = "w") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def table(path: Path, labels: list[Any], metadata: dict[str, Any] | None = None, column: str = "label") -> Path:
    rows = [{"bytes": picture(n), "path": f"photo-{n}.png" if n else None} for n, _ in enumerate(labels)]
    made = pa.table({"image": rows, column: labels})
    notes = {"huggingface": json.dumps({"info": {"features": metadata}})} if metadata else {}
    parquet.write_table(made.replace_schema_metadata(notes), path)
    return path


def tree(root: Path) -> dict[str, bytes]:
    """Path -> bytes of every image."""
    found = [path for path in root.rglob("*") if path.suffix in IMAGES]
    return {str(path.relative_to(root)): path.read_bytes() for path in found}


def stage(*arguments: object, expect: int = 0, env: Mapping[str, str] | None = None) -> Any:
    done = run_cli("data", "stage", *arguments, env=dict(env) if env else None)
    assert done.returncode == expect, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """Two WebDataset tars of three images each."""
    source = tmp_path / "shards"
    for shard in range(2):
        samples = {}
        for number in range(3 * shard, 3 * shard + 3):
            samples |= {f"im-{number}.png": picture(number), f"im-{number}.cls": str(number % 2).encode()}
        tar(source / f"set-{shard:04d}.tar", samples)
    return source


EXPECTED = {f"{('cat', 'dog')[n % 2]}/im-{n}.png": picture(n) for n in range(6)}


def test_webdataset_tars_become_class_folders_and_a_second_run_does_nothing(tmp_path: Path, shards: Path) -> None:
    (tmp_path / "names.txt").write_text("cat\ndog\n")
    command = (shards, "--to", tmp_path / "out", "--classes", tmp_path / "names.txt")
    assert "2 shards, 2 new: 6 images" in stage(*command).stdout
    assert tree(tmp_path / "out") == EXPECTED
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.png")}
    assert json.loads(stage(*command, "--json").stdout)["new"] == 0
    assert times == {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.png")}


def test_only_the_shard_that_misses_an_image_is_unpacked_again(tmp_path: Path, shards: Path) -> None:
    out = tmp_path / "out"
    stage(shards, "--to", out)
    (out / "0000" / "im-0.png").write_bytes(b"")
    assert json.loads(stage(shards, "--to", out, "--json").stdout)["new"] == 1
    assert tree(out) == {f"{n % 2:04d}/im-{n}.png": picture(n) for n in range(6)}


def test_check_names_an_image_whose_bytes_changed(tmp_path: Path, shards: Path) -> None:
    out = tmp_path / "out"
    stage(shards, "--to", out, "--check")
    path = out / "0001" / "im-3.png"
    path.write_bytes(bytes(reversed(path.read_bytes())))  # the same size
    said = stage(shards, "--to", out, "--check", expect=1)
    assert "1 of them changed" in said.stdout and str(path) in said.stdout and "Delete these files" in said.stderr
    path.unlink()
    stage(shards, "--to", out, "--check")


def test_tars_of_class_folders_keep_their_paths(tmp_path: Path) -> None:
    files = {"./sketch/cat/a.b.png": picture(1), "photo/dog/c.png": picture(2), "photo/readme.txt": b"no image"}
    tar(tmp_path / "in" / "all.tar.gz", files, "w:gz")
    stage(tmp_path / "in", "--to", tmp_path / "out")
    assert tree(tmp_path / "out") == {"sketch/cat/a.b.png": picture(1), "photo/dog/c.png": picture(2)}


def test_tables_name_their_classes(tmp_path: Path) -> None:
    file = table(tmp_path / "train-0.parquet", [1, 0], {"label": {"names": ["cat", "dog"]}})
    stage(file, "--to", tmp_path / "out")
    assert tree(tmp_path / "out") == {"dog/train-0-000000.png": picture(0), "cat/photo-1.png": picture(1)}


def test_a_table_has_its_classes_in_the_column_that_is_named(tmp_path: Path) -> None:
    file = table(tmp_path / "train.parquet", ["cat", "dog"], column="animal")
    assert "--label" in stage(file, "--to", tmp_path / "out", expect=2).stderr
    stage(file, "--to", tmp_path / "out", "--label", "animal")
    assert set(tree(tmp_path / "out")) == {"cat/train-000000.png", "dog/photo-1.png"}


def test_a_staged_data_set_is_the_same_data(tmp_path: Path) -> None:
    """The digest over path, label and size of every image is that of the tree from which the tars were made."""
    run_cli("data", "fixture", "imagenet-a", "--data", tmp_path / "first")
    folders = sorted(path for path in (tmp_path / "first" / "imagenet-a").iterdir() if path.is_dir())
    for number, part in enumerate((folders[:100], folders[100:])):
        images = {f"{p.parent.name}/{p.name}": p.read_bytes() for folder in part for p in folder.iterdir()}
        tar(tmp_path / "in" / f"{number}.tar", images)
    stage(tmp_path / "in", "--to", tmp_path / "second" / "imagenet-a")
    data_set = BUILT_IN.data_sets("imagenet-a")[0]
    first, second = (indexed(data_set, tmp_path / root) for root in ("first", "second"))
    assert any(first.splits.values()) and first.digest == second.digest


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.stop()


def test_shards_and_class_folders_are_read_from_an_object_store(tmp_path: Path, shards: Path, server: Server) -> None:
    for path in shards.iterdir():
        server.client.upload_file(str(path), BUCKET, f"packed/{path.name}")
    for name, content in EXPECTED.items():
        server.client.put_object(Bucket=BUCKET, Key=f"plain/{name}", Body=content)
    machine = server.machine(tmp_path / "mirrors")
    stage(f"s3://{BUCKET}/packed", "--to", tmp_path / "packed", "--classes", _names(tmp_path), env=machine)
    stage(f"s3://{BUCKET}/plain", "--to", tmp_path / "plain", env=machine)
    assert tree(tmp_path / "packed") == tree(tmp_path / "plain") == EXPECTED
    server.stop()
    said = stage(f"s3://{BUCKET}/plain", "--to", tmp_path / "other", env=machine, expect=2).stderr
    server.start()
    assert "object store" in said


def _names(folder: Path) -> Path:
    (folder / "names.txt").write_text("cat\ndog\n")
    return folder / "names.txt"


def sample(name: str, **fields: bytes) -> dict[str, bytes]:
    return {f"{name}.{field}": content for field, content in fields.items()}


@pytest.mark.parametrize(
    ("files", "options", "says"),
    [
        ({"a": sample("one", png=picture(1))}, (), "names no class for the sample 'one'"),
        ({"a": sample("one", png=picture(1), cls=b"9")}, ("--classes", "imagenet-a"), None),
        ({"a": sample("one", png=picture(1), cls=b"200")}, ("--classes", "imagenet-a"), "names for 200 classes"),
        ({"a": sample("one", png=picture(1), cls=b"hen")}, ("--classes", "imagenet-a"), "There is no class 'hen'"),
        ({"a": sample("one", png=picture(1), jpg=picture(1, "JPEG"), cls=b"1")}, (), "several images"),
        ({"a": sample("one", txt=b"a cat")}, (), "holds no image"),
        ({"a": sample("../cat/one", png=picture(1))}, (), "no plain path"),
        ({"a": sample("one", png=picture(1), cls=b"../../cat")}, (), "no plain path"),
        ({name: sample("cat/one", png=picture(1)) for name in "ab"}, (), "Two images have the path 'cat/one.png'"),
        ({"a": sample("one", png=picture(1), json=b'{"label": "cat"}')}, (), None),
        ({"a": sample("one", png=picture(1), json=b'{"kind": "cat"}')}, ("--label", "kind"), None),
        ({}, (), "no image and no shard"),
    ],
)
def test_what_a_tar_may_hold(
    tmp_path: Path, files: dict[str, dict[str, bytes]], options: tuple[str, ...], says: str | None
) -> None:
    (tmp_path / "in").mkdir()
    for name, content in files.items():
        tar(tmp_path / "in" / f"{name}.tar", content)
    said = stage(tmp_path / "in", "--to", tmp_path / "out", *options, expect=2 if says else 0)
    assert says is None or says in said.stderr.replace("\n", " ")
    assert not says or not (tmp_path / "cat").exists()


def test_a_shard_that_is_cut_short_is_refused_and_the_command_goes_on_when_it_is_whole(
    tmp_path: Path, shards: Path
) -> None:
    whole = (shards / "set-0001.tar").read_bytes()
    (shards / "set-0001.tar").write_bytes(whole[:700])
    assert "set-0001.tar" in stage(shards, "--to", tmp_path / "out", expect=2).stderr
    (shards / "set-0001.tar").write_bytes(whole)
    assert json.loads(stage(shards, "--to", tmp_path / "out", "--json").stdout)["images"] == 6


def test_a_folder_that_holds_other_shards_is_refused(tmp_path: Path, shards: Path) -> None:
    stage(shards, "--to", tmp_path / "out")
    other = tar(tmp_path / "other.tar", sample("cat/one", png=picture(1)))
    assert "images of another shard" in stage(other, "--to", tmp_path / "out", expect=2).stderr


def test_other_class_names_for_staged_shards_are_refused(tmp_path: Path, shards: Path) -> None:
    stage(shards, "--to", tmp_path / "out")
    said = stage(shards, "--to", tmp_path / "out", "--classes", _names(tmp_path), expect=2).stderr
    assert "staged with other --classes" in said and not (tmp_path / "out" / "cat").exists()


def test_a_target_that_cannot_be_written_is_refused(tmp_path: Path, shards: Path) -> None:
    (tmp_path / "out").write_text("a file")
    assert "cannot be written" in stage(shards, "--to", tmp_path / "out", expect=2).stderr


def test_a_source_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert "There is no" in stage(tmp_path / "nothing", "--to", tmp_path / "out", expect=2).stderr
    assert not (tmp_path / "out").exists()


@pytest.fixture
def devkit(tmp_path: Path) -> Path:
    """A devkit of three images, whose numbers are not in the order of the synsets."""
    folder = tmp_path / "ILSVRC2012_devkit_t12" / "data"
    folder.mkdir(parents=True)
    kinds = [("ILSVRC2012_ID", float), ("WNID", "U9"), ("num_children", float)]
    synsets = [(1, SYNSETS[7], 0), (2, SYNSETS[0], 0), (1001, "n00001740", 9)]
    savemat(folder / "meta.mat", {"synsets": np.array(synsets, dtype=kinds)})
    (folder / "ILSVRC2012_validation_ground_truth.txt").write_text("2\n1\n2\n")
    return folder.parent


@pytest.mark.parametrize("packed", [True, False], ids=["tar", "folder"])
def test_the_flat_validation_images_of_imagenet_are_sorted_by_the_devkit(
    packed: bool, tmp_path: Path, devkit: Path
) -> None:
    flat = {f"ILSVRC2012_val_{number:08d}.JPEG": picture(number, "JPEG") for number in (1, 2, 3)}
    source = tmp_path / "flat" / "val.tar"
    tar(source, flat)
    if not packed:
        source.unlink()
        source = source.parent
        for name, content in flat.items():
            (source / name).write_bytes(content)
    out = tmp_path / "val"
    assert "3 images" in stage(source, "--to", out, "--devkit", devkit).stdout
    sorted_images = {str(path.relative_to(out)): path.read_bytes() for path in out.glob("*/*.JPEG")}
    assert sorted_images == {
        f"{SYNSETS[place]}/{name}": content for place, (name, content) in zip((0, 7, 0), flat.items(), strict=True)
    }


def test_a_devkit_that_does_not_fit_is_refused(tmp_path: Path, devkit: Path) -> None:
    source = tar(tmp_path / "val.tar", {"ILSVRC2012_val_00000004.JPEG": picture(4, "JPEG")})
    command = (source, "--to", tmp_path / "out", "--devkit")
    assert "does not name 'ILSVRC2012_val_00000004.JPEG'" in stage(*command, devkit, expect=2).stderr
    (devkit / "data" / "ILSVRC2012_validation_ground_truth.txt").write_text("1001\n")
    assert "has the class '1001'" in stage(*command, devkit, expect=2).stderr
    assert "There is no" in stage(*command, tmp_path, expect=2).stderr
    assert "exclude each other" in stage(*command, devkit, "--classes", "imagenet", expect=2).stderr
