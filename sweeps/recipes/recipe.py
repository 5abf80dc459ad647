"""A recipe: what an experiment runs, and what of it the command line changes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    PrivateAttr,
    ValidationInfo,
    model_validator,
)

from carft.catalog.catalog import BUILT_IN, Catalog
from carft.catalog.families import CARDS
from carft.catalog.resolve import specify
from carft.config.cell import Cell, Reading, Training
from carft.config.registry import COMBINED, WISE_ALPHAS, MethodCard, Range
from carft.config.settings import (
    CHECKPOINT_MINUTES,
    CheckpointMinutes,
    ProtocolSettings,
    SearchSettings,
)
from carft.core.declaration import require_allowed
from carft.core.errors import PROGRAM, UserError, unknown
from carft.protocol.seeds import SEED_BLOCK, confirm_seeds
from sweeps.recipes.choices import Choice, Readings, Strict
from sweeps.recipes.samplers import Sampler, sampler_of


def _with_middle_and_ends(alphas: list[float]) -> list[float]:
    if not {0.0, 0.5, 1.0} <= set(alphas) <= set(WISE_ALPHAS):
        known = ", ".join(f"{alpha:g}" for alpha in WISE_ALPHAS)
        raise ValueError(f"alphas are 0, 0.5 and 1, and any other of {known}")
    return sorted(set(alphas))


Alphas = Annotated[list[float], AfterValidator(_with_middle_and_ends)]


def _all_known(methods: list[str], info: ValidationInfo) -> list[str]:
    """Return the methods unchanged. Raises ``ValueError`` for one that the catalog does not have."""
    catalog = (info.context or {}).get("catalog", BUILT_IN)
    for name in methods:
        try:
            catalog.method(name)
        except UserError as error:
            raise ValueError(str(error).removesuffix(".")) from error
    return methods


MethodNames = Annotated[list[str], AfterValidator(_all_known)]


Grid = dict[str, Annotated[list[NonNegativeFloat], Field(min_length=1)]]


class Smoke(Strict):
    """What a smoke run changes."""

    trials: PositiveInt
    seeds: PositiveInt
    epochs: PositiveInt
    steps: PositiveInt | None = None
    methods: MethodNames | None = None
    combinations: NonNegativeInt | None = None
    """Of readings, where the recipe has some."""
    grid: Grid | None = None


class SearchRange(Strict):
    """A range in place of the method's own, whose values suit the built-in model."""

    low: PositiveFloat
    high: PositiveFloat
    first_guess: PositiveFloat | None = None
    """What the first trial tries; default: the middle of the range in the logarithm."""

    @model_validator(mode="after")
    def _require_order(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"low is {self.low:g}, and high is {self.high:g}: write the smaller value as low")
        return self

    @property
    def range(self) -> Range:
        """The range as a study has it."""
        middle = min(max(math.sqrt(self.low) * math.sqrt(self.high), self.low), self.high)
        return Range(self.low, self.high, self.first_guess or middle)


