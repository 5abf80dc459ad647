"""Each test plays one way to a verdict that pleases; report and `report verify` name it, and honest searches pass."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from carft import NUMERICS
from carft.spec.cell import Training
from carft.spec.resolve import specify
from carft.spec.study import confirm_seeds, identity, study_id
from carft.store.records import Store
from carft.store.study import StudyFile
from carft.store.unsealing import append_to_log
from reports.build import build_report, sources_of
from reports.claims.verdicts import Verdict
from reports.evidence.protocol import DEPARTED, check_protocol
from reports.evidence.sealed_access import EXTENDED
from reports.tables.table import Sources
from reports.tables.tuning import selection_table
from reports.verify import CHECKS, Case, Verification, verify
from sweeps.recipes import load_recipe
from sweeps.recipes.readings import Readings
from tests.support.dry import undisturbed
from tests.support.helpers import run_cli
from tests.support.planted import HYPERPARAMETERS, Plan, change_study, changed, plant, write

pytestmark = pytest.mark.usefixtures("few_figures")

TASK = "icons/all"  # a scope of its own: no further task can be missing
METHODS = ("ft", "car_ft")
LOG = "unsealed.jsonl"
TRIALS = 4
GOOD = Plan(
    top1={"zeroshot": 0.5, "ft": 0.6, "car_ft": 0.8},
    context={"zeroshot": 0.9, "ft": 0.6, "car_ft": 0.9},
    groups=30,
)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store(tmp_path_factory.mktemp("planted") / "results")
    plant(store, [TASK], GOOD, curves=False, trials=TRIALS)
    return store


@pytest.fixture
def case(planted: Store, tmp_path: Path) -> Store:
    """A copy that a test may tamper with."""
    shutil.copytree(planted.root, tmp_path / "results")
    return Store(tmp_path / "results")


def sources(store: Store) -> Sources:
    return sources_of(store)


def study(store: Store, method: str, search: int = 1) -> StudyFile:
    return next(s for s in store.studies() if (s.method, s.search) == (method, search))


def verdict(store: Store, claim: str = "C3") -> Verdict:
    return next(v for v in sources(store).verdicts if v.claim == claim)


def log_openings(store: Store, cells: Collection[str], when: str) -> None:
    """Let the log say that these cells were opened at another time."""
    log = [json.loads(line) for line in (store.root / LOG).read_text(encoding="utf-8").splitlines()]
    lines = [{**line, "when": when} if line["cell"] in cells else line for line in log]
    (store.root / LOG).write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")


def with_seeds(store: Store, method: str, seeds: list[int], opened: bool = True) -> list[str]:
    """Cells of the winner with these seeds, written as `train --unseal` would."""
    plan = replace(GOOD, top1={method: GOOD.top1[method]}, seeds=seeds)
    elsewhere = Store(store.root.with_name(f"{method}-elsewhere"))
    plant(elsewhere, [TASK], plan, curves=False)
    made = list(elsewhere.studies()[0].confirm)
    for cell in made:
        shutil.copytree(elsewhere.folder(cell), store.folder(cell))
        for name in elsewhere.evaluated(cell) if opened else ():
            append_to_log(store.root / LOG, cell, name, "train")
    return made


def checked(store: Store) -> tuple[Verification, str]:
    """A report made of the folder as it is, its check, and all that a reader is shown."""
    built = build_report(store, store.root.with_name("report"))
    shown = "".join(built.page.with_name(name).read_text(encoding="utf-8") for name in ("index.html", "report.md"))
    return verify(store, built.page.parent), shown


def named(store: Store) -> list[str]:
    """What `report verify` says of the studies of a folder, whatever the report says."""
    case = Case(store, store.root, store.root)
    return [words for _, words in CHECKS["studies against the protocol"](case) if words is not None]


def assert_nothing_decided(store: Store, words: str) -> None:
    """Every claim that compares the trained methods is in doubt or open, says why, and is marked."""
    found = {v.claim: v for v in sources(store).verdicts}
    for claim in ("C1", "C2", "C3", "C4"):
        assert found[claim].verdict in ("inconclusive", "in doubt, for"), found[claim]
        assert words in found[claim].reason, found[claim].reason


def test_an_honest_search_holds_and_is_not_marked(case: Store) -> None:
    found, shown = checked(case)
    assert found.holds and DEPARTED not in shown and EXTENDED not in shown
    assert verdict(case).verdict == "suggested"


def test_more_seeds_later_are_no_departure(case: Store) -> None:
    for method in METHODS:
        more = with_seeds(case, method, [4, 5])
        change_study(case, TASK, method, confirm=[*study(case, method).confirm, *more])
    assert not named(case) and not sources(case).unsealings.departed
    assert verdict(case).n_seeds == 5


def test_a_dropped_seed_is_named(case: Store) -> None:
    dropped = []
    for method in METHODS:
        first, worst, third = study(case, method).confirm
        change_study(case, TASK, method, confirm=[first, third])
        dropped.append(worst)
    assert_nothing_decided(case, "its confirm seeds are 1, 3; the protocol's are 1, 2")
    undecided = verdict(case)
    assert DEPARTED in undecided.caution and all(cell in undecided.reason for cell in dropped)
    assert all(any(cell in line for line in named(case)) for cell in dropped)
    found, shown = checked(case)
    assert [check.name for check in found.checks if check.differences] == ["studies against the protocol"]
    assert DEPARTED in shown and dropped[0] in shown


def test_the_last_seed_cannot_be_dropped_either_even_with_its_record(case: Store) -> None:
    for method in METHODS:
        *kept, worst = study(case, method).confirm
        change_study(case, TASK, method, confirm=kept)
        shutil.rmtree(case.folder(worst))
        (case.root / "superseded" / f"{worst}-00000000").mkdir(parents=True)  # as if it were one of older NUMERICS
        assert any(worst in words for words in sources(case).evidence.departures(TASK, method))
    assert_nothing_decided(case, "was opened on test and has no record")
    assert len(named(case)) == len(METHODS)


def test_the_best_three_of_many_seeds_are_named(case: Store) -> None:
    for method in METHODS:
        many = with_seeds(case, method, [4, 5, 6, 7, 8])
        change_study(case, TASK, method, confirm=[many[0], many[2], many[4]])
    assert_nothing_decided(case, "its confirm seeds are 4, 6, 8; the protocol's are 1, 2, 3")
    assert any("with seed 5, was opened on test and is no confirm cell" in line for line in named(case))


def test_a_winner_tested_with_another_seed_by_hand_is_named(case: Store) -> None:
    (cell,) = with_seeds(case, "car_ft", [9])
    assert cell in verdict(case).reason


def test_cells_of_a_grid_are_no_departure_and_no_evidence_of_a_claim(case: Store) -> None:
    before = verdict(case)
    cells = [cell for method in METHODS for cell in with_seeds(case, method, [9])]
    assert all(any(cell in line for line in named(case)) for cell in cells)
    for number, method in enumerate(METHODS):
        searched = study(case, method)
        changes = {"id": method, "space": {}, "trials": [], "winner": None, "confirm": [], "grid": [cells[number]]}
        case.write_study(method, searched.model_copy(update=changes))
    assert not named(case)
    assert (verdict(case).verdict, verdict(case).cells) == (before.verdict, before.cells)
    equal = sources(case).table("equal_settings")
    assert {*cells} <= {*equal[equal["contrast"] == "CAR-FT - FT"]["cells"].iloc[0].split()}


def test_a_seed_that_was_never_tested_is_no_departure(case: Store) -> None:
    (cell,) = with_seeds(case, "car_ft", [9], opened=False)
    shutil.rmtree(case.folder(cell) / "evaluations")
    assert not named(case)


def test_an_opening_by_a_cell_that_no_study_knows_stands_against_all(case: Store) -> None:
    append_to_log(case.root / LOG, "0123456789abcdef", "test", "train")
    assert_nothing_decided(case, "cell 0123456789abcdef was opened on test and has no record")
    assert "cell 0123456789abcdef was opened on test and has no record" in named(case)


def test_confirm_cells_of_other_hyperparameters_are_named(case: Store) -> None:
    trial = study(case, "ft").trials[1]
    change_study(case, TASK, "ft", confirm=[trial.cell, *study(case, "ft").confirm[1:]])
    assert_nothing_decided(case, f"confirm cells {trial.cell} are not the winner with a fresh seed")


def test_a_trial_struck_from_every_study_is_named(case: Store) -> None:
    struck = []
    for method in METHODS:
        *kept, last = study(case, method).trials
        change_study(case, TASK, method, trials=kept)
        struck.append(last.cell)
    assert_nothing_decided(case, f"cell {struck[0]} is its trial 3, which the study does not name")
    assert all(any(cell in line for line in named(case)) for cell in struck)


def confirmed_by_a_sweep(store: Store, method: str, parameters: dict[str, float]) -> list[str]:
    """Cells of another winner, as a sweep leaves them."""
    cells = [specify(TASK, method, parameters, seed, Training(epochs=6)) for seed in GOOD.seeds]
    for cell in cells:
        write(store, cell, 0.5, 0.5, GOOD)
    return [cell.id for cell in cells]


def test_a_trial_that_is_gone_with_its_search_cell_is_named_by_what_was_confirmed_of_it(case: Store) -> None:
    """The winner of four trials is bad on test; the study is deleted and searched again with three trials."""
    tested = []
    for method in METHODS:
        *kept, last = study(case, method).trials
        tested += confirmed_by_a_sweep(case, method, dict(last.parameters))
        shutil.rmtree(case.folder(last.cell))
        change_study(case, TASK, method, trials=kept)
    words = f"cell {tested[0]} of another winner was opened on test by a sweep, and no study names it"
    assert_nothing_decided(case, words)
    assert all(any(f"cell {cell} of another winner" in line for line in named(case)) for cell in tested)
    for method in METHODS:
        change_study(case, TASK, method, extended_from={"trials": 4, "confirm": 3})  # what a sweep itself writes
    assert not named(case) and EXTENDED in verdict(case, "C1").caution


def test_a_search_of_another_range_after_test_was_seen_is_marked(case: Store) -> None:
    (cell, *_) = confirmed_by_a_sweep(case, "ft", {"lr": 0.05})
    early = {"when": "2001-01-01T00:00:00Z", "cell": cell, "set": "test", "by": "train", "numerics": NUMERICS}
    lines = [line for line in (case.root / LOG).read_text(encoding="utf-8").splitlines() if cell not in line]
    (case.root / LOG).write_text("\n".join([*lines, json.dumps(early), ""]), encoding="utf-8")
    path = next((case.folder(cell) / "evaluations").glob("test.json"))
    path.write_text(json.dumps({**json.loads(path.read_text()), "unsealed_at": early["when"]}))
    assert sources(case).evidence.archive.protocol.late == {study(case, "ft").id}


def test_fewer_trials_after_more_are_no_departure(store: Store) -> None:
    for trials in (4, 3, 2, 1):
        small = load_recipe("miniature").changed(["icons/tools"], ["ft"], trials=trials, seeds=1)
        undisturbed(small, store.root)
    records = {record.id: record for record in store.records()}
    assert len(store.studies()[0].trials) == 4 and len(store.unsealings()) > len(
        store.evaluated(store.studies()[0].confirm[0])
    )
    assert not check_protocol(store, records, store.studies(), {}).departures


def test_a_reading_that_searches_the_temperature_is_not_late_for_the_default_reading(store: Store) -> None:
    small = load_recipe("miniature").changed(["icons/tools"], ["car_ft"], trials=2, seeds=1)
    undisturbed(small, store.root)
    readings = Readings(factors={"context_temperature": ["validated"]}, combinations=0, seed=0)
    undisturbed(small.model_copy(update={"readings": readings}), store.root)
    (own,) = (s for s in store.studies() if s.reading or "context_temperature" in s.space)
    for trial in own.trials[1:]:  # the first guess is a trial of both
        end_at(store, trial.cell, "2999-01-01T00:00:00Z")
    log_openings(store, own.confirm, "3000-01-01T00:00:00Z")
    records = {record.id: record for record in store.records()}
    assert len(store.studies()) == 2
    assert not check_protocol(store, records, store.studies(), {}).late


def test_seeds_beside_tested_ones_mark_a_study_whose_file_is_gone(store: Store) -> None:
    small = load_recipe("miniature").changed(["icons/tools"], ["ft"], trials=2, seeds=2)
    undisturbed(small, store.root)
    assert store.studies()[0].extended_from is None
    shutil.rmtree(store.root / "studies")
    undisturbed(small, store.root)
    assert store.studies()[0].extended_from is None
    shutil.rmtree(store.root / "studies")
    undisturbed(small.changed(seeds=3), store.root)
    seen = store.studies()[0].extended_from
    assert seen is not None and (seen.trials, seen.confirm) == (2, 2)


def test_a_hole_in_the_trials_is_named(case: Store) -> None:
    for method in METHODS:
        trials = study(case, method).trials
        shutil.rmtree(case.folder(trials[1].cell))
        change_study(case, TASK, method, trials=[trials[0], *trials[2:]])
    assert_nothing_decided(case, "its trials are numbered 0, 2, 3")


def test_a_trial_whose_parameters_are_those_of_another_cell_is_named(case: Store) -> None:
    first, second, *rest = (trial.content() for trial in study(case, "ft").trials)
    swapped = {**second, "parameters": first["parameters"]}
    change_study(case, TASK, "ft", trials=[first, swapped, *rest])
    words = f"trial 1 lists cell {second['cell']}, but its parameters give cell {first['cell']}"
    assert any(words in line for line in named(case))


def test_trials_numbered_anew_are_not_those_of_the_sequence(case: Store) -> None:
    for method in METHODS:
        trials = study(case, method).trials
        shutil.rmtree(case.folder(trials[1].cell))
        kept = [{**trial.content(), "trial": k} for k, trial in enumerate([trials[0], *trials[2:]])]
        change_study(case, TASK, method, trials=kept)
    lines = named(case)
    assert len(lines) == 2 + 4 and all("the sequence of its search gives" in line for line in lines)


def test_a_range_that_was_edited_is_named(case: Store) -> None:
    """To make two searches look alike: the trials left the range, or the sequence gives others; the id is another."""
    content = study(case, "ft")
    change_study(case, TASK, "ft", space={"lr": [2e-3, 6e-3, 3e-4]})
    assert any("which its range does not give" in words for words in sources(case).evidence.departures(TASK, "ft"))
    change_study(case, TASK, "ft", space={"lr": [1e-5, 1e-3, 3e-4]})
    lines = named(case)
    assert any("its id is not that of what it says" in line for line in lines)
    assert any("the sequence of its search gives" in line for line in lines)
    edited = changed(content, space={"lr": [1e-5, 1e-3, 3e-4]})
    case.write_study(content.id, changed(edited, id=study_id(identity(edited.content()))))
    assert any("the sequence of its search gives" in line for line in named(case))


def test_an_error_of_one_study_is_named_and_ends_no_other_check(case: Store) -> None:
    """A range from 0 on, which has no logarithm, in the study that is checked first."""
    first, second = case.studies()
    case.write_study(first.id, changed(first, space={"lr": [0.0, 2e-3, 3e-4]}))
    case.write_study(second.id, changed(second, confirm=list(second.confirm[1:])))
    lines = named(case)
    error = f"study {first.id} ({first.method} on {TASK}): cannot be checked: ValueError: "
    assert any(line.startswith(error) for line in lines), lines
    assert any(line.startswith(f"study {second.id} ") and "its confirm seeds are" in line for line in lines), lines
    case.write_study(first.id, changed(first, space={"lr": [0.0, 2e-3, 3e-4]}, trials=list(first.trials[:-1])))
    words = sources(case).evidence.departures(TASK, first.method)
    assert any(departure.startswith("cannot be checked: ValueError: ") for departure in words), words


def test_another_search_seed_or_training_recipe_than_the_cells_were_run_with_is_named(case: Store) -> None:
    change_study(case, TASK, "ft", search_seed=77)
    assert any("were not run as it says" in line for line in named(case))


def end_at(store: Store, cell: str, when: str | None) -> None:
    path = store.folder(cell) / "record.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["finished_at"] = when
    path.write_text(json.dumps({k: v for k, v in content.items() if v is not None}), encoding="utf-8")


def test_a_search_that_went_on_after_test_was_seen_is_marked_whatever_its_file_says(case: Store) -> None:
    """Studies deleted and run again with more trials: their files know of nothing, the records' times do."""
    end_at(case, study(case, "car_ft").trials[-1].cell, "2999-01-01T00:00:00Z")
    marks = sources(case).table("tasks").set_index("method")["caution"]
    assert marks["car_ft"] == EXTENDED and not marks["ft"]
    assert not named(case)


