"""What cannot work is refused in a sentence: exit code 2, nothing on stdout, never a traceback."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
from safetensors import SafetensorError

from carft.catalog.catalog import BUILT_IN
from carft.core.errors import UserError
from carft.store.records import Store
from carft.store.stored_catalog import adopt_catalog, stored_catalog
from sweeps.recipes.loading import parse_recipe
from tests.support.folder import draw_pets, named_task
from tests.support.helpers import LR, TASK, made_up_predictions, made_up_record, quick_cell, run_cli

FT = ("train", "--task", TASK, "--method", "ft")
RUN_FT = (*FT, "--lr", LR, "--epochs", 1)
SWEEP = ("sweep", "downstream", "--smoke")

no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")


@no_gpu
@pytest.mark.parametrize(("shown", "count"), [(None, 2), ("-1", 0), ("GPU-a,GPU-b,-1", 2)])
def test_all_gpus_of_this_machine_are_used_unless_a_number_is_given(
    shown: str | None, count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    smi = tmp_path / "nvidia-smi"
    smi.write_text("#!/bin/sh\nprintf '0\\n1\\n'\n", encoding="utf-8")
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if shown is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", shown)
    asked = ("plan", "downstream", "--smoke", "--results", tmp_path / "results", "--json")
    planned = run_cli(*asked)
    assert planned.stderr.startswith("No --data: drawings are run, the built-in icons, and not the data sets of down")
    needs = [one["what"] for one in json.loads(planned.stdout)["obstacles"]]
    assert any(what.startswith(f"{count} GPUs are asked for") for what in needs) == bool(count)
    assert not json.loads(run_cli(*asked, "--gpus", 0).stdout)["obstacles"]


def assert_refused(*arguments: object, says: str, **extra: object) -> None:
    done = run_cli(*arguments, in_process=None if extra else True, **extra)
    output = " ".join(done.stderr.split())
    assert done.returncode == 2, output
    assert done.stdout == ""
    assert "Traceback" not in output
    assert says in output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("train", "--task", "icons-3/mix7", "--method", "ft", "--lr", LR), "icons-3/mix-7"),
        (("train", "--task", TASK, "--method", "car-ft", "--lr", LR), "car_ft"),
        ((*FT,), "--lr"),
        ((*FT, "--lr", "much"), "--lr"),
        ((*FT, "--lr", LR, "--kl-weight", 1), "KL weight"),
        ((*FT, "--lr", LR, "--kl-direction", "sideways"), "symmetric"),
        (("train", "--task", "pets", *FT[3:], "--lr", LR, "--data", "."), "pets is not here"),
        ((*FT, "--lr", LR, "--model", "ViT-B-16", "--pretrained", "nix"), "no weights tag of ViT-B-16"),
        ((*FT, "--lr", LR, "--model", "ViT-B-99"), "There is no architecture 'ViT-B-99'. Did you mean ViT-B-"),
        (("train", "--task", TASK, "--method", "wise_ft"), "combine wise_ft --cells"),
        (("sweep", "upstream"), "downstream"),
        ((*SWEEP, "--methods", "zeroshot,wise_ft"), "Add ft or car_ft"),
        ((*SWEEP, "--tasks", "icons-3/nowhere"), "Tasks on your own data need --tasks-file FILE"),
        ((*SWEEP, "--tasks", ","), "names nothing"),
        (("plan", "miniature", "--epochs", 10**9), "epochs must be less than or equal to 10000"),
        (("plan", "miniature", "--trials", 10**4), "jobs, and a results folder takes at most 140,000"),
        ((*SWEEP, "--sampler", "tea"), "sampler must be 'sobol', 'random' or 'tpe', not 'tea'"),
        ((*SWEEP, "--sampler", "tpe", "--trials", 4), "Give --trials 5, or more."),
        (
            ("sweep", "miniature", "--pruner", "halving", "--workers-per-cell", 2),
            "Trials of several workers are not pruned.",
        ),
        ((*SWEEP, "--space", "lr=1e-2:1e-5"), "the smaller first"),
        ((*SWEEP, "--space", "lr=1:2", "--space", "lr=1:3"), "gives lr twice"),
        ((*SWEEP, "--space", "alpha=0.1:0.5"), "No method of this sweep searches 'alpha'"),
        ((*SWEEP, "--gpus", -1), "gpus must be greater than or equal to 0, not -1"),
        (("report", "--out", "s3://bucket/report"), "a folder of this machine"),
        ((*SWEEP, "--address", "127.0.0.1:1"), "Give --gpus N, or --gpus 0."),
        ((*SWEEP, "--gpus", 0, "--address", "nonsense"), "nonsense"),
        (("plan", "miniature", "--gpu-model", "H100"), "--gpus asks for none"),
        (("plan", "miniature", "--measure", "--gpus", 1, "--address", "auto"), "--measure looks at this machine alone"),
        (("plan", "miniature", "--gpus", 8, "--gpu-model", "H10"), "Did you mean H100"),
        ((*SWEEP, "--results", ""), "--results is empty"),
        ((*SWEEP, "--results", "ftp://bucket/results"), "is not s3://BUCKET"),
        (("report", "--results", "s3://key:secret@bucket/results"), "may hold no credentials"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_bad_input_is_refused(arguments: tuple[object, ...], says: str, tmp_path: Path) -> None:
    results = () if "--results" in arguments else ("--results", tmp_path / "results")
    assert_refused(*arguments, *results, "--json", says=says)
    assert not (tmp_path / "results" / "cells").exists() and not Path("s3:").exists()


#: files of one's own that are wrong; in the arguments below, a name that ends in one of theirs is the file
FILES: dict[object, str] = {
    "empty.yaml": "",
    "latin.yaml": "\udcff",
    "list.yaml": "- a\n- b\n",
    "twice.yaml": "extends: downstream\ntrials: 3\ntrials: 4\n",
    "map.yaml": "extends: downstream\ntraining: [1]\n",
    "number.yaml": "extends: downstream\ntrials: four\n",
    "entry.yaml": "tasks: [a]\n",
    "entries.yaml": "tasks: {a: b}\n",
    "words.yaml": "tasks: [{name: a, path: ., class_names: [cat]}]\n",
}
KEYS, LIST = "must be keys with values", "must be a list"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("ls", "recipes", "list.yaml"), "the recipe is a list"),
        (("ls", "recipes", "twice.yaml"), "twice.yaml, line 3: the key 'trials' appears"),
        (("ls", "recipes", "map.yaml"), f"map.yaml, line 2: training: it {KEYS}; it is a list"),
        (("ls", "recipes", "number.yaml"), "trials: it must be a whole number; it is 'four'"),
        ((*SWEEP, "--methods", "shop_l1"), "needs its file: --plugin FILE"),
        ((*SWEEP, "--tasks-file", "entry.yaml"), f"tasks.0: it {KEYS}; it is 'a'"),
        ((*SWEEP, "--tasks-file", "entries.yaml"), f"{LIST}; it holds keys"),
        ((*SWEEP, "--tasks-file", "words.yaml"), f"class_names: it {KEYS}; it is a list"),
        ((*SWEEP, "--tasks-file", "latin.yaml"), "latin.yaml' cannot be read: it is not UTF-8."),
        (("ls", "recipes", "missing/latin.yaml"), "latin.yaml' cannot be read: No such file or directory."),
        (("init", "empty.yaml"), "is neither a folder nor a table"),
        (("plan", "miniature", "--results", "empty.yaml"), "is a file"),
        (("data", "check", "pets", "--data", "empty.yaml"), "is a file"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_a_wrong_file_is_refused(arguments: tuple[object, ...], says: str, finished: Store, tmp_path: Path) -> None:
    for name, text in FILES.items():
        (tmp_path / str(name)).write_bytes(os.fsencode(text))
    asked = [str(tmp_path / str(word)) if str(word).rpartition("/")[2] in FILES else word for word in arguments]
    results = ["--results", finished.root] if arguments[0] == "report" else []
    assert_refused(*asked, *results, says=says)


@pytest.mark.parametrize("fault", ["unreadable folder", "unreadable root", "file name", "argument"])
def test_a_folder_that_cannot_be_read_or_named_is_refused(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also for the superuser, whom no permission stops."""
    draw_pets(tmp_path)
    asked = tmp_path / "pets"
    if fault == "file name":
        (tmp_path / "pets" / "photo" / "cat" / os.fsdecode(b"caf\xe9.png")).write_bytes(b"")
    elif fault == "argument":
        asked = asked.rename(tmp_path / os.fsdecode(b"caf\xe9"))
    else:
        closed, scandir = str(asked / "photo" / "cat" if fault == "unreadable folder" else asked), os.scandir

        def scan(path: object) -> object:
            if str(path) == closed:
                raise PermissionError(errno.EACCES, "Permission denied", closed)
            return scandir(path)  # type: ignore[call-overload]

        monkeypatch.setattr(os, "scandir", scan)
    says = "cannot be read: Permission denied" if fault.startswith("unreadable") else "is not UTF-8"
    assert_refused("init", asked, "--to", tmp_path / "audit", says=says)


