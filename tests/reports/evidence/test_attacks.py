"""Attacks that append to the journal or edit what stands beside the records; and honest work, which is clean."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import patch

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import carft.store.journal
from carft.catalog.catalog import BUILT_IN
from carft.data.folder.named import NamedTask
from carft.store.archive import pack, unpack
from carft.store.failures import write_failure
from carft.store.merge import merge
from carft.store.predictions import IMAGES, SHARED
from carft.store.records import Store
from carft.store.stored_catalog import CHOSEN, adopt_catalog
from reports.analysis.flaws import SearchesMissing
from reports.build import sources_of
from reports.evidence.caveats import Caution
from reports.evidence.findings import Finding, What
from reports.words.verdict_words import reason_words
from sweeps.recipes.loading import load_recipe
from sweeps.recipes.recipe import Recipe
from sweeps.search.protocol import Protocol
from tests.support.conduct import another_process, edit_json, edit_study, lines_with_facts, named, study, verdict, work
from tests.support.dry import PREDICTIONS, made_up_metrics, parts
from tests.support.helpers import run_cli
from tests.support.planted import GOOD, forget_journal, plant, write

pytestmark = pytest.mark.usefixtures("few_figures")

TASK, OTHER = "icons-3/all", "icons-3/mix-6"
METHODS = ("ft", "car_ft")


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store(tmp_path_factory.mktemp("planted") / "results")
    plant(store, [TASK], GOOD, trials=4)
    return store


@pytest.fixture
def case(planted: Store, tmp_path: Path) -> Store:
    """A copy that a test may tamper with."""
    shutil.copytree(planted.root, tmp_path / "results")
    return Store(tmp_path / "results")


def small(tasks: list[str] | None = None, **changes: object) -> Recipe:
    asked = {"trials": 3, "seeds": 1, **changes}
    return load_recipe("miniature").changed(tasks or [OTHER], list(METHODS), **asked)


def require_named(store: Store, pattern: str, head: str = "") -> None:
    words = named(store, head)
    assert any(re.search(pattern, line) for line in words), words


def late(store: Store) -> set[str]:
    return sources_of(store).evidence.archive.protocol.late


@contextmanager
def clock(year: int) -> Iterator[None]:
    """Within the block the journal's clock shows a year."""

    class Clock(datetime):
        @classmethod
        def now(cls, tz: object = None) -> Clock:
            return cls(year, 1, 1, tzinfo=UTC)

    with patch.object(carft.store.journal, "datetime", Clock):
        yield


# records made again


def make_again(store: Store, method: str, top1: float, superseded: bool = True) -> None:
    """The confirm cells of a method with other predictions; the journal is only appended."""
    for cell in study(store, method).confirm:
        spec = store.read(cell).cell
        shutil.rmtree(store.folder(cell))
        if superseded:
            store.note("superseded", cell=cell)
        write(store, spec, top1, 0.5, GOOD)


@pytest.mark.parametrize("superseded", [True, False])
def test_of_a_cell_that_was_made_again_the_first_line_counts(case: Store, superseded: bool) -> None:
    head = case.journal().head
    with another_process():
        make_again(case, "ft", 0.2, superseded)
    for words in (named(case), named(case, head)):
        assert sum("was made again with other predictions; the first record counts" in line for line in words) == 3
        assert any("test.json of cell" in line and "the first ones count" in line for line in words)
    answer = verdict(case)
    assert answer.flag == "in doubt" and "made again with other predictions" in reason_words(answer)


def test_what_no_line_before_the_head_tells_of_is_after_the_head(case: Store) -> None:
    """The journal was cut after its plan, and all that follows it was made again."""
    plan = case.journal().of("planned")[0].digest
    words = named(case, plan)
    confirmed = study(case, "car_ft").confirm
    assert all(any(f"cell {cell} is after the head" in line for line in words) for cell in confirmed)
    assert not named(case, case.journal().head)


def test_an_opening_after_the_head_is_no_evidence(case: Store) -> None:
    (opened,) = [line for line in case.journal().of("opened") if line.cell == study(case, "ft").confirm[0]][:1]
    before = opened.parents[0]
    require_named(case, rf"cell {opened.cell} is after the head: .* its opening on ", before)