def test_the_times_beside_predictions_count_where_the_log_is_gone(case: Store) -> None:
    (case.root / "unsealed.jsonl").unlink()
    cell = study(case, "car_ft").confirm[0]
    path = case.folder(cell) / "evaluations" / "test.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "unsealed_at": "2001-01-01T00:00:00Z"}))
    assert EXTENDED in verdict(case).caution


def test_an_opening_of_a_record_that_was_computed_again_under_other_numerics_counts_for_nothing(case: Store) -> None:
    cell = study(case, "car_ft").confirm[0]
    older = {"when": "2001-01-01T00:00:00Z", "cell": cell, "set": "test", "by": "sweep", "numerics": NUMERICS + 1}
    oldest = {k: v for k, v in older.items() if k != "numerics"}
    with (case.root / "unsealed.jsonl").open("a") as log:
        log.write(f"{json.dumps(older)}\n{json.dumps(oldest)}\n")
    assert not sources(case).evidence.archive.protocol.late


def test_records_without_a_finishing_time_are_said_to_be_unknown_and_verify(case: Store) -> None:
    for cell in case.ids():
        end_at(case, cell, None)
    found, shown = checked(case)
    assert found.holds and EXTENDED not in shown
    assert "8 trials have no finishing time" in shown and any("no finishing time" in note for note in found.notes)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"confirm": 2}, "different numbers of confirm seeds of car_ft: 2 on icons/body, 3 on icons/tools"),
        (
            {"kl_weight": [0.1, 90.0, 1.0]},
            "different search ranges of car_ft: .*, KL weight 0.1 to 90 and learning rate .* on icons/body",
        ),
        ({"plugin": "22bb"}, "different versions of car_ft: 11aa on icons/tools, 22bb on icons/body"),
    ],
)
def test_tasks_whose_studies_differ_decide_nothing(store: Store, changes: dict[str, Any], reason: str) -> None:
    plant(store, ["icons/tools", "icons/body"], GOOD, curves=False)
    for task in ("icons/tools", "icons/body"):
        change_study(store, task, "car_ft", plugin="11aa")
    known = next(s for s in store.studies() if (s.task, s.method) == ("icons/body", "car_ft"))
    if "confirm" in changes:
        changes = {"confirm": known.confirm[: changes["confirm"]]}
    elif "kl_weight" in changes:
        changes = {"space": {**known.space, **changes}}
    change_study(store, "icons/body", "car_ft", **changes)
    assert re.search(f"the tasks have {reason}", verdict(store).reason)