@no_gpu
@pytest.mark.parametrize("arguments", [(*RUN_FT, "--device", "cuda"), (*SWEEP, "--gpus", 2)])
def test_a_gpu_that_is_not_there_is_refused(arguments: tuple[object, ...], tmp_path: Path) -> None:
    assert_refused(*arguments, "--results", tmp_path, "--json", says="GPU")


@pytest.mark.parametrize("arguments", [RUN_FT, SWEEP])
def test_a_results_folder_that_cannot_be_written_is_refused(arguments: tuple[object, ...], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("here")
    (tmp_path / "loop").symlink_to("loop")
    for name in ("file/results", "loop"):
        assert_refused(*arguments, "--results", tmp_path / name, "--json", says="cannot be written")


def test_a_full_disk_is_refused(finished: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parquet = OSError(errno.ENOSPC, "No space left on device")  # a file that is being written has no name in its error
    tensors = SafetensorError("I/O error: No space left on device")
    monkeypatch.setattr("carft.store.archive.pack", Mock(side_effect=[parquet, tensors]))
    arguments = ("results", "export", tmp_path / "all.zip", "--results", finished.root)
    for _ in (parquet, tensors):
        assert_refused(*arguments, says="No space left on device. Make space")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("ls", "cell"), "cells"),
        (("ls", "cells"), "no results"),
        (("combine", "wise_ft", "--cells", "3fa4"), "no results"),
    ],
)
def test_a_listing_or_cell_that_is_not_there_is_refused(arguments: tuple, says: str, tmp_path: Path) -> None:
    assert_refused(*arguments, "--results", tmp_path, "--json", says=says)