def test_a_side_without_a_journal_that_is_merged_in_is_marked(store: Store, tmp_path: Path) -> None:
    plant(store, [TASK], replace(GOOD, top1={m: GOOD.top1[m] for m in ("zeroshot", "ft")}))
    theirs = Store(tmp_path / "theirs")
    plant(theirs, [TASK], replace(GOOD, top1={"car_ft": 0.9}))
    forget_journal(theirs)
    merge(store, theirs, tmp_path / "both")
    both, notes = Store(tmp_path / "both"), list[str]()
    named(both, notes=notes)
    assert any("4 cells were found and not made" in note for note in notes)
    assert Caution.FOUND in verdict(both).cautions


def test_a_seed_that_is_cut_off_with_the_end_of_its_chain_is_missing(case: Store) -> None:
    *kept, third = study(case, "car_ft").confirm
    (chain,) = (case.root / "journal").glob("*.jsonl")
    lines = chain.read_bytes().splitlines(keepends=True)
    first = next(k for k, line in enumerate(lines) if third.encode() in line)
    chain.write_bytes(b"".join(lines[:first]))
    for record in list(case.records()):
        if third in (record.id, *record.cell.parents):
            shutil.rmtree(case.folder(record.id))
    edit_study(case, "car_ft", confirm=kept)
    case.note("ended")
    require_named(case, "its confirm cells lack the planned seeds 3")


def test_a_clock_that_is_set_back_hides_no_extension(store: Store) -> None:
    work(small(trials=2), store)
    shutil.rmtree(store.root / "studies")
    with clock(2001):
        work(small(trials=3), store)
    ids = {s.id for s in store.studies()}
    assert all(s.extended_from is None for s in store.studies()) and late(store) == ids
    assert sources_of(store).unsealings.marked[Caution.EXTENDED]


def test_clocks_of_two_machines_decide_nothing(store: Store) -> None:
    """The trials end on a machine whose clock is ahead of that which opens the winner."""
    with clock(2099):
        work(small(), store, runs=lambda job: job.kind == "search", most=6)
    work(small(), store)
    assert not late(store) and not named(store)


# the plan decides


def test_suites_that_are_chosen_after_the_test_are_named(store: Store) -> None:
    recipe = small()
    adopt_catalog(store, recipe.catalog, recipe.tasks)
    work(recipe, store)
    assert not named(store)
    fewer = recipe.changed(suites=["hands"])
    adopt_catalog(store, fewer.catalog, fewer.tasks)
    work(fewer, store)
    assert (store.root / CHOSEN).is_file()
    require_named(store, r"its plan evaluates on .*, and the results are now evaluated on hands")


def test_suites_that_are_chosen_before_the_test_are_not(store: Store) -> None:
    work(small(), store, most=2, runs=lambda job: job.kind == "search")
    fewer = small().changed(suites=["hands"])
    adopt_catalog(store, fewer.catalog, fewer.tasks)
    work(fewer, store)
    assert not named(store)


def test_edges_and_oracle_are_allowed_by_the_plan_alone(store: Store) -> None:
    work(small(), store)
    edit_study(store, "ft", allow_edges=True)
    edit_study(store, "car_ft", oracle=True)
    require_named(store, "it allows winners at the edge of a range, and its plan does not")
    require_named(store, "it says that a sweep opened its trials, and no plan does")


PLUGIN = """
from carft.catalog.plugins import method
from carft.config.registry import Range
from carft.methods.ft import FineTune

@method(name="mine", label="Mine", summary="x", space={"lr": Range(1e-5, 1e-3, 1e-4)}, shares={"lr": "learning rate"},
        reads=(), whole_batch=False, epoch_passes=1)
class Mine(FineTune):
    pass
"""


