"""The protocol's outcome depends on the records alone: not on order, not on workers, not on kills."""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import pytest

from carft.catalog.catalog import BUILT_IN
from carft.config.cell import DIGEST_MARK, located, path_in, record_form, weights_place_of
from carft.core.errors import UserError
from carft.core.failure_kinds import FailureKind
from carft.core.files import files_below
from carft.data.icons.world import nine_tasks
from carft.store.archive import pack, unpack
from carft.store.failures import write_failure
from carft.store.records import Store
from carft.store.stored_catalog import adopt_catalog, stored_catalog
from carft.store.study_file import Extension
from sweeps.faults.policy import FIRST_TRIALS
from sweeps.plan.planning import plan_of
from sweeps.plan.rates import Rate
from sweeps.plan.resources import Resources
from sweeps.recipes.loading import load_recipe
from sweeps.recipes.recipe import Recipe
from sweeps.search.jobs import Job
from sweeps.search.protocol import Protocol
from tests.support.dry import parts

TASKS = ["icons-3/mix-7", "icons-3/mix-9"]


def small(**change: object) -> Recipe:
    """Two tasks, four trials, two confirm seeds; no curves, to be quick."""
    fixed = {"tasks": TASKS, "methods": ["zeroshot", "ft", "car_ft"], "trials": 4, "seeds": 2}
    fixed |= {"selection": "per-task"}
    return load_recipe("miniature").model_copy(update={**fixed, **change})


class Crew:
    """Workers that write records without computing anything; which one finishes next is drawn by ``seed``."""

    def __init__(self, store: Store, seed: int = 0, workers: int = 3) -> None:
        self.store, self.random, self.workers = store, random.Random(seed), workers
        self.finished: list[Job] = []

    def work(self, protocol: Protocol, stop_after: int | None = None, fails: Callable[[Job], bool] | None = None):
        """Run jobs until nothing is left, or leave after some with others still running, as a kill would."""
        running: list[Job] = []
        while stop_after is None or len(self.finished) < stop_after:
            while len(running) < self.workers and (job := protocol.next_job()) is not None:
                running.append(job)
            if not running:
                break
            job = running.pop(self.random.randrange(len(running)))
            if fails is not None and fails(job):
                protocol.end(job, "made up to fail")
            else:
                self.write(job)
                protocol.end(job)
            self.finished.append(job)
        return self

    def write(self, job: Job) -> None:
        for cell in job.cells():
            assert self.store.is_done(cell.id) == (job.kind == "oracle"), f"{job.key} was done twice"
        for part in parts(self.store, job):
            part()


def winners(protocol: Protocol) -> dict[str, str | None]:
    found = {f"{s.task} {s.method.name}": protocol.progress(s).winner for s in protocol.studies}
    return {name: None if winner is None else winner.cell for name, winner in found.items()}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Protocol, list[Job]]:
    """One worker, first come first served."""
    store = Store(tmp_path_factory.mktemp("undisturbed"))
    protocol = Protocol(small(), store)
    return protocol, Crew(store, workers=1).work(protocol).finished


@pytest.mark.parametrize("change", [{"trials": 4, "seeds": 1}, {"trials": 1, "seeds": 4}])
def test_more_trials_with_fewer_seeds_or_the_reverse_are_refused(store: Store, change: dict[str, int]) -> None:
    """The study would keep its former winner, and name no confirm cell of the new one."""
    asked = small(trials=2, seeds=2)
    Crew(store).work(protocol := Protocol(asked, store))
    protocol.write_studies()
    with pytest.raises(UserError, match="more of one and fewer of the other") as refused:
        Protocol(asked.model_copy(update=change), store).commit({})
    assert f"--trials {max(2, change['trials'])} --seeds {max(2, change['seeds'])}" in refused.value.hint
    for same in ({"trials": 1, "seeds": 1}, {"trials": 4, "seeds": 2}):
        Protocol(asked.model_copy(update=same), store).commit({})


