"""Early stopping: within a study, by a rule over earlier rounds, and never a winner."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carft.core.errors import CorruptFile, UserError
from carft.core.files import write_json
from carft.spec.catalog import BUILT_IN
from carft.spec.cell import Cell
from carft.store.early_stopping import (
    NO_THRESHOLDS,
    curve_of,
    known_pruned,
    pruned_after,
    read_pruned,
    rungs_of,
    thresholds_of,
    write_pruned,
)
from carft.store.gc import leftovers
from carft.store.merge import merge
from carft.store.records import Store
from carft.store.study import Extension
from carft.training.execution import Execution
from carft.training.run import run_cell
from reports.evidence.evidence import Evidence
from reports.tables.tuning import best_of_n_table, one_trial_table, trial_table
from sweeps.plan.forecast import forecast
from sweeps.recipes import Recipe, load_recipe
from sweeps.search.protocol import Job, Protocol
from sweeps.search.sampler import Result, suggest
from sweeps.status.events import write_events
from tests.support.helpers import LR, made_up_predictions, made_up_record, quick_cell, run_cli, same_predictions
from tests.support.planted import changed

TASKS = ["icons/transport", "icons/weather"]
EPOCHS = 5
PREDICTIONS = made_up_predictions()
curves = st.lists(st.floats(0, 1), min_size=EPOCHS, max_size=EPOCHS).map(tuple)
rungs = st.lists(st.integers(1, EPOCHS - 1), max_size=3, unique=True)


@given(rungs, st.lists(st.tuples(curves, st.integers(1, EPOCHS)).map(lambda pair: pair[0][: pair[1]]), max_size=6))
def test_limits_are_medians_of_all_that_came_so_far_whatever_its_order(epochs: list[int], earlier: list) -> None:
    limits = thresholds_of(epochs, earlier)
    assert limits == thresholds_of(epochs, earlier[::-1])
    for epoch in epochs:
        seen = [curve[epoch - 1] for curve in earlier if len(curve) >= epoch]
        assert (epoch in limits) == (len(seen) > 1)
        limit = limits.get(epoch)
        assert limit is None or sum(value <= limit for value in seen) >= len(seen) / 2 <= sum(
            value >= limit for value in seen
        )


@given(curves, st.dictionaries(st.integers(1, EPOCHS - 1), st.floats(0, 1)))
def test_what_is_stopped_is_behind_there_and_nowhere_before(curve: tuple[float, ...], limits: dict) -> None:
    epoch = pruned_after(curve, limits)
    behind = [e for e in limits if curve[e - 1] < limits[e]]
    assert epoch == (min(behind) if behind else None)
    if epoch is not None:
        assert pruned_after(curve[:epoch], limits) == epoch
        assert pruned_after(curve[: epoch - 1], limits) is None


@given(st.lists(curves, min_size=1, max_size=9), rungs, st.integers(1, 4))
def test_the_rule_for_a_whole_study_is_the_rule_of_its_rounds(all_curves: list, epochs: list[int], size: int) -> None:
    stops = rungs_of(all_curves, epochs, size, EPOCHS)
    for number, stop in enumerate(stops):
        before = [c[: s or EPOCHS] for c, s in zip(all_curves, stops, strict=True)][: number - number % size]
        assert stop == pruned_after(all_curves[number], thresholds_of(epochs, before))


def recipe(**change: object) -> Recipe:
    """Two tasks, eight trials in rounds of two, pruned at epochs 1 and 3."""
    fixed = {"tasks": TASKS, "methods": ["ft", "car_ft"], "trials": 8, "seeds": 1, "rungs": [1, 3]}
    return load_recipe("miniature").model_copy(update={**fixed, "early_stopping": True, **change})


def made_up_curve(cell: Cell) -> tuple[float, ...]:
    """Few different values, so that ties happen."""
    drawn = random.Random(cell.id)
    return tuple(drawn.randrange(8) / 8 for _ in range(EPOCHS))


class Crew:
    """Workers that train nothing; which one finishes next is drawn by ``seed``. trained: epochs by job key."""

    def __init__(self, store: Store, seed: int = 0, workers: int = 3) -> None:
        self.store, self.random, self.workers = store, random.Random(seed), workers
        self.trained: dict[str, int] = {}

    def work(self, protocol: Protocol, stop_after: int | None = None) -> Crew:
        running: list[Job] = []
        while stop_after is None or len(self.trained) < stop_after:
            while len(running) < self.workers and (job := protocol.next_job()) is not None:
                running.append(job)
            if not running:
                break
            job = running.pop(self.random.randrange(len(running)))
            self.train(job)
            protocol.end(job)
        protocol.write_studies()
        return self

    def train(self, job: Job) -> None:
        assert job.key not in self.trained
        curve = made_up_curve(job.cell)
        epoch = pruned_after(curve, job.limits)
        self.trained[job.key] = epoch or EPOCHS
        if epoch is not None:
            return write_pruned(self.store, job.cell, curve[:epoch], {})
        history = [{"epoch": float(e), "step": float(e), "val/top1": value} for e, value in enumerate(curve)]
        record = made_up_record(job.cell, {"val/top1": curve[-1], "val/loss": 1.0})
        self.store.write(record, history, PREDICTIONS)
        if job.kind == "confirm":
            for name in BUILT_IN.card(job.cell.task).sets:
                self.store.add_evaluation(job.cell.id, name, {f"{name}/top1": curve[-1]}, PREDICTIONS, {})
        return None


def outcome(protocol: Protocol) -> dict[str, object]:
    """All that a search came to."""
    return {
        study.id: (
            winner.cell if (winner := protocol.winner(study)) else None,
            [(number, cell.id, protocol.stopped.get(cell.id)) for number, _, cell in protocol.trials(study)],
        )
        for study in protocol.studies
    }


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Protocol, Crew]:
    store = Store(tmp_path_factory.mktemp("undisturbed"))
    protocol = Protocol(recipe(), store)
    return protocol, Crew(store, workers=1).work(protocol)


def test_some_trials_are_given_up_none_of_them_wins_and_the_first_round_is_spared(
    undisturbed: tuple[Protocol, Crew],
) -> None:
    protocol, crew = undisturbed
    assert 0 < len(protocol.stopped) < 4 * 6
    assert protocol.finished() and len(protocol.done) + len(protocol.stopped) == protocol.total()
    for study in protocol.studies:
        winner = protocol.winner(study)
        assert winner is not None and winner.cell in protocol.done
        ended = [(number, cell.id in protocol.stopped) for number, _, cell in protocol.trials(study)]
        assert not any(stopped for number, stopped in ended if number < protocol.recipe.round_size)
        finished = [c for _, _, c in protocol.trials(study) if c.id in protocol.done]
        assert protocol.done[winner.cell]["val/top1"] == max(made_up_curve(cell)[-1] for cell in finished)
    assert {crew.trained[f"search-{cell}"] for cell in protocol.stopped} <= {1, 3}


@pytest.mark.parametrize("seed", [pytest.param(n, marks=[pytest.mark.full] * (n % 3 > 0)) for n in range(6)])
def test_neither_order_nor_workers_nor_a_kill_change_what_is_given_up(
    undisturbed: tuple[Protocol, Crew], store: Store, seed: int
) -> None:
    Crew(store, seed, workers=1 + seed).work(Protocol(recipe(), store), stop_after=3 + 2 * seed)
    again = Protocol(recipe(), store)
    crew = Crew(store, seed + 1, workers=1 + seed)
    crew.work(again)
    assert outcome(again) == outcome(undisturbed[0])
    last = Protocol(recipe(), store)
    assert last.finished() and outcome(last) == outcome(again)


def test_a_folder_that_holds_the_whole_cells_already_changes_nothing(
    undisturbed: tuple[Protocol, Crew], store: Store
) -> None:
    """Otherwise the outcome would depend on what else was ever run in the folder."""
    Crew(store).work(Protocol(recipe(early_stopping=False), store))
    protocol = Protocol(recipe(), store)
    Crew(store).work(protocol)
    assert outcome(protocol) == outcome(undisturbed[0])


def test_without_it_every_trial_is_trained_to_the_end_and_studies_are_other_ones(
    undisturbed: tuple[Protocol, Crew], store: Store
) -> None:
    protocol = Protocol(recipe(early_stopping=False), store)
    assert set(Crew(store).work(protocol).trained.values()) == {EPOCHS} and not protocol.stopped
    assert not {study.id for study in protocol.studies} & {study.id for study in undisturbed[0].studies}


def test_rungs_compare_trials_of_one_study_only(undisturbed: tuple[Protocol, Crew], store: Store) -> None:
    """A study that runs alone gives up the trials that it gives up beside others."""
    alone = Protocol(recipe(tasks=TASKS[:1], methods=["car_ft"]), store)
    Crew(store).work(alone)
    together = outcome(undisturbed[0])
    assert all(together[study] == found for study, found in outcome(alone).items())


def test_studies_say_which_trials_were_given_up_and_where(undisturbed: tuple[Protocol, Crew]) -> None:
    protocol, _ = undisturbed
    for study in protocol.store.studies():
        assert study.rungs == [1, 3]
        for trial in study.trials:
            stop = protocol.stopped.get(trial.cell)
            assert trial.status == ("done" if stop is None else "stopped")
            if stop is not None:
                assert (trial.stopped_after, trial.value) == (stop.epochs, stop.value)


def test_a_plan_counts_what_was_given_up_as_over_and_not_as_failed(undisturbed: tuple[Protocol, Crew]) -> None:
    protocol = Protocol(recipe(), undisturbed[0].store)
    made = forecast(protocol, slots=2, rates=None, size=None)
    assert (made.cells, made.failed) == (0, 0)
    assert made.stopped == len(undisturbed[0].stopped) and made.done + made.stopped == made.total


def test_trials_whose_notes_are_gone_do_not_count_as_tried(store: Store) -> None:
    protocol = Protocol(recipe(tasks=TASKS[:1], methods=["ft"]), store)
    Crew(store).work(protocol)
    evidence = Evidence.of(store)
    assert evidence.ended_trials(TASKS[0], "ft") == 8 > evidence.finished_trials(TASKS[0], "ft")
    for cell in store.stopped_cells():
        (store.folder(cell) / "stopped.json").unlink()
    assert Evidence.of(store).ended_trials(TASKS[0], "ft") == evidence.finished_trials(TASKS[0], "ft")


def test_what_fewer_trials_would_show_is_not_said_of_survivors(store: Store) -> None:
    Crew(store).work(Protocol(recipe(), store))
    trials = trial_table(Evidence.of(store))
    assert trials["given_up"].max() > 0
    assert best_of_n_table(trials).empty and one_trial_table(trials).empty


def test_the_larger_search_is_reported_and_of_two_as_large_the_one_that_gave_nothing_up(store: Store) -> None:
    Crew(store).work(Protocol(recipe(), store))
    Crew(store).work(Protocol(recipe(early_stopping=False, trials=2), store))
    assert all(study.rungs for study in Evidence.of(store).studies)
    Crew(store).work(Protocol(recipe(early_stopping=False), store))
    assert not any(study.rungs for study in Evidence.of(store).studies)


def test_a_winner_that_changes_after_its_test_numbers_were_seen_is_marked(store: Store) -> None:
    """As when a trial that was lost is run again later."""
    protocol = Protocol(recipe(tasks=TASKS[:1], methods=["ft"], early_stopping=False), store)
    Crew(store).work(protocol)
    (study,) = store.studies()
    assert study.extended_from is None
    best = protocol.winner(protocol.studies[0])
    assert best is not None
    other = next(t.cell for t in study.trials if t.cell != best.cell)
    store.write_study(study.id, changed(study, winner=other))
    Protocol(recipe(tasks=TASKS[:1], methods=["ft"], early_stopping=False), store).write_studies()
    assert store.studies()[0].extended_from == Extension(trials=8, confirm=1)


def test_a_cell_without_its_history_is_corrupt_and_lifts_no_limit(store: Store) -> None:
    Crew(store).work(Protocol(recipe(tasks=TASKS[:1], methods=["ft"]), store))
    (study,) = store.studies()
    (store.folder(study.trials[0].cell) / "history.parquet").unlink()
    with pytest.raises(UserError, match="its history is missing"):
        Protocol(recipe(tasks=TASKS[:1], methods=["ft"]), store).finished()


def test_a_cell_that_was_given_up_is_named_as_such(store: Store) -> None:
    cell = quick_cell("ft", lr=LR)
    write_pruned(store, cell, (0.1,), {})
    with pytest.raises(UserError, match="was stopped early and has no record"):
        store.resolve(cell.id[:6])


def test_of_two_notes_a_merge_keeps_the_longer_one_of_today(store: Store, tmp_path: Path) -> None:
    cell, done, other = quick_cell("ft", lr=LR), quick_cell("ft", lr=2 * LR), Store(tmp_path / "other")
    for folder, curve in ((store, (0.1,)), (other, (0.1, 0.2))):
        folder.write(made_up_record(done), [], PREDICTIONS)
        write_pruned(folder, cell, curve, {})
    merge(store, other, tmp_path / "merged")
    note = read_pruned(Store(tmp_path / "merged"), cell.id)
    assert note is not None and note.curve == (0.1, 0.2)


def test_rungs_are_the_same_in_any_order() -> None:
    ids = {Protocol(recipe(rungs=r), Store("nowhere")).studies[0].id for r in ([1, 3], [3, 1], [1, 1, 3], [1, 3, 9])}
    assert len(ids) == 1


def test_a_note_under_other_numerics_does_not_count(store: Store) -> None:
    cell = quick_cell("ft", lr=LR)
    write_pruned(store, cell, (0.1,), {})
    assert known_pruned(store, cell, {1: 0.5}) is not None
    assert known_pruned(store, cell, {1: 0.05}) is None and known_pruned(store, cell, NO_THRESHOLDS) is None
    note = read_pruned(store, cell.id)
    assert note is not None
    write_json(store.stopped_path(cell.id), {**note.content(), "numerics": note.numerics + 1})
    assert known_pruned(store, cell, {1: 0.5}) is None


@pytest.mark.parametrize("corrupt", ['{"curve": [0.1', '{"curve": ["a"], "numerics": 1}', "[]", '{"curve": 3}'])
def test_a_corrupt_note_is_refused_by_name(store: Store, corrupt: str) -> None:
    cell = quick_cell("ft", lr=LR)
    write_pruned(store, cell, (0.1,), {})
    path = store.folder(cell.id) / "stopped.json"
    path.write_text(corrupt)
    with pytest.raises(CorruptFile):
        known_pruned(store, cell, {1: 0.5})


def test_the_sampler_ranks_what_was_given_up_below_the_rest() -> None:
    """The same trials: where those at a low rate were pruned, it looks at high rates more, and the other way."""
    space = load_recipe("miniature").space_of(Protocol(recipe(), Store(Path("nowhere"))).studies[0].method)
    first = [suggest(0, k, space, [])["lr"] for k in range(1, 25)]
    middle = sorted(first)[12]

    def asked(low_ones_stop: bool) -> float:
        tried = [Result({"lr": lr}, 0.5, 1 if (lr < middle) == low_ones_stop else None) for lr in first]
        found = [suggest(0, 30 + k, space, tried)["lr"] for k in range(20)]
        return sum(lr < middle for lr in found) / len(found)

    assert asked(low_ones_stop=True) < 0.5 < asked(low_ones_stop=False)


def test_a_real_cell_stops_at_its_rung_and_the_whole_cell_is_none_the_worse(store: Store, tmp_path: Path) -> None:
    """Its curve is the beginning of the whole one's; trained to the end it gives the bits of a cell nobody stopped."""
    cell, execution = quick_cell("car_ft", epochs=3, lr=LR, kl_weight=1.0), Execution()
    whole = Store(tmp_path / "whole")
    run_cell(cell, whole, execution)
    values = whole.history(cell.id)["val/top1"]
    curve = curve_of({"val/top1": float(value)} for value in values)
    assert len(curve) == 3

    came = run_cell(cell, store, execution, thresholds={1: curve[0], 2: curve[1] + 0.01})
    assert came.status == "stopped" and came.metrics == {"val/top1": curve[1]}
    assert not store.is_done(cell.id) and store.stopped_cells() == [cell.id]
    assert not (store.folder(cell.id) / "predictions.parquet").exists()
    stop = known_pruned(store, cell, {2: curve[1] + 0.01})
    assert stop is not None and stop.curve == curve[:2]
    assert run_cell(cell, store, execution, thresholds={2: curve[1]}).status == "done"
    assert store.read(cell.id).metrics == whole.read(cell.id).metrics and not store.stopped_cells()
    assert same_predictions(store.predictions(cell.id, "val"), whole.predictions(cell.id, "val"))