def test_of_two_sweeps_of_all_tasks_one_is_reported_and_not_a_mixture(store: Store) -> None:
    tasks = ["icons/tools", "icons/body", "icons/media"]
    plant(store, tasks, GOOD, curves=False)
    for known in [s for s in store.studies() if s.method == "car_ft"]:
        other = changed(known, space={**known.space, "kl_weight": [0.1, 90.0, 1.0]})
        other = changed(other, id=study_id(identity(other.content())))
        store.write_study(other.id, other)
    evidence = sources(store).evidence
    assert len({str(s.space) for s in evidence.studies if s.method == "car_ft"}) == 1
    assert len(evidence.dropped) == len(tasks)


def test_terminal_and_json_show_what_the_page_shows(case: Store, tmp_path: Path) -> None:
    first, _, third = study(case, "ft").confirm
    change_study(case, TASK, "ft", confirm=[first, third])
    options = ("report", "--results", case.root, "--out", tmp_path / "report")
    printed = json.loads(run_cli(*options, "--json").stdout)
    marks = {v["claim"]: v["caution"] for v in printed["verdicts"]}
    assert DEPARTED in marks["C3"] and not marks["C4b"] and "confirm seeds are 1, 3" in printed["warnings"][0]
    said = run_cli(*options).stdout
    assert f"! {DEPARTED}" in said and "confirm seeds are 1, 3" in said
    assert DEPARTED in run_cli("report", "why", "C3", "--results", case.root).stdout
    done = run_cli("report", "verify", "--results", case.root, "--out", tmp_path / "report")
    assert done.returncode == 1 and "confirm seeds are 1, 3" in done.stdout