def test_jobs_run_once_each_after_what_they_follow_and_the_total_is_right(store: Store) -> None:
    protocol = Protocol(small(methods=["zeroshot", "ft", "car_ft", "wise_ft"], trials=3, seeds=1), store)
    jobs = Crew(store, seed=4).work(protocol).finished
    assert len({job.key for job in jobs}) == len(jobs) and protocol.finished() and protocol.next_job() is None
    assert Counter(job.kind for job in jobs) == {"search": 2 * 2 * 3, "confirm": 2 * 2 + 2, "curve": 2 * 2}
    assert len(protocol.done) == protocol.total() == len(store.ids()) == 12 + 6 + 4 * len(protocol.recipe.alphas)
    for position, job in enumerate(jobs):
        before = [other for other in jobs[:position] if (other.cell.task, other.cell.method) == _side(job)]
        assert job.kind != "curve" or Job("confirm", job.cell) in before
        assert job.kind != "confirm" or not job.trains or [other.kind for other in before] == ["search"] * 3
        assert bool(store.evaluated(job.cell.id)) == (job.kind != "search")
    again = Protocol(protocol.recipe, store)
    assert again.finished() and len(again.reused) == len(again.done) == again.total() and not protocol.reused
    assert winners(again) == winners(protocol)


def _side(job: Job) -> tuple[str, str]:
    return job.cell.task, job.cell.method


def test_a_winner_is_the_best_trial_and_is_confirmed_with_the_same_fresh_seeds_for_every_method(
    undisturbed: tuple[Protocol, list[Job]],
) -> None:
    protocol, jobs = undisturbed
    assert Counter(_side(j) for j in jobs if j.kind == "search") == {
        (task, method): 4 for task in TASKS for method in ("ft", "car_ft")
    }
    assert {j.cell.seed for j in jobs if j.kind == "search"} == {protocol.recipe.search_seed}
    protocol.write_studies()
    files = {study.id: study for study in protocol.store.studies()}
    for study in protocol.studies:
        winner, trials = protocol.progress(study).winner, {cell.id: cell for cell in study.trial_cells}
        assert winner is not None
        assert winner.metrics["val/top1"] == max(protocol.done[cell]["val/top1"] for cell in trials)
        confirmed = protocol.progress(study).confirm_cells
        assert {str(c.hyperparameters) for c in confirmed} == {str(trials[winner.cell].hyperparameters)}
        assert [cell.seed for cell in confirmed] == protocol.recipe.confirm_seeds() != [protocol.recipe.search_seed]
        file = files[study.id]
        assert (file.winner, file.confirm) == (winner.cell, [cell.id for cell in confirmed])
        assert [(t.number, t.status) for t in file.trials] == [(number, "done") for number in range(4)]


def test_a_sweep_evaluates_on_the_suites_that_were_chosen_and_the_others_can_be_added(store: Store) -> None:
    recipe = small(tasks=TASKS[:1], methods=["zeroshot", "ft", "wise_ft"], seeds=1).changed(suites=["hands"])
    adopt_catalog(store, recipe.catalog, recipe.tasks)
    Crew(store).work(protocol := Protocol(recipe, store))
    assert {len(store.evaluated(cell)) for cell in store.ids()} == {0, 2} and protocol.finished()
    assert Protocol(small(tasks=TASKS[:1], seeds=1), Store(store.root, catalog=store.catalog)).finished() is False
    every = small(tasks=TASKS[:1], methods=["zeroshot", "ft", "wise_ft"], seeds=1)
    left = Protocol(every, Store(store.root))
    assert [job.kind for job in iter(left.next_job, None)] == ["confirm", "confirm"]
    with pytest.raises(UserError, match=r"There is no suite 'hand'\. Did you mean hands"):
        small().changed(suites=["hand"])