class Recipe(SearchSettings, ProtocolSettings):
    """One experiment: tasks x methods, the search budget and the training recipe."""

    name: Annotated[str, Field(description="Its name.")]
    question: Annotated[str, Field(description="What the experiment asks.")]
    tasks: Annotated[list[str], Field(description="Names of tasks, or patterns such as pacs/*.")]
    methods: Annotated[MethodNames, Field(description="Names of methods.")]
    search_seed: Annotated[int, Field(ge=0, description="Seed of the search; no confirm cell has it.")]
    training: Annotated[Training, Field(description="The settings of training.")]
    smoke: Annotated[Smoke, Field(description="What a smoke run changes.")]
    model: Annotated[str | None, Field(description="Model in place of the task cards'.")] = None
    pretrained: Annotated[str | None, Field(description="Weights in place of the task cards'.")] = None
    space: Annotated[
        dict[str, SearchRange],
        Field(description="Hyperparameter with its range, for every method that has it; default: the methods' own."),
    ] = Field(default_factory=dict)
    grid: Annotated[
        Grid,
        Field(
            description="Hyperparameter with its values: every method runs at all combinations, with every seed, also "
            "on the held-out sets. It searches nothing and decides no claim."
        ),
    ] = Field(default_factory=dict)
    first_seed: Annotated[
        int, Field(ge=1, le=SEED_BLOCK // 2, description="First of the seeds; 1 unless fresh ones are wanted.")
    ] = 1
    readings: Annotated[
        Readings | None, Field(description="Readings to run besides the default, and combinations of them.")
    ] = None
    without_data: Annotated[str | None, Field(description="Recipe to run when no data folder is named.")] = None
    tasks_file: Annotated[
        str | None, Field(description="YAML file of tasks on your own data; tasks then names some of them.")
    ] = None
    suites: Annotated[
        list[str],
        Field(description="Held-out suites to evaluate on, kept with the results; none for all."),
    ] = Field(default_factory=list)
    alphas: Annotated[Alphas, Field(description="Interpolation weights of WiSE-FT curves.")] = Field(
        default_factory=lambda: list(WISE_ALPHAS)
    )
    allow_edges: Annotated[
        bool, Field(description="Whether claims may rest on winners at the edge of their search range.")
    ] = False
    checkpoint_minutes: CheckpointMinutes = CHECKPOINT_MINUTES
    expect: Annotated[str, Field(description="The expected result.")]
    _catalog: Catalog = PrivateAttr(default=BUILT_IN)

    @property
    def catalog(self) -> Catalog:
        """Knows the tasks and methods of the recipe."""
        return self._catalog

    def with_catalog(self, catalog: Catalog) -> Self:
        """The recipe with another catalog, which knows its methods too."""
        recipe = self.model_copy()
        recipe._catalog = catalog
        return recipe

    def cards(self, kind: str) -> list[MethodCard]:
        """Its methods of a kind: ``untrained``, ``trained`` or ``post-hoc``."""
        cards = [self.catalog.method(name) for name in self.methods]
        return [card for card in cards if card.kind == kind]

    def cell(
        self,
        task: str,
        method: str,
        hyperparameters: Mapping[str, float],
        seed: int = 0,
        training: Training | None = None,
        reading: Reading | None = None,
    ) -> Cell:
        """A cell of the recipe's model, weights, precision and protocol; see :func:`carft.catalog.resolve.specify`."""
        return specify(
            task,
            method,
            hyperparameters,
            seed,
            training,
            reading,
            model=self.model,
            pretrained=self.pretrained,
            catalog=self.catalog,
            **self.protocol(),
        )

    def starting_weights(self) -> list[tuple[str, str]]:
        """(model, weights) that the cells start from, each once; tasks may have their own."""
        cells = [self.cell(task, "zeroshot", {}) for task in self.tasks]
        return list(dict.fromkeys((cell.model, cell.pretrained) for cell in cells))

    def space_of(self, method: MethodCard) -> dict[str, Range]:
        """What a search over the method tries: the recipe's ranges where it has them, else the method's."""
        space = dict(method.space)
        for name, given in self.space.items():
            if name in space:
                space[name] = given.range
        return space

    def with_ranges(self, ranges: Mapping[str, tuple[float, float]], keeps_guesses: bool = True) -> Recipe:
        """The recipe with other search ranges, by hyperparameter; ``UserError`` for one that no method searches.

        All methods that have the hyperparameter get the range. Their first guess stays when they share it and the range
        holds it, if ``keeps_guesses``. Otherwise it is the middle of the range in the logarithm.
        """
        first_guesses: dict[str, set[float]] = {}
        for card in self.cards("trained"):
            for name, limits in self.space_of(card).items():
                first_guesses.setdefault(name, set()).add(limits.first_guess)
        space = dict(self.space)
        for name, (low, high) in ranges.items():
            if name not in first_guesses:
                searched = ", ".join(first_guesses)
                raise UserError(f"No method of this sweep searches '{name}'.", f"Searched: {searched}.")
            first, *others = first_guesses[name]
            if others or not keeps_guesses or not low <= first <= high:
                first = SearchRange(low=low, high=high).range.first_guess
            space[name] = SearchRange(low=low, high=high, first_guess=first)
        return self.model_copy(update={"space": space})

    @property
    def search_sampler(self) -> Sampler:
        """What proposes its trials; ``UserError`` for a sampler that there is not."""
        return sampler_of(self.sampler)

    def confirm_seeds(self, search: int = 1) -> list[int]:
        """Fresh seeds, the same for every method and task; no two searches share one, and none is a search seed."""
        skipped = self.first_seed - 1
        return confirm_seeds(skipped + self.seeds, self.search_seed, search)[skipped:]

    def smoked(self) -> Recipe:
        """The recipe at smoke size."""
        smoke = self.smoke
        training = replace(self.training, epochs=smoke.epochs, steps=smoke.steps or self.training.steps)
        small = {"trials": smoke.trials, "seeds": smoke.seeds, "searches": 1}
        fewer = {"methods": smoke.methods or self.methods, "grid": smoke.grid or self.grid}
        readings = self.readings
        if readings is not None and smoke.combinations is not None:
            readings = readings.model_copy(update={"combinations": smoke.combinations})
        return self.model_copy(update={**small, **fewer, "training": training, "readings": readings})

    def changed(
        self,
        tasks: list[str] | None = None,
        methods: list[str] | None = None,
        trials: int | None = None,
        seeds: int | None = None,
        searches: int | None = None,
        training: Mapping[str, Any] | None = None,
        **other: str | bool | list[str] | None,
    ) -> Recipe:
        """The recipe with what the command line overrides (None: as it is); ``UserError`` for what cannot be.

        training: the settings of training that change. other: model, pretrained, suites, other settings of the search
        and of the protocol. Task patterns are resolved here.
        """
        for names, what in ((tasks, "--tasks"), (methods, "--methods")):
            if names == []:
                raise UserError(f"{what} names nothing.", f"Leave {what} out for those of the recipe, or name one.")
        asked = {"tasks": tasks, "methods": methods, "trials": trials, "seeds": seeds, "searches": searches, **other}
        recipe = self.model_copy(update={k: v for k, v in asked.items() if v is not None})
        require_allowed(SearchSettings, {name: getattr(recipe, name) for name in SearchSettings.model_fields})
        require_allowed(ProtocolSettings, recipe.protocol())
        if training:
            recipe = recipe.model_copy(update={"training": replace(recipe.training, **training)})
        recipe = recipe.model_copy(update={"tasks": resolved_tasks(recipe.tasks, self.catalog)})
        if not recipe.tasks:
            raise UserError(f"{recipe.name} names no task.", "Name tasks, or the file of your own with --tasks-file.")
        if recipe.suites:
            recipe = recipe.with_catalog(self.catalog.with_suites(recipe.suites, recipe.tasks))
        if tasks is not None and recipe.readings is not None:
            cards = [self.catalog.card(task) for task in recipe.tasks]
            readings = recipe.readings.with_templates(lambda bank: all(bank in card.banks for card in cards))
            recipe = recipe.model_copy(update={"readings": readings})
        _require_methods(recipe)
        _require_sampler(recipe)
        _require_pruner(recipe)
        if recipe.grid:
            _require_no_search(recipe, asked)
        if recipe.searches > 1 and recipe.first_seed - 1 + recipe.seeds >= SEED_BLOCK - 1:
            raise UserError(
                f"{recipe.seeds} confirm seeds are too many for more than one search: each has {SEED_BLOCK} seeds.",
                "Ask for fewer --seeds, or for more --searches with fewer seeds each.",
            )
        _require_known_hyperparameters(recipe)
        for choice in recipe.choices():
            for task in recipe.tasks:
                self.catalog.card(task).bank(choice.reading.context_templates)
        return recipe

    def choices(self) -> list[Choice]:
        """All readings that the recipe runs."""
        if self.readings is None:
            return [Choice()]
        return self.readings.listed()


def _require_methods(recipe: Recipe) -> None:
    """Raise ``UserError`` for a post-hoc method without the cells that it combines."""
    methods, catalog = recipe.methods, recipe.catalog
    if "wise_ft" in methods and not recipe.cards("trained"):
        raise UserError("wise_ft interpolates towards a fine-tuned model.", "Add ft or car_ft to --methods.")
    for name in methods:
        if name in COMBINED:
            raise UserError(f"A sweep does not run {name}.", f"Afterwards: {PROGRAM} combine {name} --cells ID")
    souped = catalog.souped_methods()
    if "soup" in methods and not set(souped) & set(methods):
        raise UserError("soup averages the search cells of a study.", f"Add {' or '.join(souped)} to --methods.")


def _require_sampler(recipe: Recipe) -> None:
    """Raise ``UserError`` for a sampler that there is not, or that cannot propose the trials of this recipe."""
    sampler = recipe.search_sampler
    if not sampler.is_fixed and (recipe.grid or recipe.selection == "shared"):
        reason = "tries the values of its grid" if recipe.grid else "selects one setting over several tasks"
        raise UserError(
            f"{recipe.name} {reason}, and the trials of the sampler {sampler} depend on results.",
            "Take a sampler whose trials are fixed in advance: sobol or random.",
        )
    if not recipe.grid and recipe.trials < sampler.least_trials:
        least = sampler.least_trials
        raise UserError(
            f"The sampler {sampler} draws its first {least - 1} trials without results, and {recipe.name} has "
            f"{recipe.trials} in all.",
            f"Give --trials {least}, or more.",
        )


def _require_pruner(recipe: Recipe) -> None:
    """Raise ``UserError`` for a pruner where every trial is needed to its end."""
    if recipe.pruner == "none" or not (recipe.grid or recipe.selection == "shared"):
        return
    why = "selects one setting over several tasks, which needs whole trials on each"
    if recipe.grid:
        why = "tries the values of its grid, each to its end"
    raise UserError(f"--pruner {recipe.pruner} can stop no trial: {recipe.name} {why}.", "Give --pruner none.")


def _require_no_search(recipe: Recipe, asked: Mapping[str, Any]) -> None:
    for name in ("trials", "searches", "sampler", "pruner", "selection", "oracle"):
        if asked.get(name) is not None:
            raise UserError(
                f"{recipe.name} runs a grid and searches nothing: --{name} has no meaning for it.",
                "Leave it out. The number of seeds is --seeds.",
            )
    for card in recipe.cards("post-hoc"):
        raise UserError(
            f"{recipe.name} runs a grid, and {card.name} is made of the winner or the trials of a search.",
            "Leave it out of the methods.",
        )
    if recipe.readings is not None:
        raise UserError(f"{recipe.name} has a grid and readings.", "Keep one of the two.")


def _require_known_hyperparameters(recipe: Recipe) -> None:
    """``UserError`` for a range or grid of what no method has."""
    known: set[str] = set()
    for method in recipe.catalog.methods.values():
        known.update(method.space)
    for name in (*recipe.space, *recipe.grid):
        if name not in known:
            raise unknown("hyperparameter", name, known)


def resolved_tasks(patterns: list[str], catalog: Catalog) -> list[str]:
    """Task names of names, patterns and families (``icons-3/domains``), in order, each once.

    Raises ``UserError`` for a name that is none, and for a pattern that no task matches.
    """
    names: list[str] = []
    for pattern in patterns:
        matching = catalog.tasks_like(pattern)
        if not matching and set("*?[") & set(pattern):
            raise unknown("task", pattern, CARDS)
        names += matching or [catalog.card(pattern).name]
    return list(dict.fromkeys(names))
