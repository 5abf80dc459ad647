"""Samplers: what trials they propose, when they are asked, and what is kept of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest

from carft.config.registry import METHODS, Range
from carft.protocol.sampling import trial_parameters
from carft.store.records import Store
from carft.store.study_file import Extension, StudyFile
from sweeps.plan.planning import plan_of
from sweeps.plan.rates import Rate
from sweeps.plan.resources import Resources
from sweeps.recipes.recipe import Recipe, SearchRange
from sweeps.recipes.samplers import sampler_of
from sweeps.search.jobs import Job
from sweeps.search.optuna_study import OptunaStudy
from sweeps.search.protocol import Protocol
from tests.sweeps.search.test_protocol import TASKS, Crew, small, winners

SPACE = METHODS["car_ft"].space


def adaptive(**change: Any) -> Recipe:
    """Two tasks and two methods, twelve trials each."""
    return small(**{"trials": 12, "seeds": 1, "sampler": "tpe", **change})


class Witness(Crew):
    """Workers that make sure that study.json has a trial before its cell runs."""

    def write(self, job: Job) -> None:
        if job.kind == "search":
            cells = [cell for study in self.store.studies() for cell in study.trial_cells]
            assert job.cell.id in cells
        super().write(job)


def files(store: Store) -> dict[str, StudyFile]:
    return {study.id: study for study in store.studies()}


def asked(trials: int, sampler: str, value: float, seed: int = 3) -> list[Mapping[str, float]]:
    """What is proposed where trial k gives ``value ** k``, each told before the next is asked."""
    study = OptunaStudy(SPACE, sampler_of(sampler), seed)
    proposed = []
    for trial in range(trials):
        proposed.append(study.ask())
        study.tell(trial, value**trial)
    return proposed


def test_sobol_proposes_the_points_that_reports_compute_again(store: Store) -> None:
    proposed = asked(20, "sobol", 0.5)
    assert proposed == [trial_parameters(3, trial, SPACE) for trial in range(20)]
    assert proposed == asked(20, "sobol", 2.0)
    for study in Protocol(small(), store).studies:
        assert study.content["sampler"] == "sobol"
        assert study.trials.settings == [trial_parameters(study.search_seed, k, study.space) for k in range(4)]


@pytest.mark.parametrize("sampler", ["random", "tpe", "sobol"])
def test_trials_begin_with_the_first_guess_and_stay_inside_their_ranges(sampler: str) -> None:
    first, *others = asked(16, sampler, 0.5)
    assert first == {name: limits.first_guess for name, limits in SPACE.items()}
    for parameters in others:
        for name, limits in SPACE.items():
            assert limits.low <= parameters[name] <= limits.high
            assert float(f"{parameters[name]:.6g}") == parameters[name]
    assert len({str(parameters) for parameters in others}) == 15
    assert asked(4, sampler, 0.5, seed=4)[1:] != asked(4, sampler, 0.5)[1:]


def test_random_trials_depend_on_no_result_and_those_of_tpe_do_after_its_first_four() -> None:
    assert asked(12, "random", 0.5) == asked(12, "random", 2.0)
    assert asked(12, "tpe", 0.5) == asked(12, "tpe", 0.5)
    low, high = asked(12, "tpe", 0.5), asked(12, "tpe", 2.0)
    assert low[:4] == high[:4] and all(one != other for one, other in zip(low[5:], high[5:], strict=True))


def test_trials_that_run_are_known_to_tpe() -> None:
    """Otherwise workers that ask at one time would be sent to the same place."""

    def proposed(running: Mapping[str, float]) -> Mapping[str, float]:
        study = OptunaStudy(SPACE, sampler_of("tpe"), 0)
        for trial in range(6):
            study.add(trial_parameters(0, trial, SPACE))
            study.tell(trial, trial / 6)
        for _ in range(8):
            study.add(running)
        return study.ask()

    wanted = proposed({"lr": SPACE["lr"].low, "kl_weight": SPACE["kl_weight"].high})
    assert proposed(wanted) != wanted


def test_random_trials_are_fixed_in_advance_and_shared_by_the_tasks_of_a_family(store: Store) -> None:
    protocol = Protocol(small(sampler="random", selection="shared"), store)
    settings = {study.method.name: study.trials.settings for study in protocol.studies}
    assert all(study.trials.settings == settings[study.method.name] for study in protocol.studies)
    assert protocol.studies[0].id not in {study.id for study in Protocol(small(selection="shared"), store).studies}
    Crew(store).work(protocol)
    protocol.write_studies()
    assert protocol.finished() and len(protocol.done) == protocol.total()
    for study in store.studies():
        assert study.sampler == "random" and study.winner
        assert all(trial.finished is None for trial in study.trials)


def test_an_adaptive_search_stores_each_trial_before_its_cell_starts(store: Store) -> None:
    protocol = Protocol(adaptive(), store)
    protocol.commit({})
    assert not any(study.trials.settings for study in protocol.studies) and not protocol.finished()
    plan = plan_of(protocol, Resources(), 2, Rate(1.0, 1.0, 1.0, "a test"))
    assert plan.cells == protocol.total() == 2 + 4 * (12 + 1)
    jobs = Witness(store).work(protocol).finished
    assert protocol.finished() and len(protocol.done) == protocol.total()
    assert Counter(job.kind for job in jobs) == {"search": 48, "confirm": 4 + 2}
    protocol.write_studies()
    for study in store.studies():
        assert study.sampler == "tpe" and study.winner
        finished = [trial.finished for trial in study.trials]
        assert finished[0] == 0 and finished[-1] >= 12 - 3  # with three workers
        assert {trial.status for trial in study.trials} == {"done"}
    (planned,) = store.journal().of("planned")
    assert planned.recipe["sampler"] == "tpe" and {plan.trials for plan in planned.studies} == {12}


def test_free_workers_are_spread_over_the_studies_that_ask(store: Store) -> None:
    protocol = Protocol(adaptive(methods=["ft", "car_ft"]), store)
    running = [protocol.next_job() for _ in range(8)]
    assert set(Counter((job.cell.task, job.cell.method) for job in running if job).values()) == {2}


@pytest.mark.parametrize("stop_after", [3, 9, 20, 35, 49])
def test_a_killed_adaptive_search_keeps_its_trials_and_repeats_no_cell(store: Store, stop_after: int) -> None:
    """The crew asserts that no cell is done twice."""
    Witness(store, seed=stop_after).work(Protocol(adaptive(), store), stop_after)
    before = files(store)
    again = Protocol(adaptive(), store)
    Witness(store, seed=99).work(again)
    again.write_studies()
    after = files(store)
    assert sum(len(study.trials) for study in before.values()) >= min(stop_after, 48) - 2
    for name, study in before.items():
        kept = after[name].trials[: len(study.trials)]
        assert [(t.parameters, t.cell, t.finished) for t in kept] == [
            (t.parameters, t.cell, t.finished) for t in study.trials
        ]
    assert len(again.done) == again.total() == len(store.ids()) and all(study.winner for study in after.values())
    third = Protocol(adaptive(), store)
    assert third.next_job() is None and third.finished() and not third.write_studies()
    assert winners(third) == winners(again) and files(store) == after


def test_a_proposal_whose_cell_has_a_record_runs_nothing(store: Store) -> None:
    recipe = adaptive(tasks=TASKS[:1], methods=["ft"])
    Crew(store).work(Protocol(recipe, store))
    (name,) = files(store)
    (store.root / "studies" / name / "study.json").unlink()
    Crew(store).work(again := Protocol(recipe, store))  # what is drawn without results is drawn alike
    assert again.finished() and len(again.reused) >= sampler_of("tpe").least_trials - 1


def test_trials_with_the_same_cell_run_once(store: Store) -> None:
    narrow = {"lr": SearchRange(low=1e-3, high=1e-3)}
    recipe = adaptive(tasks=TASKS[:1], methods=["ft"], space=narrow)
    jobs = Crew(store).work(protocol := Protocol(recipe, store)).finished
    protocol.write_studies()
    assert protocol.finished() and [job.kind for job in jobs] == ["search", "confirm"]
    (study,) = store.studies()
    assert len(study.trials) == 12 and len({*study.trial_cells}) == 1 and study.winner


def test_more_trials_go_on_with_an_adaptive_search_and_keep_its_winner_until_they_have_ended(store: Store) -> None:
    recipe = adaptive(tasks=TASKS[:1], methods=["ft"], trials=6)
    Crew(store).work(first := Protocol(recipe, store))
    first.write_studies()
    (before,) = store.studies()
    more = recipe.model_copy(update={"trials": 12})
    Witness(store).work(Protocol(more, store), stop_after=2)
    (during,) = store.studies()
    assert during.trials[:6] == before.trials and len(during.trials) > 6
    assert (during.winner, during.confirm) == (before.winner, before.confirm)
    assert during.extended_from == Extension(trials=6, confirm=1)
    Witness(store).work(last := Protocol(more, store))
    last.write_studies()
    (after,) = store.studies()
    assert last.finished() and len(after.trials) == 12
    assert after.winner == winners(last)[f"{TASKS[0]} ft"]
    Protocol(recipe, store).write_studies()  # a smaller request shrinks nothing
    assert store.studies() == [after]


def test_failed_trials_count_and_keep_their_settings(store: Store) -> None:
    recipe = adaptive(tasks=TASKS[:1], methods=["ft"])
    protocol = Protocol(recipe, store)
    Crew(store).work(protocol, fails=lambda job: job.kind == "search" and len(protocol.failed) < 3)
    protocol.write_studies()
    (study,) = store.studies()
    assert Counter(trial.status for trial in study.trials) == {"failed": 3, "done": 9} and study.winner
    Crew(store).work(again := Protocol(recipe, store))  # failed trials run again, with the settings that they have
    assert [trial.parameters for trial in study.trials] == again.studies[0].trials.settings and again.finished()


def test_a_range_that_does_not_hold_the_first_guess_is_searched(store: Store) -> None:
    study = OptunaStudy({"lr": Range(1e-3, 1e-2, 1e-5)}, sampler_of("tpe"), 0)
    assert study.ask() == {"lr": 1e-5} and 1e-3 <= study.ask()["lr"] <= 1e-2