def test_truncated_files_are_named_and_written_again(store: Store, tmp_path: Path) -> None:
    """Nothing blocks a folder but what is asked for, and no hint moves results away."""
    task = named_task("zoo/pets", draw_pets(tmp_path))
    catalog = BUILT_IN.with_suites(["hands"], [TASK])
    adopt_catalog(store, catalog.with_tasks([task]), [task.name, TASK])
    store.write(made_up_record(quick_cell("ft", lr=LR)), [], made_up_predictions())
    store.note("planned", suites=["hands"])
    store.put("sweeps/20260101T000000Z-1.json", {})
    store.put("studies/abc/study.json", {})
    truncated = ["folders.json", "suites/chosen.json"]
    truncated += [path.relative_to(store.root).as_posix() for path in store.root.glob("tasks/*.json")]
    for name in truncated:
        (store.root / name).write_bytes(b"")
    for arguments in (("ls", "cells"), ("ls", "studies"), ("status",)):
        done = run_cli(*arguments, "--results", store.root, "--json", in_process=True)
        assert done.returncode == 0, done.stderr
        assert all(name in done.stderr for name in truncated if arguments[0] == "ls")
        assert "move that" not in done.stderr.lower()
    assert "20260101T000000Z-1.json" in done.stderr
    adopt_catalog(store, BUILT_IN.with_tasks([task]), [task.name])
    store.left_out.clear()
    found = stored_catalog(store, BUILT_IN)
    assert found.suites == ("hands",) and found.named(task.name).folder == task.folder
    assert not store.left_out


@pytest.mark.parametrize("name", ["record.json", "spec.json"])
def test_a_torn_record_is_named_and_its_cell_made_again(name: str, store: Store) -> None:
    cell = quick_cell("ft", lr=LR)
    store.write(made_up_record(cell), [], made_up_predictions())
    path = store.folder(cell.id) / name
    path.write_text(path.read_text()[:20])
    assert_refused("ls", "cells", cell.id, "--results", store.root, "--json", says=str(path))
    listed = run_cli("ls", "cells", "--results", store.root, "--json", in_process=True)
    assert (listed.returncode, json.loads(listed.stdout)) == (0, []) and str(path) in listed.stderr
    assert len(path.read_text()) == 20
    assert run_cli(*RUN_FT, "--results", store.root, in_process=True).returncode == 0
    (torn,) = store.root.glob(f"superseded/{cell.id}-*/{name}")
    assert len(torn.read_text()) == 20 and store.is_current(cell.id)


def test_torn_weights_are_trained_again(finished: Store, cells: dict, tmp_path: Path) -> None:
    root = shutil.copytree(finished.root, tmp_path / "copy")
    path = Store(root).weights_path(cells["ft"].id)
    path.write_bytes(path.read_bytes()[:1000])
    arguments = ("combine", "wise_ft", "--cells", cells["ft"].id, "--results", root, "--json")
    assert run_cli(*arguments, in_process=True).returncode == 0
    assert Store(root).has_weights(cells["ft"].id)


def test_a_learning_rate_that_makes_the_loss_explode_is_told_without_a_traceback(tmp_path: Path) -> None:
    done = run_cli(*FT, "--lr", 1e30, "--epochs", 1, "--results", tmp_path, "--json")
    assert done.returncode != 0
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert "smaller learning rate" in " ".join(done.stderr.split())
    assert Store(tmp_path).ids() == []


def test_the_first_line_of_a_sweep_names_the_weights_it_uses(tmp_path: Path) -> None:
    address = f"local-dir:{tmp_path}"
    done = run_cli(*SWEEP, "--model", address, "--results", tmp_path / "results", in_process=True)
    assert done.returncode == 2
    assert f"Model: {address}, weights '{address}'" in done.stderr


@pytest.mark.parametrize("text", ["[" * 5000, "a: &a [*a]", "a: !!python/object/apply:os.getcwd []", "{", "\0", "1: 2"])
def test_a_recipe_of_nonsense_is_refused(text: str) -> None:
    with pytest.raises(UserError):
        parse_recipe(text, "own.yaml", catalog=BUILT_IN)