def test_a_search_of_a_sweep_is_computed_again_from_its_file(store: Store) -> None:
    """Also where a reading adds a hyperparameter."""
    readings = Readings(factors={"context_temperature": ["validated"]}, combinations=0, seed=0)
    small = load_recipe("miniature").changed(["icons/tools"], ["ft", "car_ft"], trials=7, seeds=1)
    undisturbed(small.model_copy(update={"readings": readings}), store.root)
    records = {record.id: record for record in store.records()}
    assert len(store.studies()) == 3
    for searched in store.studies():
        assert len(searched.trials) == 7
        assert study_id(identity(searched.content())) == searched.id
    found = check_protocol(store, records, store.studies(), {})
    assert not found.departures and not found.elsewhere and not found.late


@pytest.fixture
def twice(case: Store) -> Store:
    """Two searches of each method, with the same winner."""
    trained = replace(GOOD, top1={method: GOOD.top1[method] for method in METHODS})
    plant(case, [TASK], trained, curves=False, trials=TRIALS, search=2)
    for found in case.studies():  # as in one sweep: the second search ends when test numbers of the first are there
        end_at(case, found.trials[-1].cell, "2999-01-01T00:00:00Z" if found.search == 2 else "2001-01-01T00:00:00Z")
    log_openings(case, {c for method in METHODS for c in study(case, method, 2).confirm}, "3000-01-01T00:00:00Z")
    return case