def test_oracle_opens_every_finished_trial_after_its_study_has_a_winner(store: Store) -> None:
    """And nothing else changes: the same winners, and a second request finds nothing to do."""
    plain = Protocol(small(), store)
    Crew(store).work(plain)
    protocol = Protocol(small(oracle=True), store)
    jobs = Crew(store).work(protocol).finished
    assert Counter(job.kind for job in jobs) == {"oracle": 4 * 4} and protocol.finished()
    assert winners(protocol) == winners(plain) and protocol.total() == len(protocol.done)
    for study in protocol.studies:
        assert all(store.evaluated(cell.id) for cell in study.trial_cells)
    protocol.write_studies()
    assert Protocol(small(oracle=True), store).finished()
    Protocol(small(trials=3), store).write_studies()  # a later sweep without it forgets nothing
    assert all(study.oracle for study in store.studies())


@pytest.mark.parametrize("seed", range(4))
def test_winners_do_not_depend_on_the_order_in_which_jobs_end(
    undisturbed: tuple[Protocol, list[Job]], tmp_path: Path, seed: int
) -> None:
    protocol, jobs = undisturbed
    other = Protocol(small(), Store(tmp_path))
    shuffled = Crew(other.store, seed=seed, workers=2 + 3 * seed).work(other).finished
    assert winners(other) == winners(protocol)
    assert {job.key for job in shuffled} == {job.key for job in jobs}


@pytest.mark.parametrize("stop_after", [1, 3, 7, 12, 20, 25])
def test_a_killed_sweep_goes_on_and_repeats_nothing(
    undisturbed: tuple[Protocol, list[Job]], store: Store, stop_after: int
) -> None:
    """The crew asserts that no cell is done twice; a half-written cell is one that is not done."""
    protocol, jobs = undisturbed
    before = Crew(store, seed=stop_after).work(Protocol(small(), store), stop_after).finished
    half = next(j.cell for j in jobs if not store.is_done(j.cell.id))
    store.folder(half.id).mkdir(parents=True)
    (store.folder(half.id) / "spec.json").write_text("{")
    again = Protocol(small(), store)
    after = Crew(store, seed=99).work(again).finished
    assert not {j.key for j in before} & {j.key for j in after}
    assert {j.key for j in before} | {j.key for j in after} == {j.key for j in jobs}
    assert winners(again) == winners(protocol)
    assert len(again.reused) == len(before)


def test_a_confirm_cell_that_was_killed_before_unsealing_is_taken_up_again(store: Store) -> None:
    recipe = small(tasks=TASKS[:1], methods=["zeroshot"])
    (job,) = Crew(store).work(Protocol(recipe, store)).finished
    (store.folder(job.cell.id) / "evaluations" / "test.json").unlink()
    assert Protocol(recipe, store).next_job() == job


@pytest.mark.parametrize("file", ["predictions.parquet", "record.json"])
def test_a_damaged_cell_is_made_again_unless_it_was_opened(store: Store, file: str) -> None:
    recipe = small(tasks=TASKS[:1], methods=["ft"], trials=2)
    Crew(store).work(first := Protocol(recipe, store))
    first.write_studies()
    (study,) = store.studies()
    sealed, opened = study.winner, study.confirm[0]
    (store.folder(sealed) / file).write_bytes(b"PAR1")
    again = Protocol(recipe, store)
    assert str(store.folder(sealed) / file) in again.remarks[sealed]
    job = again.next_job()
    assert job.cell.id == sealed and store.set_aside_stale(sealed)
    assert [path.name for path in store.root.glob(f"superseded/{sealed}-*/{file}")] == [file]
    Crew(store).write(job)
    again.end(job)
    again.write_studies()
    assert again.finished() and store.studies() == [study]
    (store.folder(opened) / file).write_bytes(b"PAR1")
    last = Protocol(recipe, store)
    (reason,) = last.failed.values()
    assert last.finished() and file in reason and "Put a copy of the file back" in reason
    with pytest.raises(UserError, match="was evaluated on held-out sets"):
        store.set_aside_stale(opened)
    assert store.is_done(opened)


