"""Samplers that do not learn are refused before a folder is made, and a sweep that goes on draws what it would have."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.samplers import RandomSampler, TPESampler

from carft.catalog.catalog import BUILT_IN
from carft.config.registry import METHODS, Range
from carft.core.errors import UserError
from carft.store.records import Store
from sweeps import sweep
from sweeps.plan.resources import Resources
from sweeps.recipes.loading import parse_recipe
from sweeps.recipes.recipe import Recipe
from sweeps.recipes.samplers import Sampler, sampler_of
from sweeps.search.learning import require_learning
from sweeps.search.optuna_study import OptunaStudy
from sweeps.search.protocol import Protocol
from tests.support.helpers import run_cli
from tests.sweeps.search.test_protocol import Crew, small

PLANE = METHODS["car_ft"].space
LINE = METHODS["ft"].space


def chosen(sampler: str, methods: str = "ft,car_ft", trials: int = 12) -> Recipe:
    text = f"extends: miniature\nname: mine\nsampler: {sampler}\nmethods: [{methods}]\ntrials: {trials}\n"
    return parse_recipe(text, "mine.yaml", catalog=BUILT_IN).changed()


class PlaneSampler(TPESampler):
    """Learns where there are two dimensions, and draws at random in one."""

    def sample_relative(self, study: Any, trial: Any, search_space: dict[str, Any]) -> dict[str, Any]:
        return super().sample_relative(study, trial, search_space) if len(search_space) > 1 else {}

    def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: Any) -> Any:
        seed = self._rng.rng.randint(2**31)
        return RandomSampler(seed).sample_independent(study, trial, param_name, param_distribution)


@pytest.fixture
def plane_sampler(monkeypatch: pytest.MonkeyPatch) -> None:
    """Optuna with one more class."""
    monkeypatch.setattr(optuna.samplers, "PlaneSampler", PlaneSampler, raising=False)
    monkeypatch.setattr(optuna.samplers, "__all__", [*optuna.samplers.__all__, "PlaneSampler"])


@pytest.mark.parametrize(
    ("sampler", "trials"),
    [
        ("tpe", 5),
        ("tpe", 40),
        ("{class: TPESampler, n_startup_trials: 3, multivariate: false, constant_liar: false}", 4),
        ("{class: GPSampler, n_startup_trials: 3}", 4),
        ("random", 12),
        ("sobol", 12),
    ],
)
def test_samplers_that_learn_pass_and_those_that_need_no_results(sampler: str, trials: int) -> None:
    require_learning(chosen(sampler, trials=trials))


def test_a_sampler_that_learns_on_one_side_alone_is_refused(plane_sampler: None) -> None:
    sampler = "{class: PlaneSampler, n_startup_trials: 4}"
    require_learning(chosen(sampler, "car_ft"))
    with pytest.raises(UserError, match=r"PlaneSampler\(n_startup_trials=4\) does not learn lr of ft on icons-3") as no:
        require_learning(chosen(sampler))
    assert "for all methods, such as tpe" in no.value.hint


def test_a_hyperparameter_with_one_value_need_not_be_learned(plane_sampler: None) -> None:
    recipe = chosen("{class: PlaneSampler, n_startup_trials: 4}", "car_ft")
    require_learning(recipe.with_ranges({"lr": (1e-3, 1e-3), "kl_weight": (1.0, 1.0)}))


@pytest.mark.parametrize(
    ("sampler", "says"),
    [
        ("{class: NSGAIISampler, population_size: 3}", "NSGAIISampler.* does not learn lr of ft"),
        ("{class: GridSampler, search_space: {lr: [1.0e-4, 1.0e-3]}}", "GridSampler.* does not learn lr of ft"),
        ("{class: CmaEsSampler}", "CmaEsSampler(: No module named 'cmaes'| does not learn lr of ft)"),
        ("{class: BruteForceSampler}", "Optuna refuses the sampler BruteForceSampler: .*step must be given"),
        ("{class: TPESampler, startup: 3}", "Optuna refuses the sampler TPESampler.* argument 'startup'"),
        ("{class: TPESampler, n_startup_trials: 3, prior_weight: high}", "Optuna refuses the sampler TPESampler"),
        ("{class: RandomSampler, startup: 3}", "Optuna refuses the sampler RandomSampler.* argument 'startup'"),
    ],
)
def test_a_sampler_that_cannot_be_asked_or_learns_nothing_is_refused(sampler: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        require_learning(chosen(sampler))


@pytest.mark.parametrize("command", ["plan", "sweep"])
def test_commands_refuse_it_before_a_folder_is_made(command: str, tmp_path: Path) -> None:
    recipe, results = tmp_path / "mine.yaml", tmp_path / "results"
    recipe.write_text("extends: miniature\nsampler: {class: NSGAIISampler}\n", encoding="utf-8")
    done = run_cli(command, recipe, "--results", results, in_process=True)
    assert done.returncode == 2 and not done.stdout and "Traceback" not in done.stderr
    assert "The sampler NSGAIISampler does not learn lr of ft" in " ".join(done.stderr.split())
    assert not results.exists()


def test_a_sweep_from_python_refuses_it_before_a_folder_is_made(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not learn"):
        sweep(chosen("{class: NSGAIISampler}"), Store(tmp_path / "results"), Resources())
    assert not (tmp_path / "results").exists()


def result(setting: Mapping[str, float]) -> float:
    return 1 / (1 + sum(abs(value - 0.01) for value in setting.values()))


def gone_on(space: Mapping[str, Range], sampler: Sampler, settings: list[dict[str, float]]) -> OptunaStudy:
    """The search of a process that starts after the trials with these settings have ended."""
    search = OptunaStudy(space, sampler, 3)
    for trial, setting in enumerate(settings):
        search.add(setting)
        search.tell(trial, result(setting))
    return search


@pytest.mark.parametrize("space", [PLANE, LINE], ids=["plane", "line"])
@pytest.mark.parametrize(
    "kind", ["TPESampler", "GPSampler", "RandomSampler", "NSGAIISampler", "sobol"], ids=lambda kind: kind.lower()
)
def test_after_every_trial_a_search_that_goes_on_proposes_what_one_without_a_stop_does(
    kind: str, space: Mapping[str, Range]
) -> None:
    """Also a class that keeps more in its study than settings and results, so that what it keeps is never used."""
    starts = {"TPESampler": {"n_startup_trials": 3}, "GPSampler": {"n_startup_trials": 3}}
    kept = {"NSGAIISampler": {"population_size": 2}}
    sampler = sampler_of(kind if kind == "sobol" else {"class": kind, **starts.get(kind, {}), **kept.get(kind, {})})
    search, settings = OptunaStudy(space, sampler, 3), list[dict[str, float]]()
    for trial in range(8):
        settings.append(search.ask())
        assert gone_on(space, sampler, settings[:trial]).ask() == settings[trial]
        search.tell(trial, result(settings[trial]))


@pytest.mark.parametrize("stop_after", [1, 6, 13, 20])
def test_a_killed_sweep_proposes_in_the_end_what_one_without_a_stop_does(tmp_path: Path, stop_after: int) -> None:
    """One worker, so that nothing runs when it is killed."""
    recipe = small(trials=12, seeds=1, sampler="tpe")
    whole, killed = Store(tmp_path / "whole"), Store(tmp_path / "killed")
    Crew(whole, workers=1).work(undisturbed := Protocol(recipe, whole))
    Crew(killed, workers=1).work(Protocol(recipe, killed), stop_after)
    Crew(killed, workers=1).work(again := Protocol(recipe, killed))
    assert [study.trials.settings for study in again.studies] == [
        study.trials.settings for study in undisturbed.studies
    ]