def test_several_honest_searches_hold_and_are_not_marked(twice: Store) -> None:
    """The second search tries the same first guess; that it ends after the first was tested is no mark."""
    found = sources(twice)
    assert not named(twice) and not found.evidence.archive.protocol.late and not found.unsealings.departed
    assert next(v for v in found.verdicts if v.claim == "C3").n_searches == 2


def test_what_is_amiss_with_a_further_search_is_named_as_its_own(twice: Store) -> None:
    second = study(twice, "ft", 2)
    first, dropped, third = second.confirm
    twice.write_study(second.id, changed(second, confirm=[first, third]))
    words = sources(twice).evidence.departures(TASK, "ft")
    assert "its confirm seeds are 1001, 1003; the protocol's are 1001, 1002, search 2" in words
    assert any(dropped in word for word in words)
    assert_nothing_decided(twice, dropped)
    end_at(twice, second.trials[-1].cell, "3001-01-01T00:00:00Z")
    assert sources(twice).evidence.archive.protocol.late == {second.id}


@pytest.mark.parametrize("search", [1, 2])
def test_a_search_that_was_dropped_is_named(twice: Store, search: int) -> None:
    for method in METHODS:
        shutil.rmtree(twice.root / "studies" / study(twice, method, search).id)
    assert_nothing_decided(
        twice, "search 1 is not here" if search == 1 else "has a seed of search 2, which is not here"
    )