def test_the_file_of_a_study_that_is_torn_is_written_again_unless_it_had_a_winner(store: Store) -> None:
    recipe = small(tasks=TASKS[:1], methods=["ft"], trials=2)
    protocol = Protocol(recipe, store)
    Crew(store).work(protocol, stop_after=1)
    protocol.write_studies()
    (study,) = store.studies()
    path = store.study_path(study.id)
    path.write_text(path.read_text()[:100])
    again = Protocol(recipe, store)
    again.write_studies()
    (anew,) = store.studies()
    assert anew.trial_cells == study.trial_cells and str(path) in again.remarks[study.id]
    Crew(store).work(again)
    again.write_studies()
    path.write_text("")
    with pytest.raises(UserError, match="stands in no other file") as refused:
        Protocol(recipe, store)
    assert str(path) in str(refused.value)


@pytest.mark.parametrize("every_trial", [False, True])
def test_a_failed_trial_cannot_win_and_a_study_without_trials_has_no_winner(store: Store, every_trial: bool) -> None:
    protocol = Protocol(small(), store)
    first = {s.trial_cells[0].id for s in protocol.studies if s.method.name == "ft"}
    Crew(store).work(protocol, fails=lambda job: job.cell.method == "car_ft" if every_trial else job.cell.id in first)
    assert protocol.finished() and len(protocol.failed) == (8 if every_trial else 2)
    assert len(protocol.done) == protocol.total() - (8 + 4 if every_trial else 2)
    for study in protocol.studies:
        winner, lost = protocol.progress(study).winner, every_trial and study.method.name == "car_ft"
        assert (winner is None) == lost and (winner is None or winner.cell not in first or every_trial)
        assert len(protocol.progress(study).confirm_cells) == (0 if lost else 2)


def test_an_error_of_code_stops_a_study_after_its_first_trials(store: Store) -> None:
    recipe, line = small(tasks=TASKS[:1]), "near.py, line 20: ZeroDivisionError: division by zero"

    def fails(job: Job) -> bool:
        if found := job.cell.method == "car_ft":
            write_failure(store, job.cell, FailureKind.CODE, line, job=job.kind)
        return found

    protocol = Protocol(recipe, store)
    jobs = Crew(store, workers=1).work(protocol, fails=fails).finished
    assert protocol.finished() and sum(job.cell.method == "car_ft" for job in jobs) == FIRST_TRIALS < recipe.trials
    stopped, other = (next(s for s in protocol.studies if s.method.name == name) for name in ("car_ft", "ft"))
    assert protocol.progress(other).winner is not None and protocol.progress(stopped).winner is None
    protocol.write_studies()
    assert "failed with the same error" in store.study(stopped.id).too_few
    assert line not in store.study(stopped.id).too_few  # reports and archives hold it
    again = Protocol(recipe, store, retry_failed=False)
    assert again.next_job() is None and again.progress(stopped).code_error == line
    plan = plan_of(again, Resources(), 2, Rate(1.0, 1.0, 1.0, "a test"))
    assert (plan.cells, plan.failed) == (0, recipe.trials + recipe.seeds)
    assert Protocol(recipe, store).next_job() is not None  # as with --retry-failed


def test_a_study_that_is_extended_after_its_test_was_seen_says_so(store: Store) -> None:
    first = small(tasks=TASKS[:1], methods=["ft"], trials=2)
    for recipe, expected in (
        (first, None),
        (first, None),  # the same again extends nothing
        (first.model_copy(update={"trials": 4}), Extension(trials=2, confirm=2)),
        (first.model_copy(update={"trials": 4, "seeds": 3}), Extension(trials=2, confirm=2)),  # since the first time
    ):
        protocol = Protocol(recipe, store)
        Crew(store).work(protocol)
        protocol.write_studies()
        assert store.studies()[0].extended_from == expected
    more = Protocol(first.model_copy(update={"trials": 4, "seeds": 3, "searches": 2}), store)
    more.write_studies()  # as a sweep does before its first job
    Crew(store).work(more)
    more.write_studies()
    assert {s.search: s.extended_from for s in store.studies()} == {1: expected, 2: Extension(searches=1)}


