"""The example on photographs and drawings: its table, its tasks, and what its weights know."""

from __future__ import annotations

import csv
import sys
from collections import defaultdict
from pathlib import Path

import pytest
import torch

from carft.catalog.catalog import BUILT_IN
from carft.core.files import file_digest
from carft.data.folder.named import tasks_in
from carft.data.sets import picture
from carft.models.clip import load_pretrained
from tests.support.helpers import ROOT

EXAMPLE = ROOT / "examples" / "photographs"
sys.path.insert(0, str(EXAMPLE))
import common  # noqa: E402
import prepare  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    with common.TABLE.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_group_is_in_one_split_and_no_part_lacks_a_class(rows: list[dict[str, str]]) -> None:
    splits, classes = defaultdict(set), defaultdict(set)
    for row in rows:
        splits[row["group"]].add(row["split"])
        classes[row["domain"], row["split"]].add(row["class"])
    assert len(rows) == len({row["path"] for row in rows}) == 9_991
    assert all(len(found) == 1 for found in splits.values())
    assert len(classes) == 20 and all(found == set(common.CLASSES) for found in classes.values())


def test_the_drawings_of_one_photograph_are_one_group(rows: list[dict[str, str]]) -> None:
    groups = defaultdict(set)
    for row in rows:
        source, hyphen, _ = Path(row["path"]).stem.rpartition("-")
        if row["domain"] == "sketch" and hyphen:
            groups[row["class"], source].add(row["group"])
    assert len(groups) == 500 and all(len(found) == 1 for found in groups.values())


def drawn(root: Path) -> list[dict[str, str]]:
    """Draw three images of every class and domain, in the splits of the tasks, and return their rows."""
    made = []
    for context, domain in enumerate(common.DOMAINS):
        for label, name in enumerate(common.CLASSES):
            folder = root / "PACS" / domain / name
            folder.mkdir(parents=True)
            for number, split in enumerate(("train", "val", "test")):
                path = folder / f"{number}.png"
                picture(label, context, number).save(path)
                place = path.relative_to(root).as_posix()
                facts = {"path": place, "class": name, "domain": domain, "group": place, "split": split}
                made.append({**facts, "sha256": file_digest(path)[:16]})
    return made


def test_the_tasks_are_written_into_the_root_and_another_image_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = drawn(tmp_path)
    monkeypatch.setattr(common, "TABLE", tmp_path / "table.csv")
    with common.TABLE.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, listed[0].keys())
        writer.writeheader()
        writer.writerows(listed)
    tasks = tasks_in(prepare.prepare(tmp_path, more=False))
    catalog = BUILT_IN.with_tasks(tasks)
    assert [task.name for task in tasks] == [f"photographs/{domain}" for domain in common.DOMAINS]
    for task, domain in zip(tasks, common.DOMAINS, strict=True):
        assert task.ood_domains == (domain,) and len(task.id_domains) == 3 and task.private
        assert catalog.card(task.name).bank("standard") == tuple(common.PROMPTS.values())
        assert catalog.card(task.name).contexts == tuple(common.PROMPTS[name] for name in common.DOMAINS)
    (tmp_path / listed[0]["path"]).write_bytes(b"another image")
    with pytest.raises(SystemExit, match="is another image than the table's"):
        prepare.prepare(tmp_path, more=False)


def test_each_rendering_changes_an_image_and_the_same_draw_gives_the_same() -> None:
    image = (torch.rand((3, 48, 48), generator=torch.Generator().manual_seed(0)) * 255).to(torch.uint8)
    seen = []
    for context in common.CONTEXTS:
        shown, again = (common.rendered(image, context, torch.Generator().manual_seed(1)) for _ in range(2))
        assert shown.shape == image.shape and torch.equal(shown, again)
        assert torch.equal(shown, image) == (context in common.DOMAINS)
        seen.append(shown.numpy().tobytes())
    assert len(set(seen)) == 1 + len(common.RENDERINGS)


def test_the_weights_are_a_model_folder_of_less_than_14_megabytes() -> None:
    assert (EXAMPLE / "clip" / "open_clip_model.safetensors").stat().st_size < 14e6
    address = f"local-dir:{EXAMPLE / 'clip'}"
    pretrained = load_pretrained(address, address)
    assert (pretrained.side, pretrained.width) == (112, 128)
    text = pretrained.text_features(common.CLASSES, tuple(common.PROMPTS.values()))
    between = text.mean(0) @ text.mean(0).T
    assert between.argmax(1).tolist() == list(range(len(common.CLASSES)))
