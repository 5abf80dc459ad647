"""Images in one table, images without domains, and groups that a pattern finds."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from carft.catalog.catalog import BUILT_IN
from carft.core.errors import UserError
from carft.data.folder.images import SPLITS, split_of
from carft.data.folder.named import tasks_in
from carft.data.folder.reading import read, read_cached
from carft.data.sets import picture
from tests.support.folder import named_task, write_tasks
from tests.support.helpers import run_cli

TINY = ("--model", "icons-resnet", "--pretrained", "icons-3")
DOMAINS, CLASSES = ("clinic", "home"), ("cat", "dog")


def rows_of(root: Path) -> list[dict[str, str]]:
    """Draw two domains of two classes with three patients a split and two images of each; the rows of their table."""
    rows = []
    for label, kind in enumerate(CLASSES):
        patients = [
            p for s in SPLITS for p in [p for p in map(f"{kind}{{}}".format, range(60)) if split_of(p) == s][:3]
        ]
        for d, domain in enumerate(DOMAINS):
            for k, patient in enumerate(patients):
                for view in (0, 1):
                    path = f"scans/{domain}-{patient}-{view}.png"
                    (root / "scans").mkdir(parents=True, exist_ok=True)
                    picture(label, d, 10 * k + view).save(root / path)
                    rows.append({"path": path, "class": kind, "domain": domain, "group": patient})
    return rows


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images.csv. Do not change it."""
    root = tmp_path_factory.mktemp("clinic")
    pd.DataFrame(rows_of(root)).to_csv(root / "images.csv", index=False)
    return root


def table(root: Path, name: str = "other.csv", **changes: object) -> Path:
    """A table like images.csv with other columns; None leaves a column out."""
    content = pd.read_csv(root / "images.csv")
    for column, value in changes.items():
        content = content.drop(columns=column) if value is None else content.assign(**{column: value})
    path = root / name
    content.to_parquet(path) if path.suffix == ".parquet" else content.to_csv(path, index=False)
    return path


def checked(table: Path, *options: str) -> Any:
    """What ``data check`` says of a table."""
    file = write_tasks(table.parent, {"name": "vet/scans", "path": table.name})
    return run_cli("data", "check", "vet/scans", "--tasks-file", file, *options)


def refusal(path: Path) -> str:
    with pytest.raises(UserError) as refused:
        read(path)
    return str(refused.value)


def test_a_table_says_class_domain_and_group_of_its_images(drawn: Path) -> None:
    tree = read(drawn / "images.csv")
    assert (tree.domains, tree.classes) == (DOMAINS, CLASSES)
    assert {len(index) for index in tree.images.values()} == {36}
    assert tree.splits["cat0"] == split_of("cat0")
    assert tree.part("home", "test").groups.count(tree.part("home", "test").groups[0]) == 2


def test_csv_and_parquet_are_one_version_and_the_order_of_rows_does_not_matter(drawn: Path) -> None:
    digest = read(drawn / "images.csv").digest
    assert read(table(drawn, "images.parquet")).digest == digest
    pd.read_csv(drawn / "images.csv").sample(frac=1, random_state=0).to_csv(drawn / "mixed.csv", index=False)
    assert read(drawn / "mixed.csv").digest == digest
    assert read(table(drawn, "extra.csv", age=7)).digest == digest
    assert read(table(drawn, "whole.csv", group=None)).digest != digest


def test_columns_that_are_not_read_and_defaults_are_named(drawn: Path, tmp_path: Path) -> None:
    shutil.copytree(drawn, tmp_path, dirs_exist_ok=True)
    renamed = pd.read_csv(drawn / "images.csv").rename(columns={"group": "individual", "domain": "site"})
    renamed.to_csv(tmp_path / "mine.csv", index=False)
    renamed.to_parquet(tmp_path / "mine.parquet", index=False)
    for name in ("mine.csv", "mine.parquet"):
        unread, group = read(tmp_path / name).notes
        assert "individual" in unread and "site" in unread and "path" not in unread
        assert group.startswith("No column group")
    assert read(drawn / "images.csv").notes == ()
    said = checked(tmp_path / "mine.csv").stdout
    assert "individual" in said and "groups: " in said


