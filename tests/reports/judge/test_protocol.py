"""The eight rules: each mistake is seen where it is made, and honest work of every kind is silent."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from carft.catalog.resolve import specify
from carft.config.cell import Training
from carft.core.source import code_digest
from carft.protocol.identity import identity, study_id
from carft.store.archive import pack, unpack
from carft.store.merge import merge
from carft.store.records import Store
from carft.store.stored_catalog import adopt_catalog
from carft.store.study_file import StudyFile, Trial
from reports.judge.caveats import EXTENDED
from reports.judge.claims.ledger import ledger
from reports.judge.protocol import DEPARTED
from reports.pipeline import build_report
from reports.render.words.verdict_words import reason_words
from reports.verify import NO_JOURNAL, verify
from sweeps.recipes.loading import load_recipe
from sweeps.recipes.recipe import Recipe
from sweeps.search.protocol import Protocol
from tests.support.conduct import another_process, edit_json, edit_study, note_again, study, verdict, work, wrong
from tests.support.dry import PREDICTIONS, made_up_metrics, parts
from tests.support.helpers import run_cli
from tests.support.planted import GOOD, HYPERPARAMETERS, changed, forget_journal, plant, write
from tests.support.reading import judged_of

pytestmark = pytest.mark.usefixtures("few_figures")

TASK, OTHER = "icons-3/all", "icons-3/mix-6"
METHODS = ("ft", "car_ft")
TRIALS = 4
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store(tmp_path_factory.mktemp("planted") / "results")
    plant(store, [TASK], GOOD, trials=TRIALS)
    return store


@pytest.fixture
def case(planted: Store, tmp_path: Path) -> Store:
    """A copy in which a test may make a mistake."""
    shutil.copytree(planted.root, tmp_path / "results")
    return Store(tmp_path / "results")


def small(tasks: list[str] | None = None, **changes: object) -> Recipe:
    asked = {"trials": 3, "seeds": 1, **changes}
    return load_recipe("miniature").changed(tasks or [OTHER], list(METHODS), **asked)


# 1. the winner is the best on validation


def choose_another_winner(store: Store) -> None:
    edit_study(store, "ft", winner=study(store, "ft").trials[1].cell)


# 2. confirm cells have its settings


def confirm_other_settings(store: Store) -> None:
    other = specify(TASK, "ft", {"lr": 1e-4}, 1, Training(epochs=6))
    write(store, other, 0.6, 0.6, GOOD)
    edit_study(store, "ft", confirm=[other.id, *study(store, "ft").confirm[1:]])


# 3. both sides have equal ranges, trials, sampler and data; a side with another budget is kept apart


def search_fewer_trials(store: Store) -> None:
    edit_study(store, "ft", trials=[trial.content() for trial in study(store, "ft").trials[:-1]])


def train_on_other_data(store: Store) -> None:
    for record in store.records():
        if record.cell.method == "ft":
            provenance = {**record.provenance, "digests": {"attested": "yes", "train": "others"}}
            edit_json(store.folder(record.id) / "record.json", provenance=provenance)


# 4. one code for both sides


def run_with_other_code(store: Store, confirm_alone: bool = False) -> None:
    confirmed = study(store, "ft").confirm

    def edited(line: dict[str, Any]) -> None:
        is_meant = line.get("method") == "ft" and (not confirm_alone or line.get("cell") in confirmed)
        if line["kind"] == "finished" and is_meant:
            line["code"] = "a" * 16

    note_again(store, edited)


def confirm_with_other_code(store: Store) -> None:
    run_with_other_code(store, confirm_alone=True)


# 7. seeds and searches are complete


def add_a_seed(store: Store) -> None:
    more = specify(TASK, "ft", HYPERPARAMETERS["ft"], 9, Training(epochs=6))
    write(store, more, 0.6, 0.6, GOOD)
    edit_study(store, "ft", confirm=[*study(store, "ft").confirm, more.id])


def mix_up_parameters(store: Store) -> None:
    first, second, *rest = (trial.content() for trial in study(store, "ft").trials)
    edit_study(store, "ft", trials=[first, {**second, "parameters": first["parameters"]}, *rest])


def ask_in_another_order(store: Store) -> None:
    """As where trials of two searches that learn from results are put together."""
    trials = [trial.content() for trial in study(store, "ft").trials]
    for trial, finished in zip(trials, (0, 1, 0, 2), strict=True):
        trial["finished"] = finished
    edit_study(store, "ft", trials=trials)


def drop_a_seed(store: Store) -> None:
    for method in METHODS:
        edit_study(store, method, confirm=study(store, method).confirm[:-1])


def lose_a_trial(store: Store) -> None:
    shutil.rmtree(store.folder(study(store, "ft").trials[1].cell))


# 8. the margin is that of the plan


def change_the_margin(store: Store) -> None:
    store.note("planned", claims={"C3": 0.02})


#: mistake -> what is said of the verdict that rests on it
MISTAKES: dict[Callable[[Store], None], str] = {
    choose_another_winner: r"the winner is \w+; validation selects \w+",
    confirm_other_settings: r"confirm cells \w+ are not the winner's",
    search_fewer_trials: r"the searches \(4 against 3 finished trials\)",
    train_on_other_data: r"the data \(car_ft .* against ft .*others",
    run_with_other_code: rf"the code \(car_ft {code_digest()} against ft a{{16}}\)",
    confirm_with_other_code: rf"the code \(car_ft {code_digest()} against ft a{{16}}\)",
    drop_a_seed: r"icons-3/all, car_ft: its confirm cells lack the planned seeds 3",
    add_a_seed: r"confirm cells \w+ are not the winner with a planned seed",
    ask_in_another_order: r"its trials are not numbered in the order in which its sampler was asked",
    mix_up_parameters: r"trial 1 lists cell \w+, but its parameters give cell \w+",
    lose_a_trial: r"trials 1 have neither a record nor a failure",
    change_the_margin: r"the margin of C3 is 0 points, and was 2 when a sweep was planned",
}


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.__name__)
def test_a_mistake_is_seen_and_leaves_the_claim_undecided(case: Store, mistake: Callable[[Store], None]) -> None:
    assert verdict(case).verdict == "suggested reproduced" and not wrong(case)
    mistake(case)
    answer = verdict(case)
    assert answer.flag in ("in doubt", "not comparable"), answer.verdict
    assert re.search(MISTAKES[mistake], reason_words(answer)), reason_words(answer)


def test_a_trial_off_its_sequence_is_seen(case: Store) -> None:
    """With a cell of its own, as a sweep with an edited sampler would leave it."""
    first, second, *rest = (trial.content() for trial in study(case, "ft").trials)
    cell = specify(TASK, "ft", {"lr": 2e-4}, 0, Training(epochs=6))
    write(case, cell, 0.4, 0.6, GOOD, unseal=False)
    edit_study(case, "ft", trials=[first, {**second, "parameters": {"lr": 2e-4}, "cell": cell.id}, *rest])
    assert any("trial 1 tried lr 0.0002; its search gives" in line for line in wrong(case))
    edit_study(case, "ft", sampler="another")  # of which the ranges alone are known
    assert not any("tried lr" in line for line in wrong(case))
    edit_study(case, "ft", space={"lr": [1e-3, 1e-2, 3e-3]})
    assert any("tried lr 0.0002, and its range is 0.001 to 0.01" in line for line in wrong(case))


@pytest.mark.parametrize("of_confirm", [False, True])
def test_a_test_set_that_is_opened_before_the_winner_is_selected_is_seen(store: Store, of_confirm: bool) -> None:
    """5. Somebody looks at the test set while the search runs: by `train --unseal`, say."""
    work(small(), store, most=5)
    (searched,) = [found for found in store.studies() if not found.winner]
    with another_process():
        for trial in searched.trials:
            if store.is_done(trial.cell) or of_confirm:
                look_at_test(store, searched, trial, of_confirm)
    work(small(), store)
    (words,) = wrong(store)
    assert searched.id in words and "opened on test before the winner was selected" in words


def look_at_test(store: Store, searched: StudyFile, trial: Trial, as_confirm: bool) -> None:
    """Open a trial, or the cell that confirms it if it wins, as `train --unseal` does."""
    made = store.read(next(cell for cell in searched.trial_cells if store.is_done(cell)))
    cell = replace(made.cell, hyperparameters=trial.parameters)
    if as_confirm:
        cell = replace(cell, seed=1)
        store.write(replace(made, cell=cell), [], PREDICTIONS)
    store.add_evaluation(cell.id, "test", made_up_metrics(cell, "test"), PREDICTIONS, {"by": "train"})


def test_a_planned_study_that_is_lost_is_seen(store: Store) -> None:
    """6. The tables of what is left do not decide."""
    work(small(searches=2), store)
    assert not judged_of(store).evidence.absent("ft")
    shutil.rmtree(store.root / "studies" / study(store, "ft", 2).id)
    (absent,) = judged_of(store).evidence.absent("ft")
    assert (absent.task, absent.search) == (OTHER, 2)
    assert f"1 planned searches of ft are missing ({OTHER}, search 2)" in reason_words(verdict(store))


def test_suites_that_are_chosen_after_the_test_are_seen(store: Store) -> None:
    recipe = small()
    adopt_catalog(store, recipe.catalog, recipe.tasks)
    work(recipe, store)
    assert not wrong(store)
    fewer = recipe.changed(suites=["hands"])
    adopt_catalog(store, fewer.catalog, fewer.tasks)
    assert any("evaluates on" in line and line.endswith("on hands") for line in wrong(Store(store.root)))


def test_suites_that_are_chosen_before_the_test_are_the_planned_ones(store: Store) -> None:
    recipe = small()
    work(recipe, store, most=2)
    fewer = recipe.changed(suites=["hands"])
    adopt_catalog(store, fewer.catalog, fewer.tasks)
    work(fewer, Store(store.root, catalog=store.catalog))
    assert not wrong(Store(store.root))


def test_a_mistake_is_shown_everywhere(case: Store, tmp_path: Path) -> None:
    drop_a_seed(case)
    options = ("report", "--results", case.root, "--out", tmp_path / "report")
    printed = json.loads(run_cli(*options, "--json").stdout)
    marks = {answer["claim"]: answer["caution"] for answer in printed["verdicts"]}
    assert DEPARTED in marks["C3"] and "planned seeds 3" in printed["warnings"][0]
    assert DEPARTED in run_cli("report", "why", "C3", "--results", case.root).stdout
    done = run_cli("report", "verify", "--results", case.root, "--out", tmp_path / "report")
    assert done.returncode == 1 and "planned seeds 3" in done.stdout


def test_a_journal_that_is_lost_or_broken_is_named(case: Store) -> None:
    (chain,) = (case.root / "journal").iterdir()
    lines = chain.read_bytes().splitlines(keepends=True)
    chain.write_bytes(b"".join(lines[:3] + lines[4:]))
    assert any("does not follow the line before it" in line for line in wrong(case))
    chain.unlink()
    assert wrong(case) == ["the records name a journal, which is missing"]


# honest work


class Killed(Exception):
    """The end of a process."""


@pytest.mark.parametrize("in_opening", [False, True])
def test_a_kill_between_a_line_and_its_file_is_silent(store: Store, in_opening: bool) -> None:
    work(small(), store, most=6, runs=lambda job: job.kind == "search")
    with another_process():
        protocol = Protocol(small(), store)
        protocol.commit({})
        protocol.write_studies()
        job = protocol.next_job()
        assert job is not None and job.kind == "confirm"
        first, second, *_ = parts(store, job)
        if in_opening:
            first()
        killed = patch("carft.store.records.write_json", side_effect=[Killed] if in_opening else [None, Killed])
        with killed, pytest.raises(Killed):
            (second if in_opening else first)()
    assert not wrong(store)
    work(small(), store)  # it is written again, and opened again
    assert not wrong(store)
    told = [line for line in store.journal().lines.values() if line.cell == job.cell.id]
    assert len([line for line in told if line.set == sorted(store.evaluated(job.cell.id))[0]]) == 1 + in_opening


def test_a_sweep_that_is_stopped_and_goes_on_is_silent(store: Store) -> None:
    for most in range(1, 8):
        work(small(), store, most=most)
    work(small(), store)
    assert not wrong(store) and all(found.winner for found in store.studies())


@pytest.mark.parametrize("changes", [{"searches": 2}, {"trials": 4}, {"seeds": 2}], ids=str)
def test_a_recipe_that_is_extended_is_marked_and_no_mistake(store: Store, changes: dict[str, int]) -> None:
    work(small(), store)
    work(small(**changes), store)
    assert not wrong(store)
    found = judged_of(store)
    assert found.unsealings.marked[EXTENDED] and not found.unsealings.marked[DEPARTED]
    work(small(), store)  # a smaller request afterwards
    assert not wrong(store)


def test_two_machines_whose_folders_are_merged_or_packed_are_silent(store: Store, tmp_path: Path) -> None:
    work(small(), store)
    theirs = Store(tmp_path / "theirs")
    with another_process():
        work(small([TASK]), theirs)
    merge(store, theirs, tmp_path / "both")
    both = Store(tmp_path / "both")
    assert not wrong(both) and len(both.journal().of("selected")) == 4
    work(small([TASK], seeds=2), both)
    for compact in (False, True):
        pack(both, tmp_path / f"{compact}.zip", compact=compact)
        unpack(tmp_path / f"{compact}.zip", tmp_path / f"{compact}")
        assert not wrong(Store(tmp_path / f"{compact}"))


def test_cells_of_a_grid_are_no_mistake_and_no_evidence_of_a_claim(case: Store) -> None:
    before = verdict(case)
    for method in METHODS:
        cell = specify(TASK, method, HYPERPARAMETERS[method], 9, Training(epochs=6))
        write(case, cell, 0.5, 0.5, GOOD)
        changes = {"id": method, "space": {}, "trials": [], "winner": None, "confirm": [], "grid": [cell.id]}
        case.write_study(method, study(case, method).model_copy(update=changes))
    assert not wrong(case)
    assert (verdict(case).verdict, verdict(case).cells) == (before.verdict, before.cells)


def test_both_ways_to_select_are_silent_and_a_shared_winner_is_selected_over_all_its_tasks(store: Store) -> None:
    for selection in ("per-task", "shared"):
        work(small([OTHER, "icons-3/mix-1"], searches=2, selection=selection), store)
    view = judged_of(store).evidence
    assert not wrong(store)
    assert {study.selection for study in view.studies} == {"per-task"}
    assert {study.selection for study in view.dropped} == {"shared"}
    assert len(view.studies) == len(view.dropped) == 8
    family = [s for s in store.studies() if s.selected_over and s.method == "ft" and s.search == 1]
    other = next(trial.cell for trial in family[0].trials if trial.cell != family[0].winner)
    store.write_study(family[0].id, changed(family[0], winner=other))
    assert any(f"the winner is {other}; validation selects {family[0].winner}" in line for line in wrong(store))
    shutil.rmtree(store.root / "studies" / family[0].id)
    assert any(f"selected over {family[0].task} too" in line for line in wrong(store))


def test_a_margin_that_is_planned_again_as_it_was_is_silent(case: Store) -> None:
    case.note("planned", claims={name: claim.margin for name, claim in ledger().items()})
    assert verdict(case).verdict == "suggested reproduced" and not wrong(case)


def test_a_folder_of_an_earlier_version_has_numbers_and_says_that_it_has_no_journal(case: Store) -> None:
    forget_journal(case)
    build_report(case, case.root.with_name("report"))
    found = verify(case, case.root.with_name("report"))
    assert found.holds and NO_JOURNAL in found.notes


def test_of_two_sweeps_of_all_tasks_one_is_reported_and_not_a_mixture(store: Store) -> None:
    tasks = ["icons-3/mix-6", "icons-3/mix-1", "icons-3/mix-3"]
    plant(store, tasks, GOOD)
    for known in [s for s in store.studies() if s.method == "car_ft"]:
        other = changed(known, space={**known.space, "kl_weight": [0.1, 90.0, 1.0]})
        other = changed(other, id=study_id(identity(other.content())))
        store.write_study(other.id, other)
    evidence = judged_of(store).evidence
    assert len({str(s.space) for s in evidence.studies if s.method == "car_ft"}) == 1
    assert len(evidence.dropped) == len(tasks)
