"""What `combine` makes: each rule by hand, and cells of real ones from command to table."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import softmax

from carft.catalog.catalog import BUILT_IN
from carft.catalog.resolve import combination, command
from carft.config.cell import Reading
from carft.config.registry import COMBINED
from carft.core.errors import UserError
from carft.core.metrics import Predictions
from carft.posthoc.combine import run_combination
from carft.posthoc.dawin import by_entropy
from carft.posthoc.lines import scaled_by_depth
from carft.posthoc.model_stock import model_stock
from carft.posthoc.output_average import averaged
from carft.store.records import Store
from carft.training.execution import Execution
from carft.training.run import run_cell
from sweeps.recipes.loading import load_recipe
from tests.support.helpers import LR, TASK, made_up_predictions, made_up_study, quick_cell, run_cli
from tests.support.reading import judged_of, table_of


def tensors(**values: list[float]) -> dict[str, torch.Tensor]:
    return {name.replace("__", "."): torch.tensor(value) for name, value in values.items()}


def test_model_stock_by_hand() -> None:
    """Updates (1, 0) and (1, 1) have cosine 1 / sqrt 2, so t is 2 cos / (1 + cos) of their mean (1, 1/2)."""
    start = {"w": torch.tensor([1.0, 2.0]), "steps": torch.tensor(3)}
    tuned = [{"w": torch.tensor([2.0, 2.0]), "steps": torch.tensor(9)}, {"w": torch.tensor([2.0, 3.0])}]
    found = model_stock(start, *tuned)
    cosine = 0.5**0.5
    share = 2 * cosine / (1 + cosine)
    assert found["w"].tolist() == pytest.approx([1 + share, 2 + share / 2]) and int(found["steps"]) == 3
    opposite = [{"w": torch.tensor([2.0, 2.0])}, {"w": torch.tensor([0.0, 2.0])}]
    assert torch.equal(model_stock({"w": start["w"]}, *opposite)["w"], start["w"])


@pytest.mark.parametrize("block", ["visual.transformer.resblocks.{}.mlp", "visual.layer{}.0.conv1.weight"])
def test_lines_scales_a_block_by_its_depth(block: str) -> None:
    names = ["visual.conv1.weight", *(block.format(number) for number in (1, 2, 3)), "visual.proj", "head.bias"]
    start, tuned = (dict.fromkeys(names, torch.tensor([value])) for value in (0.0, 1.0))
    found = scaled_by_depth(start, tuned, 0.2)
    assert [float(found[name]) for name in names] == pytest.approx([0.2, 0.2, 0.6, 1.0, 1.0, 1.0])


def test_lines_knows_the_stem_of_a_tower_of_timm() -> None:
    stem = ["visual.trunk.cls_token", "visual.trunk.pos_embed", "visual.trunk.patch_embed.proj.weight"]
    names = [*stem, "visual.trunk.blocks.0.mlp", "visual.trunk.blocks.1.mlp", "visual.head.proj.weight"]
    start, tuned = (dict.fromkeys(names, torch.tensor([value])) for value in (0.0, 1.0))
    found = scaled_by_depth(start, tuned, 0.2)
    assert [float(found[name]) for name in names] == pytest.approx([0.2, 0.2, 0.2, 0.2, 1.0, 1.0])


def with_logits(logits: np.ndarray) -> Predictions:
    return replace(made_up_predictions(len(logits), 3), logits=logits.astype(np.float32))


def test_outputs_are_averaged_as_probabilities_and_by_entropy() -> None:
    ours, theirs = np.array([[0.0, 0.0, 0.0], [5.0, 0.0, 0.0]]), np.array([[4.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    first, second = with_logits(ours), with_logits(theirs)
    p, q = softmax(ours, axis=1), softmax(theirs, axis=1)
    assert softmax(averaged(first, second).logits, axis=1) == pytest.approx((p + q) / 2, abs=1e-6)
    surer = [np.exp(np.sum(one * np.log(one), axis=1, keepdims=True)) for one in (p, q)]
    share = surer[1] / (surer[0] + surer[1])
    assert softmax(by_entropy(first, second).logits, axis=1) == pytest.approx((1 - share) * p + share * q, abs=1e-6)
    assert share[0] > 0.5 > share[1]


def test_large_sets_with_the_largest_logits_alone_are_refused() -> None:
    small = with_logits(np.zeros((2, 3)))
    with pytest.raises(UserError, match="largest logits"):
        by_entropy(small, small.condensed())


def test_outputs_on_other_images_are_refused() -> None:
    first = with_logits(np.zeros((2, 3)))
    other = replace(first, images=[f"other-{image}" for image in first.images])
    with pytest.raises(UserError, match="other images"):
        averaged(first, other)


def test_parents_must_fit_and_a_sweep_does_not_run_it() -> None:
    ft, zero = quick_cell("ft", lr=LR), quick_cell("zeroshot")
    for method in ("lines", "dawin"):
        with pytest.raises(UserError, match="one trained cell"):
            combination(method, [zero], {}, BUILT_IN)
    drawn = [quick_cell("ft", lr=LR, seed=seed, reading=Reading(class_head="random")) for seed in (1, 2)]
    with pytest.raises(UserError, match="random class head"):
        combination("model_stock", drawn, {}, BUILT_IN)
    with pytest.raises(UserError, match="two different"):
        combination("model_stock", [ft], {}, BUILT_IN)
    with pytest.raises(UserError, match="does not run lines"):
        load_recipe("miniature").changed(methods=["ft", "lines"])


@pytest.mark.slow
def test_each_is_a_cell_with_a_row_in_the_tables_and_a_command(tmp_path: Path) -> None:
    store, execution = Store(tmp_path / "results", catalog=BUILT_IN), Execution()
    cells = [replace(quick_cell("ft", lr=LR), seed=seed) for seed in (1, 2)]
    with pytest.raises(UserError):
        run_combination("dawin", cells[:1], {}, store, execution)
    for cell in cells:
        run_cell(cell, store, execution, unseal=True)
    refused = run_cli("combine", "output_average", "--cells", cells[0].id, "--results", store.root)
    wanted = command(quick_cell("zeroshot"), str(store.root), catalog=BUILT_IN, unseal=True)
    assert refused.returncode == 2 and wanted in " ".join(refused.stderr.split())
    run_cell(quick_cell("zeroshot"), store, execution, unseal=True)
    winner = quick_cell("ft", lr=LR)
    run_cell(winner, store, execution)
    trial = {"trial": 0, "parameters": {"lr": LR}, "cell": winner.id, "status": "done"}
    of_study = {name: getattr(winner, name) for name in ("task", "data_version", "model", "pretrained", "method")}
    training = winner.training.as_dict()
    confirm = [cell.id for cell in cells]
    store.write_study(
        "s", made_up_study(**of_study, training=training, trials=[trial], winner=winner.id, confirm=confirm)
    )
    for method in COMBINED:
        parents = ",".join(confirm if method == "model_stock" else confirm[:1])
        told = json.loads(run_cli("combine", method, "--cells", parents, "--results", store.root, "--json").stdout)
        assert told["status"] == "done" and "ood/mean/top1" in told["metrics"]
        made = store.read(told["cell"]).cell
        again = command(made, str(store.root), catalog=BUILT_IN).split()[2:]
        assert json.loads(run_cli(*again, "--json").stdout) == {**told, "status": "reused"}
        if method == "model_stock":
            expected = told["metrics"]["test/top1"]
    without_weights = run_cli("model", "export", told["cell"], "--to", tmp_path / "shared", "--results", store.root)
    assert made.method == "dawin" and without_weights.returncode == 2
    assert f"Name the fine-tuned one: {confirm[0]}" in " ".join(without_weights.stderr.split())
    others = ",".join([confirm[0], winner.id])
    run_cli("combine", "model_stock", "--cells", others, "--results", store.root)  # no row: not of the confirm cells
    rows = table_of(judged_of(store), "tasks")
    stock = rows[(rows["task"] == TASK) & (rows["method"] == "model_stock(ft)")]
    assert stock["test_top1"].item() == pytest.approx(expected)
    labels = {"model_stock(ft)", "lines(ft) alpha 0", "output_average(ft)", "dawin(ft)"}
    assert labels <= set(rows[rows["task"] == TASK]["method"])