def test_a_checkpoint_at_the_rung_does_not_save_a_trial(store: Store) -> None:
    """Killed between the checkpoint and the note of its end, it is pruned all the same when it is run again."""
    cell = quick_cell("ft", epochs=3, lr=LR)
    execution = Execution(checkpoint_every=1)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("carft.training.run.write_pruned", killed)
        with pytest.raises(KeyboardInterrupt):
            run_cell(cell, store, execution, thresholds={1: 1.1})
    assert list(store.root.glob("checkpoints/*"))
    assert run_cell(cell, store, execution, thresholds={1: 1.1}).status == "stopped"
    note = read_pruned(store, cell.id)
    assert note is not None and len(note.curve) == 1
    assert not list(store.root.glob("checkpoints/*"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--oracle",), "--oracle opens every search cell"),
        (("--methods", "zeroshot,ft,soup"), "soup averages every search cell"),
        (("--trials", 2), "would stop nothing"),
        (("--smoke", "--trials", 4), "needs rungs"),
    ],
)
def test_what_would_do_nothing_or_contradict_it_is_refused(
    tmp_path: Path, arguments: tuple[object, ...], words: str
) -> None:
    asked = ("sweep", "miniature", "--early-stopping", *arguments, "--results", tmp_path / "results")
    done = run_cli(*asked, in_process=True)
    assert done.returncode == 2 and words in done.stderr and "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.full
