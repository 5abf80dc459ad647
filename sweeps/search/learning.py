"""Whether the sampler of a sweep learns from results in each of its searches. No folder, no Ray."""

from __future__ import annotations

from carft.core.errors import UserError
from carft.protocol.sampling import SOBOL, trial_parameters
from sweeps.recipes.recipe import Recipe
from sweeps.search.study import Study, studies_of

#: search seeds that a sampler is tried with: by chance one proposal may be the same for other results
TRIED = range(4)


def require_learning(recipe: Recipe) -> None:
    """Try the sampler of a recipe on the search space of each study, with made-up results.

    Its proposal for the last trial must depend on the results of the others in every hyperparameter. Some classes of
    Optuna draw at random in one dimension, and some keep in their study what a sweep that goes on has not. One side of
    a comparison would then be searched at random, and records would not show it.

    Raises ``UserError`` for a sampler that does not learn, and for one that Optuna refuses, as for a wrong parameter.
    """
    sampler = recipe.search_sampler
    if recipe.grid or sampler.name == SOBOL:
        return
    tried = []
    for study in studies_of(recipe, recipe.cards("trained")):
        if study.space in tried:
            continue
        tried.append(study.space)
        try:
            unlearned = _unlearned(study)
        except Exception as error:  # whatever a class does with a parameter that it does not know, or a wrong value
            raise UserError(f"Optuna refuses the sampler {sampler}: {str(error).splitlines()[0]}") from error
        if unlearned and not sampler.is_fixed:
            raise UserError(
                f"The sampler {sampler} does not learn {' and '.join(unlearned)} of {study.method.name} on "
                f"{study.task}: in {study.n_trials} trials it proposes the same whatever their results are.",
                "Take another sampler for all methods, such as tpe, or one that needs no results: sobol or random.",
            )


def _unlearned(study: Study) -> list[str]:
    """The hyperparameters whose proposals depend on no result."""
    left = [name for name, limits in study.space.items() if limits.low < limits.high]
    for seed in TRIED:
        rising, falling = _proposed(study, seed, 1.0), _proposed(study, seed, -1.0)
        left = [name for name in left if rising[name] == falling[name]]
        if not left:
            break
    return left


def _proposed(study: Study, seed: int, slope: float) -> dict[str, float]:
    """What is proposed for the last trial of a study where the result of trial k is ``slope * k``."""
    from sweeps.search.optuna_study import OptunaStudy  # Optuna takes longer to import than many commands run

    search = OptunaStudy(study.space, study.sampler, seed)
    for trial in range(study.n_trials - 1):
        search.add(trial_parameters(seed, trial, study.space))
        search.tell(trial, slope * trial)
    return search.ask()