def test_a_card_that_is_edited_or_added_is_named(store: Store, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(PLUGIN)
    catalog = BUILT_IN.with_plugins([tmp_path / "mine.py"])
    recipe = load_recipe("miniature", catalog=catalog).changed([OTHER], ["ft", "mine"], trials=2, seeds=1)
    store.catalog = catalog
    adopt_catalog(store, catalog, recipe.tasks, recipe.methods)
    work(recipe, store)
    assert not named(Store(store.root))
    edit_json(store.root / "methods" / "mine.json", shares={})
    require_named(
        Store(store.root), r"study \w+ \(mine on .*methods/mine.json is not the one that the last plan rests on"
    )
    shutil.copy(store.root / "methods" / "mine.json", store.root / "methods" / "ft.json")
    edit_json(store.root / "methods" / "ft.json", name="ft")
    require_named(Store(store.root), r"\(ft on .*methods/ft.json is there, and no plan rests on it")
    (store.root / "methods" / "ft.json").unlink()
    (store.root / "methods" / "mine.json").unlink()
    found = sources_of(Store(store.root, catalog=catalog)).evidence.archive.protocol.departures
    gone = Finding.of(What.STORED_GONE, file="methods/mine.json")
    assert any(gone in of_study for of_study in found.values())


def test_a_method_that_another_command_stored_anew_is_clean(store: Store, tmp_path: Path) -> None:
    for text in (PLUGIN, f"{PLUGIN}# changed\n"):
        (tmp_path / "mine.py").write_text(text)
        catalog = BUILT_IN.with_plugins([tmp_path / "mine.py"])
        recipe = load_recipe("miniature", catalog=catalog).changed([OTHER], ["ft", "mine"], trials=2, seeds=1)
        store.catalog = catalog
        adopt_catalog(store, catalog, recipe.tasks)  # as `train` does
        if text == PLUGIN:
            work(recipe, store)
    assert not named(Store(store.root))


def test_a_task_of_one_s_own_that_is_edited_is_named(store: Store) -> None:
    words = {"classes": ("cat", "dog"), "prompts": ("a photo", "a sketch")}
    task = NamedTask("zoo", "1", ("photos",), ("sketches",), **words)
    catalog = BUILT_IN.with_tasks([task])
    recipe = load_recipe("miniature").with_catalog(catalog).changed(["zoo"], ["ft"], trials=2, seeds=1)
    adopt_catalog(store, catalog, recipe.tasks)
    work(recipe, store)
    assert not named(Store(store.root))
    (path,) = (store.root / "tasks").iterdir()
    edit_json(path, metric="mean_per_class", ood_domains=[])
    require_named(Store(store.root), r"\(ft on zoo\): tasks/\w+.json is not the one that the last plan rests on")


def test_a_failure_that_was_written_by_hand_explains_no_missing_trial(store: Store) -> None:
    cell = Protocol(small(), store).studies[0].trial_cells[1]
    write_failure(store, cell, "diverged", "by hand", job="search")
    shutil.rmtree(store.root / "journal")  # as an editor writes it
    work(small(), store)
    (store.root / "failures" / f"{cell.id}.json").unlink()
    require_named(store, "trial 1 has neither a record nor a failure that the journal names")


def test_a_trial_that_failed_is_explained_by_its_line(store: Store) -> None:
    protocol = Protocol(small(), store)
    for searched in protocol.studies:
        write_failure(store, searched.trial_cells[1], "diverged", "the loss is not finite", job="search")
    work(small(), store)
    assert not named(store) and verdict(store, "C3").flag != "not comparable"


def test_both_sides_ended_the_same_trials(store: Store) -> None:
    for number, searched in enumerate(Protocol(small(), store).studies):
        write_failure(store, searched.trial_cells[number], "diverged", "the loss is not finite", job="search")
    work(small(), store)
    answer = verdict(store, "C3")
    assert answer.flag == "not comparable"
    assert re.search(r"the searches \(trials (0, 2 against 1, 2|1, 2 against 0, 2) ended\)", reason_words(answer)), (
        reason_words(answer)
    )


def test_a_planned_task_that_was_dropped_before_it_had_a_winner_is_missing(store: Store) -> None:
    work(small([OTHER, "icons-3/mix-1"]), store, most=8, runs=lambda job: job.cell.task == OTHER)
    for dropped in [s for s in store.studies() if s.task != OTHER]:
        shutil.rmtree(store.root / "studies" / dropped.id)
    assert "1 planned searches of ft are missing (icons-3/mix-1)" in reason_words(verdict(store, "C3"))


def test_searches_that_were_planned_and_not_run_are_missing(store: Store) -> None:
    work(small(searches=3), store, runs=lambda job: job.cell.seed < 1000, most=8)
    for dropped in [s for s in store.studies() if s.search > 1]:
        shutil.rmtree(store.root / "studies" / dropped.id)
    answer = verdict(store, "C3")
    assert SearchesMissing("car_ft", (("icons-3/mix-6", 2), ("icons-3/mix-6", 3))) in answer.damage
    work(small(searches=3), store)
    assert "planned searches" not in reason_words(verdict(store, "C3")) and not named(store)


@pytest.mark.parametrize("changes", [{"epochs": 7}, {"search_seed": 5}, {"lr": True}])
def test_one_budget_range_or_search_seed_after_the_other_is_marked(store: Store, changes: dict[str, int]) -> None:
    work(small(), store)
    before = {s.id for s in store.studies()}
    other = small()
    if "epochs" in changes:
        other = other.model_copy(update={"training": replace(other.training, epochs=changes["epochs"])})
    elif "search_seed" in changes:
        other = other.model_copy(update=changes)
    else:
        other = other.with_ranges({"lr": (1e-4, 2e-3)})
    work(other, store)
    added = {s.id for s in store.studies()} - before
    assert len(added) == 2 and late(store) == added and not named(store)


def test_seeds_that_were_opened_inside_a_grid_before_the_search_are_marked(store: Store) -> None:
    grid = load_recipe("dose-full").changed([OTHER], list(METHODS), seeds=7)
    grid = grid.model_copy(update={"grid": {"lr": [1e-3], "kl_weight": [1.0]}})
    work(grid, store)
    work(small(), store)
    assert late(store) == {s.id for s in store.studies() if s.winner}


def test_a_history_that_was_deleted_and_a_cell_that_is_a_link_are_marked_on_the_verdict(case: Store) -> None:
    (case.folder(study(case, "ft").confirm[0]) / "history.parquet").unlink()
    linked = case.folder(study(case, "car_ft").confirm[0])
    shutil.move(linked, case.root.with_name("moved"))
    linked.symlink_to(case.root.with_name("moved"))
    answer = verdict(case)
    assert answer.flag == "in doubt"
    assert "history.parquet is missing" in reason_words(answer) and "is or holds a link" in reason_words(answer)
    assert sources_of(case).unsealings.marked[Caution.DEPARTED]


# compact archives


@pytest.fixture(scope="module")
def packed(planted: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packed")
    pack(planted, folder / "small.zip", compact=True)
    unpack(folder / "small.zip", folder / "results")
    return folder / "results"


@pytest.fixture
def compact(packed: Path, tmp_path: Path) -> Store:
    shutil.copytree(packed, tmp_path / "compact")
    return Store(tmp_path / "compact")


def exchange_groups(store: Store) -> None:
    """Between images, with the same names and sizes of groups."""
    for path in (store.root / SHARED).glob(f"*{IMAGES}"):
        table = pq.read_table(path)
        groups = table["group"].to_pylist()
        groups[::2] = [*groups[2::2], groups[0]]
        column = table.column_names.index("group")
        pq.write_table(table.set_column(column, "group", pa.array(groups)), path)


def test_the_compact_form_gives_the_digests_of_the_journal(compact: Store) -> None:
    notes: list[str] = []
    assert not named(compact, notes=notes) and not any("has no digests" in note for note in notes)


def test_groups_that_were_exchanged_in_a_compact_archive_are_named(compact: Store) -> None:
    exchange_groups(compact)
    require_named(compact, r"the predictions of cell \w+ on test are not those that the journal has a digest of")
    answer = verdict(compact)
    assert answer.flag == "in doubt" and "has a digest of" in reason_words(answer)


def test_a_shared_file_beside_whole_records_excuses_no_missing_predictions(case: Store, compact: Store) -> None:
    (case.root / SHARED).mkdir()
    exchange_groups(compact)
    for path in (compact.root / SHARED).iterdir():
        shutil.copy(path, case.root / SHARED)
    cell = study(case, "ft").confirm[0]
    (case.folder(cell) / "evaluations" / "test.parquet").unlink()
    require_named(case, f"the predictions of cell {cell} on test are not those")
    shutil.rmtree(case.root / SHARED)
    (case.root / SHARED).mkdir()
    (case.root / SHARED / "notes.txt").touch()
    require_named(Store(case.root), f"cells/{cell}/evaluations/test.parquet is missing, and the journal names it")


def as_of_an_earlier_version(store: Store) -> None:
    """Lines without what they hold since FORMAT 2; the chain is written again."""
    lines = lines_with_facts(store)
    shutil.rmtree(store.root / "journal")
    for line, facts in lines:
        for name in ("outcomes", "stored", "suites", "format"):
            facts.pop(name, None)
        store.note(line.kind, **facts)


def test_digests_can_be_added_to_an_older_archive_which_says_so(compact: Store, tmp_path: Path) -> None:
    as_of_an_earlier_version(compact)
    notes: list[str] = []
    assert not named(compact, notes=notes)
    assert any("The journal has no digests of" in note for note in notes)
    done = run_cli("results", "export", tmp_path / "new.zip", "--compact", "--digests", "--results", compact.root)
    assert done.returncode == 0 and "were added to the journal. Its head: " in done.stderr
    unpack(tmp_path / "new.zip", tmp_path / "new")
    new, notes = Store(tmp_path / "new"), []
    assert not named(new, new.journal().head, notes) and new.add_digests() == 0
    assert any("were added to the journal later, from the records" in note for note in notes)
    exchange_groups(new)
    require_named(new, "are not those that the journal has a digest of")


# honest work


def test_a_sweep_that_was_stopped_twice_is_clean(store: Store) -> None:
    for most in (3, 4, None):
        work(small(), store, most)
    assert not named(store) and not late(store)


def test_two_machines_by_task_merged_and_continued_are_clean(tmp_path: Path) -> None:
    both = [OTHER, "icons-3/mix-1"]
    for number, task in enumerate(both):
        with clock(2090 - 50 * number):
            work(small([task]), Store(tmp_path / str(number)), most=None if number else 5)
    merge(Store(tmp_path / "0"), Store(tmp_path / "1"), tmp_path / "both")
    store = Store(tmp_path / "both")
    work(small(both), store)
    assert not named(store) and not late(store) and len(store.studies()) == 4


@pytest.mark.parametrize("compact", [False, True])
def test_an_archive_that_is_imported_and_swept_again_is_clean(store: Store, tmp_path: Path, compact: bool) -> None:
    work(small(), store, most=9)
    pack(store, tmp_path / "all.zip", compact=compact)
    unpack(tmp_path / "all.zip", tmp_path / "theirs")
    theirs = Store(tmp_path / "theirs")
    work(small(), theirs)
    work(small(seeds=2), theirs)
    assert not named(theirs) and all(s.extended_from for s in theirs.studies())


def test_a_corrupt_cell_that_was_moved_away_and_run_again_is_clean(store: Store, tmp_path: Path) -> None:
    work(small(), store)
    for cell in (study(store, "ft").confirm[0], study(store, "ft").trials[1].cell):
        shutil.move(store.folder(cell), tmp_path / cell)
    with clock(2050):
        work(small(), store)
    assert not named(store) and not late(store)


def test_a_lost_trial_that_gives_the_same_predictions_elsewhere_is_clean(store: Store) -> None:
    """Its record has other times and its file other bytes; the predictions are equal."""
    work(small(), store)
    trial = study(store, "ft").trials[1].cell
    spec = store.read(trial)
    shutil.rmtree(store.folder(trial))
    elsewhere = replace(PREDICTIONS, logits=PREDICTIONS.logits + 1.0)
    with another_process():
        store.write(replace(spec, durations={"train": 7.0}), [], elsewhere)
    assert not named(store)
    shutil.rmtree(store.folder(trial))
    with another_process():
        store.write(replace(spec, durations={"train": 8.0}), [], replace(PREDICTIONS, logits=-PREDICTIONS.logits))
    require_named(store, f"cell {trial} was made again with other predictions")


class Killed(Exception):
    """The end of a process."""


@pytest.mark.parametrize("in_opening", [False, True])
def test_a_kill_between_a_line_and_its_file_is_an_interruption_until_the_sweep_goes_on(
    store: Store, in_opening: bool
) -> None:
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
        with (
            patch("carft.store.records.write_json", side_effect=[Killed] if in_opening else [None, Killed]),
            pytest.raises(Killed),
        ):
            (second if in_opening else first)()
    notes: list[str] = []
    assert not named(store, notes=notes)
    assert any("Interrupted: a process ended before" in note for note in notes)
    work(small(), store)
    notes = []
    assert not named(store, notes=notes) and not any("Interrupted" in note for note in notes)


def test_a_kill_while_a_set_of_several_interpolations_is_written_is_an_interruption(store: Store) -> None:
    recipe = small().changed(methods=[*METHODS, "wise_ft"])
    protocol = work(recipe, store, most=8, runs=lambda job: job.kind != "curve")
    with another_process():
        job = protocol.next_job()
        assert job is not None and job.kind == "curve"
        cells = job.cells()
        todo = list(parts(store, job))
        for part in todo[:: len(todo) // len(cells)]:
            part()  # every record
        with patch("carft.store.records.write_json", side_effect=Killed):
            for cell in cells:
                with pytest.raises(Killed):
                    store.add_evaluation(cell.id, "test", made_up_metrics(cell, "test"), PREDICTIONS, {"by": "sweep"})
    notes: list[str] = []
    assert not named(store, notes=notes)
    assert sum("Interrupted" in note for note in notes) == len(cells)
    work(recipe, store)
    assert not named(store)