@contextmanager
def counted_calls() -> Iterator[list[int]]:
    """Yields a list that gets the number of Python functions that were called within the block."""
    counts = [0]

    def count(frame: object, event: str, argument: object) -> None:
        counts[0] += event == "call"

    sys.setprofile(count)
    try:
        yield counts
    finally:
        sys.setprofile(None)


@pytest.mark.parametrize(("size", "least"), [("trials", 16), ("tasks", 2), ("searches", 2), ("seeds", 12)])
def test_the_work_of_the_driver_grows_as_the_sweep_does(tmp_path: Path, size: str, least: int) -> None:
    """Four times the sweep, four times the calls: no job has all others looked at again."""
    calls: list[int] = []
    for number, times in enumerate((1, 1, 4)):  # the first one also imports
        sizes = {"trials": 8, "tasks": 1, "searches": 1, "seeds": 4, size: times * least}
        changes: dict[str, object] = {**sizes, "tasks": list(nine_tasks()[: sizes["tasks"]])}
        recipe = small(methods=["ft", "car_ft", "wise_ft"], **changes)
        store = Store(tmp_path / str(number))
        made_up = {"val/top1": 0.5, "val/loss": 1.0}
        with patch.object(Store, "metrics", lambda store, cell, metrics=made_up: metrics), counted_calls() as counts:
            protocol = Protocol(recipe, store)
            protocol.write_studies()
            while (job := protocol.next_job()) is not None:
                protocol.end(job)
                protocol.write_studies(at_once=False)
            protocol.write_studies()
        assert protocol.finished() and len(protocol.done) == protocol.total()
        calls += counts
    assert calls[2] < 4**1.1 * calls[1]


def test_the_file_of_a_study_is_written_when_it_has_a_winner_and_at_the_end(store: Store) -> None:
    """What a kill leaves old is made anew from the records."""
    protocol = Protocol(small(tasks=TASKS[:1], methods=["ft"], trials=16, seeds=1), store)
    crew, statuses = Crew(store, workers=1), list[set[str]]()
    protocol.commit({})
    protocol.write_studies()
    while (job := protocol.next_job()) is not None and job.kind == "search":
        crew.write(job)
        protocol.end(job)
        protocol.write_studies(at_once=False)
        (file,) = store.studies()
        statuses.append({trial.status for trial in file.trials})
    assert statuses == [{"open"}] * 15 + [{"done"}] and file.winner and len(store.journal().of("selected")) == 1
    for trial in file.trials[:9]:  # as if the sweep had been killed before these ends were written
        object.__setattr__(trial, "status", "open")
    store.write_study(file.id, file)
    Protocol(protocol.recipe, store).write_studies()
    (anew,) = store.studies()
    assert {trial.status for trial in anew.trials} == {"done"}


