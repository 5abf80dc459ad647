"""The protocol's outcome depends on the records alone: not on order, not on workers, not on kills."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from carft.core.errors import UserError
from carft.store.failure_kinds import CODE, UNREADABLE
from carft.store.failures import settled_failures, write_failure
from carft.store.records import Store
from carft.store.stored_catalog import keep_catalog
from carft.store.study import Extension
from sweeps.plan.forecast import forecast
from sweeps.recipes import Recipe, load_recipe
from sweeps.search.progress import FIRST_TRIALS
from sweeps.search.protocol import Job, Protocol
from tests.support.dry import parts

TASKS = ["icons/transport", "icons/weather"]


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
    found = {f"{s.task} {s.method.name}": protocol.winner(s) for s in protocol.studies}
    return {name: None if winner is None else winner.cell for name, winner in found.items()}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Protocol, list[Job]]:
    """One worker, first come first served."""
    store = Store(tmp_path_factory.mktemp("undisturbed"))
    protocol = Protocol(small(), store)
    return protocol, Crew(store, workers=1).work(protocol).finished


def test_every_job_is_done_once_and_the_total_is_right(store: Store) -> None:
    protocol = Protocol(small(methods=["zeroshot", "ft", "car_ft", "wise_ft"], trials=3, seeds=1), store)
    jobs = Crew(store).work(protocol).finished
    assert max(Counter(job.key for job in jobs).values()) == 1
    assert protocol.finished()
    assert protocol.next_job() is None
    assert len(protocol.done) == protocol.total() == len(store.ids())
    kinds = Counter(job.kind for job in jobs)
    assert kinds == {"search": 2 * 2 * 3, "confirm": 2 * 2 + 2, "curve": 2 * 2}
    assert protocol.total() == 12 + 6 + 4 * len(protocol.recipe.alphas)
    assert not protocol.reused


def test_search_comes_before_confirmation(undisturbed: tuple[Protocol, list[Job]]) -> None:
    _, jobs = undisturbed
    for task in TASKS:
        for method in ("ft", "car_ft"):
            kinds = [j.kind for j in jobs if (j.cell.task, j.cell.method) == (task, method)]
            assert kinds == ["search"] * 4 + ["confirm"] * 2


def test_curves_come_after_their_parents(store: Store) -> None:
    protocol = Protocol(small(methods=["ft", "wise_ft"], tasks=TASKS[:1], trials=1), store)
    jobs = Crew(store, seed=4).work(protocol).finished
    for position, job in enumerate(jobs):
        if job.kind == "curve":
            assert Job("confirm", job.cell) in jobs[:position]


def test_only_confirm_cells_are_unsealed(undisturbed: tuple[Protocol, list[Job]]) -> None:
    protocol, jobs = undisturbed
    for job in jobs:
        assert bool(protocol.store.evaluated(job.cell.id)) == (job.kind != "search")


def test_a_sweep_evaluates_on_the_suites_that_were_chosen_and_the_others_can_be_added(store: Store) -> None:
    recipe = small(tasks=TASKS[:1], methods=["zeroshot", "ft", "wise_ft"], seeds=1).changed(suites=["hands"])
    keep_catalog(store, recipe.catalog, recipe.tasks)
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
        assert all(store.evaluated(cell.id) for _, _, cell in protocol.trials(study))
    protocol.write_studies()
    assert Protocol(small(oracle=True), store).finished()
    Protocol(small(trials=3), store).write_studies()  # a later sweep without it forgets nothing
    assert all(study.oracle for study in store.studies())


def test_every_trained_method_gets_the_same_trials_and_the_same_seeds(undisturbed: tuple[Protocol, list[Job]]) -> None:
    protocol, jobs = undisturbed
    trials = Counter((j.cell.task, j.cell.method) for j in jobs if j.kind == "search")
    assert set(trials.values()) == {4}
    assert len(trials) == 4
    assert {j.cell.seed for j in jobs if j.kind == "search"} == {protocol.recipe.search_seed}
    for study in protocol.studies:
        seeds = [cell.seed for cell in protocol.confirm_cells(study)]
        assert seeds == protocol.recipe.confirm_seeds()
        assert protocol.recipe.search_seed not in seeds


def test_a_winner_is_confirmed_with_its_own_hyperparameters(undisturbed: tuple[Protocol, list[Job]]) -> None:
    protocol, _ = undisturbed
    for study in protocol.studies:
        winner = protocol.winner(study)
        assert winner is not None
        trials = {cell.id: cell for _, _, cell in protocol.trials(study)}
        assert winner.metrics["val/top1"] == max(protocol.done[cell]["val/top1"] for cell in trials)
        for cell in protocol.confirm_cells(study):
            assert cell.hyperparameters == trials[winner.cell].hyperparameters


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


def test_a_finished_sweep_has_nothing_to_do(undisturbed: tuple[Protocol, list[Job]]) -> None:
    protocol, _ = undisturbed
    again = Protocol(small(), protocol.store)
    assert again.finished()
    assert again.next_job() is None
    assert len(again.reused) == len(again.done) == again.total()
    assert winners(again) == winners(protocol)


def test_a_confirm_cell_that_was_killed_before_unsealing_is_taken_up_again(store: Store) -> None:
    recipe = small(tasks=TASKS[:1], methods=["zeroshot"])
    (job,) = Crew(store).work(Protocol(recipe, store)).finished
    (store.folder(job.cell.id) / "evaluations" / "test.json").unlink()
    assert Protocol(recipe, store).next_job() == job


def test_a_failed_trial_does_not_stop_a_study_and_cannot_win(store: Store) -> None:
    protocol = Protocol(small(), store)
    first = {s.task: next(iter(protocol.trials(s)))[2].id for s in protocol.studies if s.method.name == "ft"}
    Crew(store).work(protocol, fails=lambda job: job.cell.id in first.values())
    assert protocol.finished()
    assert len(protocol.failed) == 2
    assert len(protocol.done) == protocol.total() - 2
    assert all(winner is not None and winner not in first.values() for winner in winners(protocol).values())


def test_a_study_whose_trials_all_fail_has_no_winner_and_the_others_go_on(store: Store) -> None:
    protocol = Protocol(small(), store)
    Crew(store).work(protocol, fails=lambda job: job.cell.method == "car_ft")
    assert protocol.finished()
    for study in protocol.studies:
        assert (protocol.winner(study) is None) == (study.method.name == "car_ft")
        assert len(protocol.confirm_cells(study)) == (0 if study.method.name == "car_ft" else 2)


def test_an_error_of_code_stops_a_study_after_its_first_trials(store: Store) -> None:
    recipe, line = small(tasks=TASKS[:1]), "near.py, line 20: ZeroDivisionError: division by zero"

    def fails(job: Job) -> bool:
        if found := job.cell.method == "car_ft":
            write_failure(store, job.cell, CODE, line, job=job.kind)
        return found

    protocol = Protocol(recipe, store)
    jobs = Crew(store, workers=1).work(protocol, fails=fails).finished
    assert protocol.finished() and sum(job.cell.method == "car_ft" for job in jobs) == FIRST_TRIALS < recipe.trials
    stopped, other = (next(s for s in protocol.studies if s.method.name == name) for name in ("car_ft", "ft"))
    assert protocol.winner(other) is not None and protocol.winner(stopped) is None
    protocol.write_studies()
    assert line in store.study(stopped.id).too_few
    again = Protocol(recipe, store, failed_before=settled_failures(store))
    assert again.next_job() is None and line in again.too_few(stopped)
    forecast_ = forecast(again, 2, None, None)
    assert (forecast_.cells, forecast_.failed) == (0, recipe.trials + recipe.seeds)
    assert Protocol(recipe, store).next_job() is not None  # as with --retry-failed


def test_an_image_that_zero_shot_cannot_read_stops_its_task_alone(store: Store) -> None:
    recipe, reason = small(), "The image 'a.png' cannot be read."

    def fails(job: Job) -> bool:
        if found := job.cell.method == "zeroshot" and job.cell.task == TASKS[0]:
            write_failure(store, job.cell, UNREADABLE, reason, job=job.kind)
        return found

    protocol = Protocol(recipe, store)
    jobs = Crew(store, workers=1).work(protocol, fails=fails).finished
    assert protocol.finished() and len(protocol.failed) == 1
    assert [job.cell.method for job in jobs if job.cell.task == TASKS[0]] == ["zeroshot"]
    assert sum(job.cell.task == TASKS[1] for job in jobs) == protocol.total() // 2
    protocol.write_studies()
    for study in protocol.studies:
        assert (reason in store.study(study.id).too_few) == (study.task == TASKS[0])
    Crew(store).work(again := Protocol(recipe, store, failed_before=settled_failures(store)))  # the file was replaced
    again.write_studies()
    assert not again.failed and len(again.done) == again.total()
    assert not any(store.study(study.id).too_few for study in again.studies)


def test_the_same_command_again_runs_what_failed(store: Store) -> None:
    recipe = small(tasks=TASKS[:1], methods=["ft"])
    Crew(store).work(Protocol(recipe, store), fails=lambda job: job.kind == "confirm")
    jobs = Crew(store).work(Protocol(recipe, store)).finished
    assert [job.kind for job in jobs] == ["confirm", "confirm"]


def test_more_trials_later_keep_the_trials_that_are_there(store: Store) -> None:
    """The number of trials is no part of what a trial tries."""
    Crew(store).work(Protocol(small(tasks=TASKS[:1], methods=["ft"], trials=2), store))
    more = Protocol(small(tasks=TASKS[:1], methods=["ft"], trials=4), store)
    jobs = Crew(store).work(more).finished
    assert sum(job.kind == "search" for job in jobs) == 2


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
    rates = {s.search: [p["lr"] for _, p, _ in protocol.trials(s)] for s in protocol.studies}
    assert rates[1][0] == rates[2][0] and rates[1][1] != rates[2][1]  # the same first guess, other draws
    protocol.write_studies()
    assert [s.search for s in store.studies()].count(2) == 2
    assert not any(study.extended_from for study in store.studies())


def test_a_search_that_is_added_after_test_was_seen_says_so(store: Store) -> None:
    recipe = small(tasks=TASKS[:1], methods=["ft"])
    Crew(store).work(first := Protocol(recipe, store))
    first.write_studies()
    more = Protocol(recipe.model_copy(update={"searches": 2}), store)
    more.write_studies()  # as a sweep does before its first job
    Crew(store).work(more)
    more.write_studies()
    told = {study.search: study.extended_from for study in store.studies()}
    assert told == {1: None, 2: Extension(searches=1)}


def test_a_killed_sweep_that_goes_on_extends_nothing(store: Store) -> None:
    recipe = small(tasks=TASKS[:1], methods=["ft"])
    for stop_after in (2, 3, None):
        protocol = Protocol(recipe, store)
        Crew(store).work(protocol, stop_after)
        protocol.write_studies()
    assert store.studies()[0].winner and store.studies()[0].extended_from is None


def test_studies_are_written_with_their_trials_and_winner(undisturbed: tuple[Protocol, list[Job]]) -> None:
    protocol, _ = undisturbed
    protocol.write_studies()
    found = {f"{s.task} {s.method}": s for s in protocol.store.studies()}
    assert {name: s.winner for name, s in found.items()} == winners(protocol)
    for study in found.values():
        assert [t.status for t in study.trials] == ["done"] * 4
        assert [t.number for t in study.trials] == [0, 1, 2, 3]
        assert len(study.confirm) == 2


def test_every_method_and_task_tries_the_same_learning_rates(tmp_path: Path) -> None:
    """A difference between methods must not be one of luck with the learning rates that were drawn."""
    protocol = Protocol(load_recipe("miniature").changed(searches=2), Store(tmp_path))
    tried = [(study.search, *(p["lr"] for _, p, _ in protocol.trials(study))) for study in protocol.studies]
    assert len(tried) == 2 * 18 and len(set(tried)) == 2
    assert len({rates[1:] for rates in tried}) == 2


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


def test_a_family_has_no_setting_where_one_task_fails_and_says_which(store: Store) -> None:
    protocol = Protocol(small(selection="shared", methods=["ft"]), store)
    jobs = Crew(store).work(protocol, fails=lambda job: job.kind == "search" and job.cell.task == TASKS[1]).finished
    assert all(job.kind == "search" for job in jobs) and protocol.finished()
    assert all(TASKS[1] in protocol.too_few(study) or study.task == TASKS[1] for study in protocol.studies)
    assert all(protocol.too_few(study) and protocol.winner(study) is None for study in protocol.studies)


def test_a_task_alone_has_a_winner_of_its_own(store: Store) -> None:
    one, other = (Protocol(small(selection=how, tasks=TASKS[:1]), store) for how in ("shared", "per-task"))
    assert [study.id for study in one.studies] == [study.id for study in other.studies]