def test_a_column_gives_the_split(drawn: Path) -> None:
    content = pd.read_csv(drawn / "images.csv")
    turn = {group: SPLITS[k % 3] for k, group in enumerate(sorted(set(content["group"])))}
    tree = read(table(drawn, split=content["group"].map(turn)))
    assert dict(tree.splits) == turn


def test_without_domains_there_is_one_and_no_shift(drawn: Path) -> None:
    flat = table(drawn, "flat.csv", domain=None)
    known = BUILT_IN.with_tasks([named_task("vet/scans", flat)]).card("vet/scans")
    assert (known.suites, known.contexts, known.sets) == ((), (), ("test",))
    assert "none on robustness" in " ".join(known.warnings())
    with pytest.raises(UserError, match="none can be left out"):
        tasks_in(write_tasks(drawn, {"name": "vet", "path": flat.name, "leave_one_out": True}))


CONTRADICTIONS = {
    "no column 'class'": "path\na.png\n",
    "'path'; it has path;class. For example, in UTF-8 and separated by commas": "path;class\na.png;b\n",
    "'path'; it has Path, class.": "Path,class\na.png,b\n",
    "has the column 'class' twice": "path,class,class\n",
    "lists no image": "path,class\n",
    "Expected 2 columns, got 3": "path,class\na.png,b,c\n",
    "row 1: there is no file": "path,class\na.png,b\n",
    "row 1: 'a.txt' is no image": "path,class\na.txt,b\n",
    "row 1: the column class holds no text": "path,class\na.png,\n",
    "lies outside the folder": "path,class\n../a.png,b\n",
    "row 2: the image": "path,class\nx.png,b\nx.png,c\n",
    "no split 'valid'": "path,class,split\nx.png,b,valid\n",
    "has fewer than two classes": "path,class\nx.png,b\n",
    "is missing in the domain": "path,class,domain\nx.png,b,p\ny.png,c,q\n",
    "in train, and in test in": "path,class,group,split\nx.png,b,g,test\ny.png,c,g,train\n",
}


@pytest.mark.parametrize("says", CONTRADICTIONS)
def test_a_table_that_cannot_be_is_refused_with_its_row(says: str, tmp_path: Path) -> None:
    for name in ("x.png", "y.png"):
        picture(0).save(tmp_path / name)
    (tmp_path / "t.csv").write_text(CONTRADICTIONS[says])
    said = refusal(tmp_path / "t.csv")
    assert says in said and "t.csv" in said


def test_data_check_and_init_say_which_classes_a_sweep_cannot_use(drawn: Path, tmp_path: Path) -> None:
    content = pd.read_csv(drawn / "images.csv")
    cat, groups = content["class"] == "cat", content["group"].unique()
    splits = {group: ("train", "val", "test")[k % 3] for k, group in enumerate(groups)}
    content = content.assign(split=content["group"].map(splits))
    content[~cat | (content["split"] == "test")].to_csv(drawn / "none.csv", index=False)
    none = checked(drawn / "none.csv")
    assert none.returncode == 1
    assert "refused: The class 'cat' has no image to train on in clinic" in none.stdout
    begun = run_cli("init", drawn / "none.csv", "--to", tmp_path / "audit", "--hold-out", "home")
    assert begun.returncode == 0 and "Warning: The class 'cat' has no image to train on" in begun.stdout


def test_data_check_names_held_out_copies_of_training_images(drawn: Path, tmp_path: Path) -> None:
    root = shutil.copytree(drawn, tmp_path / "copied")
    content = pd.read_csv(root / "images.csv")
    content["split"] = content["group"].map(split_of)
    at_home = content["domain"] == "home"
    trained, held = content[~at_home & (content["split"] == "train")]["path"], content[at_home]["path"]
    shutil.copyfile(root / trained.iloc[0], root / held.iloc[0])
    content.loc[at_home, "split"] = "test"
    content.loc[at_home, "group"] = "h" + content.loc[at_home].index.astype(str)
    content.to_csv(root / "images.csv", index=False)
    task = {"name": "vet/scans", "path": "images.csv", "id_domains": ["clinic"], "ood_domains": ["home"]}
    said = run_cli("data", "check", "vet/scans", "--tasks-file", write_tasks(root, task), "--json")
    assert said.returncode == 0, said.stderr
    (found,) = json.loads(said.stdout)
    assert found["copies"] == {"ood/home": [[str(root / held.iloc[0]), str(root / trained.iloc[0])]]}