def test_a_grid_runs_every_setting_with_every_seed_and_grows_without_a_search(store: Store) -> None:
    recipe = load_recipe("dose").smoked().model_copy(update={"tasks": TASKS})
    Crew(store).work(Protocol(recipe, store), stop_after=7)  # then killed
    protocol = Protocol(recipe, store)
    assert len(protocol.done) == 7
    jobs = Crew(store).work(protocol).finished
    protocol.write_studies()
    assert {job.kind for job in jobs if job.cell.hyperparameters} == {"grid"}
    assert len(store.ids()) == protocol.total() == len(TASKS) * (1 + 2 * (1 + 2 + 2))
    studies = {(study.task, study.method): study for study in store.studies()}
    assert {(study.winner, study.too_few, len(study.trials)) for study in studies.values()} == {(None, "", 0)}
    sizes = {"ft": 2, "car_ft": 4, "car_ft_random": 4}
    assert {pair: len(study.grid) for pair, study in studies.items()} == {
        (task, name): size for task in TASKS for name, size in sizes.items()
    }
    asked = {store.read(cell).cell for study in studies.values() for cell in study.grid}
    assert {(cell.hyperparameters["lr"], cell.hyperparameters.get("kl_weight", 1.0), cell.seed) for cell in asked} == {
        (1e-3, weight, seed) for weight in (1.0, 10.0) for seed in (1, 2)
    }
    other = Protocol(recipe.model_copy(update={"grid": {"lr": [2e-3], "kl_weight": [5.0]}}), store)
    Crew(store).work(other)
    other.write_studies()
    assert {study.id for study in store.studies()} == {study.id for study in studies.values()}
    assert all(len(study.grid) == sizes[study.method] + 2 for study in store.studies())


def test_searches_are_studies_of_their_own_with_own_seeds_and_the_first_is_the_only_one_of_a_plain_sweep(
    store: Store,
) -> None:
    recipe = small(tasks=TASKS[:1], methods=["zeroshot", "ft", "car_ft"], searches=2)
    protocol = Protocol(recipe, store)
    jobs = Crew(store).work(protocol).finished
    assert len(protocol.done) == protocol.total() == 1 + 2 * 2 * (4 + 2)
    seeds = {(j.kind, j.cell.seed) for j in jobs if j.cell.method != "zeroshot"}
    assert seeds == {("search", 0), ("search", 1000)} | {("confirm", s) for s in (1, 2, 1001, 1002)}
    plain = [study.id for study in Protocol(recipe.model_copy(update={"searches": 1}), store).studies]
    assert [study.id for study in protocol.studies if study.search == 1] == plain
    rates = {s.search: [tried["lr"] for tried in s.trials.settings] for s in protocol.studies}
    assert rates[1][0] == rates[2][0] and rates[1][1] != rates[2][1]  # the same first guess, other draws
    whole = Protocol(load_recipe("miniature").changed(searches=2), store).studies
    assert len({(s.search, *(tried["lr"] for tried in s.trials.settings)) for s in whole}) == 2
    protocol.write_studies()
    assert [s.search for s in store.studies()].count(2) == 2
    assert not any(study.extended_from for study in store.studies())


def test_tasks_of_a_family_share_the_setting_of_the_best_mean(store: Store) -> None:
    """The second way to select trains confirm cells alone, and both keep their studies."""
    alone = Protocol(small(selection="per-task"), store)
    Crew(store).work(alone)
    alone.write_studies()
    shared = Protocol(small(selection="shared"), store)
    assert {job.kind for job in Crew(store, seed=1).work(shared).finished} <= {"confirm"}
    shared.write_studies()
    studies = store.studies()
    assert len(studies) == 8 and shared.total() == alone.total()
    for method in ("ft", "car_ft"):
        family = [s for s in studies if s.method == method and s.selected_over]
        assert [sorted(s.selected_over) for s in family] == [TASKS, TASKS]
        numbers = {next(t.number for t in s.trials if t.cell == s.winner) for s in family}
        scores = [[store.metrics(t.cell)["val/top1"] for t in s.trials] for s in family]
        means = [sum(pair) for pair in zip(*scores, strict=True)]
        assert len(numbers) == 1 and means[numbers.pop()] == max(means)
        assert len({tuple(sorted(store.read(c).cell.hyperparameters.items())) for s in family for c in s.confirm}) == 1
    again = Protocol(small(selection="shared"), store)
    assert again.next_job() is None and winners(again) == winners(shared)
    one, other = (Protocol(small(selection=how, tasks=TASKS[:1]), store) for how in ("shared", "per-task"))
    assert [study.id for study in one.studies] == [study.id for study in other.studies]  # a task alone has its own


