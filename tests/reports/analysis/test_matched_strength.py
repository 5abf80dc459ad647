"""The experiment at equal strength, on planted records: effects are found, other displacements are not compared."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from carft.catalog.catalog import BUILT_IN
from carft.store.records import Store
from reports.analysis.matched_strength import DISPLACEMENT, MatchedContrast, MatchedStrength, StrengthAnswer
from reports.evidence.views import read_evidence
from reports.stats.intervals import Component, Estimate
from reports.tables.table import Sources, rows_of
from reports.words.strength_words import QUESTION, strength_sentences
from sweeps.recipes.loading import parse_recipe
from sweeps.recipes.recipe import Recipe
from sweeps.search.protocol import Protocol
from tests.support.planted import Plan, write

RECIPE = """
extends: miniature-full
name: mine
tasks: [icons-3/*]
methods: [ft, car_ft, car_ft_rotated]
searches: 1
seeds: 2
grid: {lr: [1.0e-3]}
arms:
  - name: contexts
    method: car_ft
    strengths:
      - {displacement: 0.4, kl_weight: 1.0}
      - {displacement: 0.3, kl_weight: 2.0}
      - {displacement: 0.2, kl_weight: 3.0}
  - name: rotated
    method: car_ft_rotated
    strengths:
      - {displacement: 0.4, kl_weight: 0.1}
      - {displacement: 0.3, kl_weight: 0.2}
      - {displacement: 0.2, kl_weight: 0.3}
"""
#: arms at an equal entropy, at one strength
AT_ENTROPY = """
  - name: contexts at entropy
    method: car_ft
    context_temperature: 2.0
    strengths:
      - {displacement: 0.4, kl_weight: 4.0}
  - name: rotated at entropy
    method: car_ft_rotated
    context_temperature: 0.5
    strengths:
      - {displacement: 0.4, kl_weight: 0.4}
"""
PLAN = Plan({}, {}, groups=150, spread=0.0)
FT = (0.5, 0.5)
#: (method, KL weight) -> accuracy, displacement: higher by 20 points; as good; as good and at another displacement
PLANTED = {
    ("car_ft", 1.0): (0.8, 0.42),
    ("car_ft_rotated", 0.1): (0.6, 0.40),
    ("car_ft", 2.0): (0.7, 0.30),
    ("car_ft_rotated", 0.2): (0.7, 0.31),
    ("car_ft", 3.0): (0.7, 0.18),
    ("car_ft_rotated", 0.3): (0.7, 0.22),
    ("car_ft", 4.0): (0.6, 0.41),
    ("car_ft_rotated", 0.4): (0.9, 0.40),
}


def recipe(*dropped: str, added: str = "") -> Recipe:
    """The recipe without these lines, and with others at its end."""
    lines = [line for line in (RECIPE.rstrip() + added).splitlines() if not any(part in line for part in dropped)]
    return parse_recipe("\n".join(lines), "mine.yaml", catalog=BUILT_IN).changed()


def plan_and_write(store: Store, asked: Recipe) -> None:
    """Commit a recipe, and write its cells and studies as a sweep would."""
    protocol = Protocol(asked, store)
    protocol.commit({})
    while (job := protocol.next_job()) is not None:
        cell = job.cell
        top1, moved = PLANTED.get((cell.method, cell.hyperparameters.get("kl_weight", 0.0)), FT)
        logged = {} if cell.method == "ft" else {DISPLACEMENT: moved + 0.001 * (2 * cell.seed - 3)}
        write(store, cell, top1, top1, PLAN, metrics=logged)
        protocol.end(job)
    protocol.write_studies()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = Store(tmp_path_factory.mktemp("strength") / "results")
    plan_and_write(store, recipe())
    return store.root


def planned_otherwise(folder: Path, root: Path, asked: Recipe) -> Store:
    """The cells of a folder under another plan."""
    shutil.copytree(folder / "cells", root / "cells")
    store = Store(root)
    protocol = Protocol(asked, store)
    protocol.commit({})
    protocol.write_studies()
    return store


def contrasts(store: Store) -> dict[float | None, MatchedContrast]:
    found = MatchedStrength.of(read_evidence(store))
    assert found is not None
    return {contrast.target: contrast for contrast in found.contrasts() if contrast.is_registered}


def sentence_on(store: Store) -> str:
    """What a reader is told of the registered contrast."""
    found = MatchedStrength.of(read_evidence(store))
    assert found is not None
    return strength_sentences(found)["At equal strength"]


def test_cells_of_another_precision_take_the_place_of_none(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "results")
    store = Store(tmp_path / "results")
    plan_and_write(store, recipe("displacement: 0.3", "displacement: 0.2", added="\nprecision: bfloat16\n"))
    assert {store.read(cell).cell.precision for cell in store.ids()} == {"float32", "bfloat16"}
    before, after = contrasts(Store(folder)), contrasts(store)
    assert {target: one.cells for target, one in after.items()} == {target: one.cells for target, one in before.items()}


def test_planted_effects_are_found_and_other_displacements_are_not_compared(folder: Path) -> None:
    found = contrasts(Store(folder))
    assert {target: contrast.answer for target, contrast in found.items()} == {
        0.4: StrengthAnswer.HIGHER,
        0.3: StrengthAnswer.NO_DIFFERENCE,
        0.2: StrengthAnswer.NOT_COMPARABLE,
        None: StrengthAnswer.NOT_COMPARABLE,
    }
    effects = {target: contrast.estimates["mean OOD"].effect for target, contrast in found.items()}
    assert effects[0.4] == pytest.approx(0.2, abs=0.02) and effects[0.3] == pytest.approx(0, abs=0.005)
    assert effects[None] == pytest.approx(np.mean([effects[target] for target in (0.4, 0.3, 0.2)]))
    assert found[0.2].ratio == pytest.approx(0.22 / 0.18)
    assert found[0.2].excess == pytest.approx(0.18 / 0.22 - 1)
    assert found[None].excess == pytest.approx(np.mean([0.42 / 0.40, 0.30 / 0.31, 0.18 / 0.22]) - 1)
    assert {contrast.estimates["mean OOD"].n_searches for contrast in found.values()} == {2}  # seeds in their place
    assert all((len(contrast.tasks), contrast.seeds) == (9, 2) for contrast in found.values())
    words = sentence_on(Store(folder))
    assert " in context recognition. Displacements at 0.2 differ by 22 %. Where they are comparable " in words
    assert words.index(" at 0.4, ") < words.index(" at 0.3.")


def test_arms_at_equal_entropy_have_a_contrast_of_their_own(store: Store) -> None:
    asked = recipe("displacement: 0.3", "displacement: 0.2", added=AT_ENTROPY)
    plan_and_write(store, asked)
    found = MatchedStrength.of(read_evidence(store))
    assert found is not None
    answers = {(one.is_registered, one.target): one.answer for one in found.contrasts()}
    assert answers == {
        (True, 0.4): StrengthAnswer.HIGHER,
        (True, None): StrengthAnswer.HIGHER,
        (False, 0.4): StrengthAnswer.LOWER,
        (False, None): StrengthAnswer.LOWER,
    }
    answer = Sources(read_evidence(store)).answer
    assert answer.question == QUESTION
    assert dict(answer.trust)["Rests on"] == "9 tasks, 2 seeds, learning rate 0.001; nothing was tuned."
    registered, at_entropy = answer.sentences
    assert registered.text.startswith("At equal strength: contexts minus rotated is +19.6 points")
    assert " out of distribution: higher; " in registered.words and at_entropy.words.count(": lower; ") == 1
    assert "an effect of content" not in at_entropy.words  # the two lie on different sides


def test_each_arm_shows_what_it_reaches_beside_fine_tuning(folder: Path) -> None:
    found = MatchedStrength.of(read_evidence(Store(folder)))
    assert found is not None
    arms = {(one.arm.name, one.target): one for one in found.strengths()}
    assert len(arms) == 6
    one = arms["contexts", 0.4]
    assert (one.kl_weight, one.displacement) == (1.0, pytest.approx(0.42))
    assert (min(one.displacements), max(one.displacements)) == (pytest.approx(0.419), pytest.approx(0.421))
    assert one.levels["mean OOD"] == pytest.approx(0.8, abs=0.03)
    for measure in ("ID test", "mean OOD", "contexts of the suites"):
        assert one.over_ft[measure].effect == pytest.approx(0.3, abs=0.03)


def test_a_strength_that_an_arm_does_not_reach_is_not_comparable(folder: Path, tmp_path: Path) -> None:
    asked = recipe("kl_weight: 0.3", "kl_weight: 3.0", "kl_weight: 0.2")
    store = planned_otherwise(folder, tmp_path / "results", asked)
    found = contrasts(store)
    assert {target: contrast.answer for target, contrast in found.items()} == {
        0.4: StrengthAnswer.HIGHER,
        0.3: StrengthAnswer.NOT_COMPARABLE,
        None: StrengthAnswer.NOT_COMPARABLE,
    }
    assert math.isnan(found[0.3].ratio) and not found[0.3].estimates
    rows = {
        (row["what"], row["strength"]): row for row in rows_of(Sources(read_evidence(store)).table("matched_strength"))
    }
    assert rows["rotated", "0.3"]["answer"] == "not reached"
    assert rows["contexts - rotated", "mean"]["answer"] == "not comparable"
    assert rows["contexts - rotated", "0.4"]["answer"] == "higher"
    words = sentence_on(store)
    assert words.startswith("contexts minus rotated: not comparable. The displacement 0.3 is not reached by rotated. ")
    assert words.endswith(" at 0.4.") and words.count(" at 0.") == 1


def test_nothing_is_answered_before_every_task_has_every_seed(folder: Path, tmp_path: Path) -> None:
    store = planned_otherwise(folder, tmp_path / "results", recipe().model_copy(update={"seeds": 3}))
    assert {contrast.answer for contrast in contrasts(store).values()} == {StrengthAnswer.NOT_FINISHED}


def test_a_later_plan_with_other_weights_or_seeds_changes_no_answer(folder: Path) -> None:
    store = Store(folder)
    before = {target: contrast.answer for target, contrast in contrasts(store).items()}
    Protocol(recipe("kl_weight: 0.3", "kl_weight: 3.0", "kl_weight: 0.2"), store).commit({})
    Protocol(recipe().model_copy(update={"seeds": 3}), store).commit({})
    assert {target: contrast.answer for target, contrast in contrasts(store).items()} == before


def test_a_folder_without_arms_has_an_empty_table(tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    asked = recipe().model_copy(update={"arms": [], "methods": ["ft"], "tasks": ["icons-3/mix-1"], "seeds": 2})
    plan_and_write(store, asked)
    assert MatchedStrength.of(read_evidence(store)) is None
    assert Sources(read_evidence(store)).table("matched_strength").empty


@pytest.mark.parametrize(
    ("effect", "error", "answer"),
    [
        (0.02, 0.005, StrengthAnswer.HIGHER),
        (0.002, 0.0005, StrengthAnswer.HIGHER),
        (-0.02, 0.005, StrengthAnswer.LOWER),
        (0.0005, 0.0005, StrengthAnswer.NO_DIFFERENCE),
        (0.002, 0.002, StrengthAnswer.OPEN),
    ],
)
def test_an_interval_is_answered_by_zero_first_and_then_by_the_margin(
    effect: float, error: float, answer: StrengthAnswer
) -> None:
    estimate = Estimate(effect, (Component(error**2, 1000, "groups"),), 10, 1000)
    one = MatchedContrast(True, None, ("a", "b"), {}, {"mean OOD": estimate}, 1.05, 0.05, True, ("t",), 10, ())
    assert one.answer is answer
    assert replace(one, ratio=1.11).answer is StrengthAnswer.NOT_COMPARABLE
    assert replace(one, is_finished=False).answer is StrengthAnswer.NOT_FINISHED