@pytest.mark.usefixtures("few_figures_here")
def test_a_sweep_that_gives_trials_up_is_counted_shown_and_verified(tmp_path: Path) -> None:
    results, report = tmp_path / "results", tmp_path / "report"
    asked = ("sweep", "miniature", "--tasks", "icons/weather", "--methods", "zeroshot,ft", "--seeds", 1,
             "--trials", 8, "--early-stopping", "--results", results)  # fmt: skip
    done = run_cli(*asked)
    assert done.returncode == 0, done.stderr
    store = Store(results)
    stopped = store.stopped_cells()
    assert stopped and f"{len(stopped)} stopped early" in done.stdout
    assert len(store.ids()) + len(stopped) == 1 + 8 + 1
    (study,) = store.studies()
    assert {t.cell for t in study.trials if t.status == "stopped"} == set(stopped)
    assert study.winner in store.ids()

    assert f"{len(stopped)} stopped early" in run_cli("status", "--results", results).stdout
    assert write_events(store).studies == 1
    assert not any(leftover.path.name in stopped for leftover in leftovers(store))

    built = run_cli("report", "--results", results, "--out", report)
    assert built.returncode == 0, built.stderr
    assert f"{len(stopped)} of 8 trials were pruned after epoch 2" in (report / "index.html").read_text()
    assert run_cli("report", "verify", "--results", results, "--out", report).returncode == 0

    # whoever has seen test numbers could strike out what beats the trial that is wanted
    wanted = next(t.cell for t in study.trials if t.status == "done" and t.cell != study.winner)
    struck = [
        t.model_copy(update={"status": "stopped", "stopped_after": 2, "value": 0.0}) if t.cell == study.winner else t
        for t in study.trials
    ]
    store.write_study(study.id, changed(study, trials=struck, winner=wanted, confirm=[]))
    assert run_cli("report", "--results", results, "--out", report).returncode == 0
    found = run_cli("report", "verify", "--results", results, "--out", report)
    assert found.returncode == 1 and "is pruned after epoch 2; its rungs let it train to the end" in found.stdout