def test_a_family_has_no_setting_where_one_task_fails_and_says_which(store: Store) -> None:
    protocol = Protocol(small(selection="shared", methods=["ft"]), store)
    jobs = Crew(store).work(protocol, fails=lambda job: job.kind == "search" and job.cell.task == TASKS[1]).finished
    assert all(job.kind == "search" for job in jobs) and protocol.finished()
    assert all(TASKS[1] in protocol.progress(study).no_winner or study.task == TASKS[1] for study in protocol.studies)
    assert all(
        protocol.progress(study).no_winner and protocol.progress(study).winner is None for study in protocol.studies
    )


DIGEST = 64 * "a"


def recipe_of(weights: Path, **change: object):
    """A small recipe on a weights file with the content that all files here have."""
    weights.parent.mkdir(parents=True, exist_ok=True)
    weights.write_bytes(b"weights")
    return small(model="icons-resnet", pretrained=str(weights), tasks=["icons-3/mix-7"], **change)


def test_the_same_weights_in_another_folder_are_the_same_studies(tmp_path: Path) -> None:
    here, there, renamed = (
        Protocol(recipe_of(tmp_path / name), Store(tmp_path / "results")) for name in ("a/w.pt", "b/w.pt", "b/v.pt")
    )
    assert [s.id for s in here.studies] == [s.id for s in there.studies] == [s.id for s in renamed.studies]
    assert all(s.content["pretrained"].startswith(f"w.pt{DIGEST_MARK}") for s in here.studies)
    (tmp_path / "c").mkdir()
    (tmp_path / "c/w.pt").write_bytes(b"other weights")
    changed = small(model="icons-resnet", pretrained=str(tmp_path / "c/w.pt"), tasks=["icons-3/mix-7"])
    other = Protocol(changed, Store(tmp_path / "results"))
    assert not {s.id for s in other.studies} & {s.id for s in here.studies}


def test_neither_records_nor_an_archive_hold_where_weights_lie(tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    protocol = Protocol(recipe_of(tmp_path / "secret-folder/w.pt"), store)
    Crew(store).work(protocol)
    protocol.write_studies()
    place = weights_place_of(protocol.studies[0].cell({"lr": 1e-3}, 0))
    adopt_catalog(store, BUILT_IN.with_weights(place), ())
    assert list(stored_catalog(store, BUILT_IN).weights.values()) == [str(tmp_path / "secret-folder/w.pt")]
    protocol.commit({})
    pack(store, tmp_path / "a.zip")
    unpack(tmp_path / "a.zip", tmp_path / "published")
    texts = [tmp_path / "published" / name for name in files_below(tmp_path / "published", ("",))]
    assert len(texts) > 10 and not any(b"secret-folder" in path.read_bytes() for path in texts)
    record = next(r for r in store.records() if r.cell.method == "ft")
    assert located(record.cell.model, record.cell.pretrained, store.catalog.weights)[1].startswith(
        str(tmp_path / "secret-folder")
    )


def test_a_model_folder_is_named_without_its_path_and_found_again() -> None:
    folder = "local-dir:/home/lab/clip"
    assert record_form(folder, f"{folder}{DIGEST_MARK}{DIGEST}") == (
        "local-dir:clip",
        f"local-dir:clip{DIGEST_MARK}{DIGEST}",
    )
    assert record_form(folder, folder) == (folder, folder) and path_in(folder, folder) == "/home/lab/clip"
    there, lies = "local-dir:/mnt/clip", {DIGEST: "/mnt/clip"}
    named = record_form(folder, f"{folder}{DIGEST_MARK}{DIGEST}")
    assert located(*named, lies) == (there, f"{there}{DIGEST_MARK}{DIGEST}")
    assert record_form("ViT-B-16", "openai") == located("ViT-B-16", "openai", lies) == ("ViT-B-16", "openai")
    assert path_in("hf-hub:org/model", "hf-hub:org/model") == ""