def test_a_further_search_is_compared_with_the_same_one_of_the_other_side(twice: Store) -> None:
    second = study(twice, "ft", 2)
    twice.write_study(second.id, changed(second, sampler=""))
    answer = verdict(twice)
    assert answer.verdict == "not comparable" and "sampler (car_ft sobol against ft in rounds of 1)" in answer.reason


def test_the_protocol_s_seeds() -> None:
    assert confirm_seeds(3, 0) == [1, 2, 3]
    assert confirm_seeds(3, 2) == [1, 3, 4]
    assert confirm_seeds(5, 0)[:3] == confirm_seeds(3, 0)
    assert confirm_seeds(2, 0, search=2) == [1001, 1002]
    assert confirm_seeds(2, 1, search=2) == [1002, 1003]
    cell = specify(TASK, "ft", HYPERPARAMETERS["ft"])
    assert cell.seed not in confirm_seeds(9, cell.seed)


@pytest.fixture
def both_selections(store: Store) -> Store:
    """The same search cells under both ways to select."""
    for selection in ("per-task", "shared"):
        asked = {"trials": 3, "seeds": 2, "searches": 2, "selection": selection}
        undisturbed(load_recipe("miniature").changed(["icons/tools", "icons/body"], list(METHODS), **asked), store.root)
    return store


def test_both_selections_hold_and_the_shared_one_leads_at_miniature_scale(both_selections: Store) -> None:
    store = both_selections
    found, case = sources(store), Case(store, store.root, store.root)
    assert not named(store) and not found.unsealings.departed
    assert not [words for _, words in CHECKS["winners against validation"](case) if words]
    view = found.evidence
    assert view.is_shared and view.other_selection is not None and not view.other_selection.is_shared
    assert len(view.studies) == len(view.other_selection.studies) == 8 and not view.dropped
    assert not view.archive.protocol.departures
    table = selection_table(view)
    assert set(table["selected_on"]) == {"validation", "validation, per task"}


def test_a_shared_winner_is_selected_over_all_its_tasks(both_selections: Store) -> None:
    store = both_selections
    family = [s for s in store.studies() if s.selected_over and s.method == "ft" and s.search == 1]
    scores = [[store.metrics(t.cell)["val/top1"] - store.metrics(t.cell)["val/loss"] for t in s.trials] for s in family]
    worst = min(range(3), key=lambda k: sum(score[k] for score in scores))
    store.write_study(family[0].id, changed(family[0], winner=family[0].trials[worst].cell))
    case = Case(store, store.root, store.root)
    lines = [words for _, words in CHECKS["winners against validation"](case) if words]
    assert len(lines) == 1 and "validation selects" in lines[0]
    shutil.rmtree(store.root / "studies" / family[0].id)
    case = Case(store, store.root, store.root)
    lines = [words for _, words in CHECKS["winners against validation"](case) if words]
    assert len(lines) == 1 and f"selected over {family[0].task} too" in lines[0]