def test_every_command_before_a_sweep_counts_groups_of_each_domain(drawn: Path, tmp_path: Path) -> None:
    content = pd.read_csv(drawn / "images.csv")
    shift = content["domain"] == "home"
    content.loc[shift, "group"] = "h" + content.loc[shift].index.astype(str)  # other names than in the clinic
    rows, few = content.index[shift], {"cat": 1, "dog": 0}
    content["split"] = content["group"].map(split_of)
    content.loc[rows, "split"] = ["test" if i % 18 < few[k] else "train" for i, k in enumerate(content["class"][shift])]
    content.to_csv(drawn / "starved.csv", index=False)
    begun = run_cli("init", drawn / "starved.csv", "--hold-out", "home", "--to", tmp_path / "audit", *TINY, "--json")
    planned = run_cli("plan", tmp_path / "audit" / "recipe.yaml", "--results", tmp_path / "results", "--json")
    for done in (begun, planned):
        assert done.returncode == 0, done.stdout + done.stderr
    found = [json.loads(done.stdout) for done in (begun, planned)]
    for splits in (found[0]["splits"], found[1]["splits"]):
        sizes = {(row["domain"], row["split"]): (row["images"], row["groups"], row["used"]) for row in splits}
        assert sizes["clinic", "test"] == (12, 6, True) and sizes["clinic", "train"] == (12, 6, True)
        assert sizes["home", "test"] == (1, 1, True) and sizes["home", "train"] == (35, 35, False)
    warnings = found[0]["warnings"]
    assert "ood/home of starved has 1 image of 1 group: differences have no interval." in warnings
    assert "test of starved has 12 images of 6 groups: it cannot show differences below about 67 points." in warnings
    plain = run_cli("plan", tmp_path / "audit" / "recipe.yaml", "--results", tmp_path / "results").stdout
    assert re.search(r"home +train +35 +35 +no\b", plain) and re.search(r"home +test +1 +1 +yes\b", plain), plain


def test_an_index_of_a_table_is_made_again_after_a_change(tmp_path: Path) -> None:
    rows = rows_of(tmp_path)
    pd.DataFrame(rows).to_csv(tmp_path / "images.csv", index=False)
    before = read(tmp_path / "images.csv")
    pd.DataFrame(rows[:-2]).to_csv(tmp_path / "images.csv", index=False)
    fewer = read(tmp_path / "images.csv")
    assert fewer.digest != before.digest
    assert sum(map(len, fewer.images.values())) == len(rows) - 2
    (tmp_path / rows[0]["path"]).write_bytes(b"")
    read_cached.cache_clear()
    assert read(tmp_path / "images.csv").digest != fewer.digest


def test_class_folders_alone_are_one_domain(drawn: Path, tmp_path: Path) -> None:
    for index in read(drawn / "images.csv").images.values():
        for path, label in zip(index.paths, index.labels, strict=True):
            (tmp_path / CLASSES[label]).mkdir(exist_ok=True)
            (tmp_path / CLASSES[label] / path.name).write_bytes(path.read_bytes())
    tree = read(tmp_path)
    assert (tree.domains, len(tree.images["images"])) == (("images",), 72)
    assert named_task("vet/scans", tmp_path).prompts == ("a photo of a {}.",)
    for name in ("train", "val"):
        for kind in CLASSES:
            (tmp_path / "split" / name / kind).mkdir(parents=True)
            picture(0).save(tmp_path / "split" / name / kind / "1.png")
    assert "look like splits" in refusal(tmp_path / "split")
