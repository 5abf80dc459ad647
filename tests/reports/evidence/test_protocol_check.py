"""Each attack plays one way to a verdict that pleases; report or `report verify` names it, and honest folders pass."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import carft.methods.ft
from carft.catalog.catalog import BUILT_IN
from carft.catalog.resolve import specify
from carft.config.cell import Training
from carft.config.registry import PLUGIN_MODULE, Range
from carft.protocol.identity import identity, study_id
from carft.protocol.sampling import trial_parameters
from carft.store.archive import pack, unpack
from carft.store.journal import append_line, own_chain_path
from carft.store.merge import merge
from carft.store.records import Store
from reports.build import build_report, sources_of
from reports.claims.ledger import ledger
from reports.evidence.caveats import Caution
from reports.evidence.findings import Finding, What
from reports.evidence.protocol_check import DEPARTED, ProtocolCheck
from reports.evidence.verification import Differs
from reports.tables.table import Sources, table_card
from reports.verify import CHECKS, Case, verify
from reports.words.caveats_words import caution_words
from reports.words.verdict_words import reason_words
from sweeps.recipes.choices import Readings
from sweeps.recipes.loading import load_recipe
from tests.support.conduct import edit_json, edit_study, lines_with_facts, named, study, verdict
from tests.support.dry import undisturbed
from tests.support.helpers import made_up_predictions, made_up_record, run_cli
from tests.support.planted import GOOD, HYPERPARAMETERS, change_study, changed, forget_journal, plant, write

pytestmark = pytest.mark.usefixtures("few_figures")

TASK = "icons-3/all"  # a scope of its own: no further task can be missing
METHODS = ("ft", "car_ft")
TRIALS = 4


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store(tmp_path_factory.mktemp("planted") / "results")
    plant(store, [TASK], GOOD, trials=TRIALS)
    return store


@pytest.fixture
def case(planted: Store, tmp_path: Path) -> Store:
    """A copy that a test may tamper with."""
    shutil.copytree(planted.root, tmp_path / "results")
    return Store(tmp_path / "results")


def sources(store: Store) -> Sources:
    return sources_of(store)


def edit_journal(store: Store, was: bytes, becomes: bytes) -> None:
    for path in (store.root / "journal").iterdir():
        path.write_bytes(path.read_bytes().replace(was, becomes))


def drop_seed(store: Store) -> None:
    for method in METHODS:
        first, _, third = study(store, method).confirm
        edit_study(store, method, confirm=[first, third])


def drop_last_seed_with_its_record(store: Store) -> None:
    """As if it were a cell of other NUMERICS."""
    for method in METHODS:
        *kept, worst = study(store, method).confirm
        edit_study(store, method, confirm=kept)
        shutil.rmtree(store.folder(worst))
        edit_journal(
            store, f'"cell": "{worst}", "files"'.encode(), f'"cell": "{worst}", "numerics": 99, "was"'.encode()
        )


def drop_trial(store: Store) -> None:
    *kept, last = (trial.content() for trial in study(store, "ft").trials)
    edit_study(store, "ft", trials=kept)
    shutil.rmtree(store.folder(last["cell"]))


def delete_early_trial(store: Store) -> None:
    shutil.rmtree(store.folder(study(store, "ft").trials[1].cell))


def leave_a_hole_in_the_trials(store: Store, method: str = "ft") -> None:
    trials = [trial.content() for trial in study(store, method).trials]
    edit_study(store, method, trials=[trials[0], *trials[2:]])


def swap_parameters(store: Store) -> None:
    first, second, *rest = (trial.content() for trial in study(store, "ft").trials)
    edit_study(store, "ft", trials=[first, {**second, "parameters": first["parameters"]}, *rest])


def delete_history(store: Store) -> None:
    (store.folder(study(store, "ft").confirm[0]) / "history.parquet").unlink()


def permute_seeds(store: Store) -> None:
    first, second, _ = study(store, "ft").confirm
    for name in ("evaluations", "predictions.parquet"):
        shutil.move(store.folder(first) / name, store.root / "kept")
        shutil.move(store.folder(second) / name, store.folder(first) / name)
        shutil.move(store.root / "kept", store.folder(second) / name)


def use_other_weights(store: Store) -> None:
    path = store.folder(study(store, "car_ft").confirm[0]) / "record.json"
    provenance = json.loads(path.read_text(encoding="utf-8"))["provenance"]
    edit_json(path, provenance={**provenance, "digests": {**provenance["digests"], "weights": "others"}})


def change_evaluation(store: Store) -> None:
    cell = study(store, "ft").confirm[0]
    edit_json(store.folder(cell) / "evaluations" / "test.json", unsealed_at="2001-01-01T00:00:00Z")


def delete_evaluation(store: Store) -> None:
    path = store.folder(study(store, "ft").confirm[0]) / "evaluations" / "test.json"
    path.unlink()
    path.with_suffix(".parquet").unlink()


def delete_study(store: Store) -> None:
    shutil.rmtree(store.root / "studies" / study(store, "ft").id)


def forget_extension(store: Store) -> None:
    change_study(store, TASK, "ft", extended_from={"trials": 3, "confirm": 3})
    edit_study(store, "ft", extended_from=None)


def shrink_the_search(store: Store) -> None:
    """The winner of five trials is bad on test; the study is deleted and searched again with four."""
    ft = study(store, "ft")
    other = ft.trials[-1].content()
    change_study(store, TASK, "ft", trials=[*(t.content() for t in ft.trials), {**other, "trial": 4}], winner="gone")
    edit_study(store, "ft", trials=[t.content() for t in ft.trials], winner=ft.winner)


def confirm_another_winner(store: Store) -> None:
    """In another folder, whose openings are kept."""
    write(store, specify(TASK, "ft", {"lr": 0.05}, 1, Training(epochs=6)), 0.5, 0.5, GOOD)


def open_another_seed(store: Store) -> None:
    write(store, specify(TASK, "car_ft", HYPERPARAMETERS["car_ft"], 9, Training(epochs=6)), 0.5, 0.5, GOOD)


def plant_a_record(store: Store) -> None:
    elsewhere = Store(store.root.with_name("elsewhere"))
    write(elsewhere, specify(TASK, "ft", {"lr": 0.05}, 1, Training(epochs=6)), 0.5, 0.5, GOOD)
    shutil.copytree(elsewhere.root / "cells", store.root / "cells", dirs_exist_ok=True)


def link_a_cell(store: Store) -> None:
    cell = study(store, "ft").confirm[0]
    shutil.move(store.folder(cell), store.root.with_name("moved"))
    store.folder(cell).symlink_to(store.root.with_name("moved"))


def delete_journal(store: Store) -> None:
    shutil.rmtree(store.root / "journal")


def edit_range(store: Store) -> None:
    edit_study(store, "ft", space={"lr": [1e-5, 1e-3, 3e-4]})


def edit_search_seed(store: Store) -> None:
    edit_study(store, "ft", search_seed=77)


ATTACKS: dict[Callable[[Store], None], str] = {
    drop_seed: r"its confirm cells lack the planned seeds 2",
    drop_last_seed_with_its_record: r"line \d+ of the journal '.*' does not follow the line before it",
    drop_trial: r"it has 3 trials; the journal plans 4",
    delete_early_trial: r"cell \w+ finished and has no record",
    leave_a_hole_in_the_trials: r"its trials are numbered 0, 2, 3",
    swap_parameters: r"trial 1 lists cell \w+, but its parameters give cell",
    delete_history: r"history.parquet is missing, and the journal names it",
    permute_seeds: r"evaluations/test.json of cell \w+ is not what the journal names",
    use_other_weights: r"cell \w+ was computed with other weights than most cells",
    change_evaluation: r"evaluations/test.json of cell \w+ is not what the journal names",
    delete_evaluation: r"cell \w+ was opened and evaluations/test.json is missing",
    delete_study: r"study \w+ of ft on icons-3/all had a winner and is not here",
    forget_extension: r"it was extended after test was seen, and does not say so",
    shrink_the_search: r"it had 5 trials when cell gone was selected",
    confirm_another_winner: r"cell \w+ of another winner was opened on test by a sweep",
    open_another_seed: r"cell \w+ is the winner with seed 9, was opened on test and is no confirm cell",
    plant_a_record: r"the journal does not name cell",
    link_a_cell: r"is a link",
    delete_journal: r"the records name a journal, which is missing",
    edit_range: r"the sequence of its search gives",
    edit_search_seed: r"were not run as it says",
}


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_an_attack_is_named(case: Store, attack: Callable[[Store], None]) -> None:
    attack(case)
    words = named(case)
    assert any(re.search(ATTACKS[attack], line) for line in words), words


def test_an_interpolation_that_is_deleted_is_named(store: Store) -> None:
    plant(store, [TASK], GOOD, trials=TRIALS, curves=True)
    assert not named(store)
    parent = study(store, "ft").confirm[0]
    shutil.rmtree(store.folder(next(r.id for r in store.records() if r.cell.parents == (parent,))))
    wanted = r"study \w+ \(ft on icons-3/all\): cell \w+ was opened on test and has no record"
    assert any(re.search(wanted, line) for line in named(store))


@pytest.mark.parametrize(("broken", "other"), [METHODS, METHODS[::-1]])
def test_an_error_in_the_check_of_one_study_ends_that_of_no_other(
    case: Store, broken: str, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails_for_broken(seed: int, trial: int, ranges: Mapping[str, Range]) -> dict[str, float]:
        if ("kl_weight" in ranges) == (broken == "car_ft"):
            raise ValueError("math domain error")
        return trial_parameters(seed, trial, ranges)

    monkeypatch.setattr("reports.evidence.study_check.trial_parameters", fails_for_broken)
    leave_a_hole_in_the_trials(case, other)
    words = "\n".join(named(case))
    assert "cannot be checked: ValueError" in words and "its trials are numbered 0, 2, 3" in words


def test_a_departure_decides_nothing_and_is_shown_everywhere(case: Store, tmp_path: Path) -> None:
    drop_seed(case)
    found = {v.claim: v for v in sources(case).verdicts}
    for claim in ("C1", "C2", "C3", "C4"):
        assert found[claim].verdict == "inconclusive"
        assert "planned seeds 2" in reason_words(found[claim])
    options = ("report", "--results", case.root, "--out", tmp_path / "report")
    printed = json.loads(run_cli(*options, "--json").stdout)
    marks = {v["claim"]: v["caution"] for v in printed["verdicts"]}
    assert DEPARTED in marks["C3"] and "planned seeds 2" in printed["warnings"][0]
    assert DEPARTED in run_cli("report", "why", "C3", "--results", case.root).stdout
    done = run_cli("report", "verify", "--results", case.root, "--out", tmp_path / "report")
    assert done.returncode == 1 and "planned seeds 2" in done.stdout


def test_cells_of_a_grid_are_no_departure_and_no_evidence_of_a_claim(case: Store) -> None:
    before = verdict(case)
    cells = [specify(TASK, method, HYPERPARAMETERS[method], 9, Training(epochs=6)) for method in METHODS]
    for cell in cells:
        write(case, cell, 0.5, 0.5, GOOD)
    assert all(any(cell.id in line for line in named(case)) for cell in cells)
    for cell in cells:
        changes = {"id": cell.method, "space": {}, "trials": [], "winner": None, "confirm": [], "grid": [cell.id]}
        case.write_study(cell.method, study(case, cell.method).model_copy(update=changes))
    assert not named(case)
    assert (verdict(case).verdict, verdict(case).cells) == (before.verdict, before.cells)
    equal = sources(case).table("equal_settings")
    assert {c.id for c in cells} <= {*equal[equal["contrast"] == "CAR-FT - FT"]["cells"].iloc[0].split()}


def test_an_honest_folder_holds_and_a_head_proves_the_order(case: Store, tmp_path: Path) -> None:
    began = case.note("planned")
    build_report(case, tmp_path / "report")
    assert verdict(case).verdict in ("reproduced", "suggested reproduced") and not named(case)
    found = verify(case, tmp_path / "report")
    assert found.holds and any(note.what == Differs.ORDER_UNPROVEN for note in found.notes)
    found = verify(case, tmp_path / "report", head=began)
    assert found.holds and not any(note.what == Differs.ORDER_UNPROVEN for note in found.notes)
    shown = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert caution_words([Caution.DEPARTED]) not in shown and caution_words([Caution.EXTENDED]) not in shown


def test_a_journal_that_was_rewritten_whole_is_seen_by_its_head_alone(case: Store) -> None:
    head = case.journal().head
    cell = study(case, "ft").confirm[0]
    lines = lines_with_facts(case)
    shutil.rmtree(case.root / "journal")
    for line, facts in lines:
        by = {"by": "train"} if (line.kind, line.cell) == ("opened", cell) else {}
        (case.root / "journal").mkdir(exist_ok=True)
        append_line(own_chain_path(case.root / "journal"), line.kind, {**facts, **by})
    assert not named(case)
    assert any("the journal has no head" in line for line in named(case, head))


def test_a_plugin_that_replaces_code_of_another_method_is_named(store: Store, tmp_path: Path) -> None:
    plugin = tmp_path / "evil.py"
    plugin.write_text(
        "import carft.methods.ft as ft\n"
        "from carft.catalog.plugins import method\nfrom carft.config.registry import Range\n"
        "@method(name='evil', label='Evil', summary='x', space={'lr': Range(1e-5, 1e-3, 1e-4)}, shares={}, reads=(),\n"
        "        whole_batch=False, epoch_passes=1)\nclass Evil(ft.FineTune):\n    pass\n"
        "ft.FineTune.loss = lambda self, batch: (batch.logits.sum(), {})\n"
    )
    honest = carft.methods.ft.FineTune.loss
    try:
        store.catalog = BUILT_IN.with_plugins([plugin])
        assert "evil" in store.catalog.methods
        for name in [name for name in sys.modules if name.startswith(PLUGIN_MODULE)]:
            del sys.modules[name]  # as a plugin may do to hide what it replaced
        plant(store, [TASK], replace(GOOD, top1={"zeroshot": 0.5, "ft": 0.6}, groups=2), trials=TRIALS)
        write(store, specify(TASK, "ft", {"lr": 0.05}, 1, Training(epochs=6)), 0.5, 0.5, GOOD)
    finally:
        carft.methods.ft.FineTune.loss = honest  # type: ignore[method-assign]
    assert any("ran with replaced code: carft.methods.ft:FineTune.loss" in line for line in named(store))
    assert "evil.py" in [note.facts.get("file") for note in sources(store).evidence.archive.protocol.notes]


def test_the_first_losses_of_two_methods_with_one_seed_are_equal(store: Store) -> None:
    for method, loss in (("ft", 2.0), ("car_ft", 2.5)):
        for seed in (1, 2, 3):
            row = {"step": 0.0, "train/loss": loss + seed + (0.5 if (method, seed) == ("ft", 3) else 0.0)}
            row |= {"train/kl": 0.5} if method == "car_ft" else {}
            cell = specify(TASK, method, HYPERPARAMETERS[method], seed)
            store.write(made_up_record(cell), [row], made_up_predictions())
    found = ProtocolCheck(store, {record.id: record for record in store.records()}, [], BUILT_IN).departures[""]
    assert found[-1].what == What.FIRST_LOSS


@pytest.mark.parametrize("confirm_cells_alone", [False, True])
def test_cells_of_other_code_on_the_two_sides_are_not_compared(case: Store, confirm_cells_alone: bool) -> None:
    lines = lines_with_facts(case)
    confirmed = {cell for study in case.studies() for cell in study.confirm}
    shutil.rmtree(case.root / "journal")
    for line, facts in lines:
        if line.kind == "finished":
            is_other = line.method == "ft" and (line.cell in confirmed or not confirm_cells_alone)
            facts["code"] = ("a" if is_other else "b") * 16
        case.note(line.kind, **{k: v for k, v in facts.items() if k != "found"})
    answer = verdict(case)
    assert answer.flag == "not comparable"
    assert f"the code (car_ft {'b' * 16} against ft {'a' * 16})" in reason_words(answer)


def test_a_margin_that_changed_after_the_plan_leaves_its_claim_in_doubt_and_is_named(case: Store) -> None:
    case.note("planned", claims={name: claim.margin for name, claim in ledger().items()})
    assert verdict(case, "C3b").verdict == "suggested reproduced" and not named(case)
    case.note("planned", claims={"C3b": -0.02})
    answer = verdict(case, "C3b")
    assert (answer.flag, answer.direction) == ("in doubt", "for") and verdict(case).verdict == "suggested reproduced"
    words = "the margin of C3b is -0.5 points, and was -2 when a sweep was planned"
    assert words in reason_words(answer) and any(words in line for line in named(case))


def sweep(store: Store, **changes: Any) -> None:
    undisturbed(load_recipe("miniature").changed(["icons-3/mix-6"], ["ft"], **changes), store.root)


def test_more_seeds_and_fewer_trials_later_are_no_departure(store: Store) -> None:
    sweep(store, trials=4, seeds=1)
    for trials in (3, 2, 1):
        sweep(store, trials=trials, seeds=1)
    assert not named(store) and store.studies()[0].extended_from is None
    sweep(store, trials=4, seeds=3)
    assert not named(store) and len(store.studies()[0].confirm) == 3


def test_going_on_after_test_was_seen_is_marked_whatever_the_file_of_the_study_says(store: Store) -> None:
    sweep(store, trials=2, seeds=1)
    shutil.rmtree(store.root / "studies")
    sweep(store, trials=4, seeds=1)
    (only,) = store.studies()
    assert only.extended_from is None
    assert sources(store).evidence.archive.protocol.late == {only.id} and not named(store)
    shutil.rmtree(store.root / "studies")
    sweep(store, trials=4, seeds=2)  # seeds beside tested ones
    seen = store.studies()[0].extended_from
    assert seen is not None and (seen.trials, seen.confirm) == (4, 1)


def test_a_reading_that_searches_the_temperature_is_not_late_for_the_default_reading(store: Store) -> None:
    small = load_recipe("miniature").changed(["icons-3/mix-6"], ["car_ft"], trials=2, seeds=1)
    undisturbed(small, store.root)
    readings = Readings(factors={"context_temperature": ["validated"]}, combinations=0, seed=0)
    undisturbed(small.model_copy(update={"readings": readings}), store.root)
    assert len(store.studies()) == 2
    for searched in store.studies():
        assert study_id(identity(searched.content())) == searched.id
    late = sources(store).evidence.archive.protocol.late
    assert not late and not named(store)


def test_merged_and_unpacked_folders_hold(case: Store, store: Store, tmp_path: Path) -> None:
    sweep(store, trials=2, seeds=1)
    merge(case, store, tmp_path / "both")
    assert not named(Store(tmp_path / "both"))
    for compact in (False, True):
        pack(case, tmp_path / f"{compact}.zip", compact=compact)
        unpack(tmp_path / f"{compact}.zip", tmp_path / f"{compact}")
        assert not named(Store(tmp_path / f"{compact}"))


def test_a_folder_of_an_earlier_version_has_numbers_and_says_who_checks_its_conduct(case: Store) -> None:
    forget_journal(case)
    build_report(case, case.root.with_name("report"))
    found = verify(case, case.root.with_name("report"))
    assert found.holds and any(note.what == Differs.NO_JOURNAL for note in found.notes)
    write(case, specify(TASK, "ft", {"lr": 0.05}, 1, Training(epochs=6)), 0.5, 0.5, GOOD, unseal=False)
    assert not named(case)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"confirm": 2}, "different numbers of confirm seeds of car_ft: 2 on icons-3/mix-1, 3 on icons-3/mix-6"),
        (
            {"kl_weight": [0.1, 90.0, 1.0]},
            "different search ranges of car_ft: .*, KL weight 0.1 to 90 and learning rate .* on icons-3/mix-1",
        ),
        ({"plugin": "22bb"}, "different versions of car_ft: 11aa on icons-3/mix-6, 22bb on icons-3/mix-1"),
        ({"search_seed": 7}, "different search seeds of ft: 0 on icons-3/mix-6, 7 on icons-3/mix-1"),
    ],
)
def test_tasks_whose_studies_differ_decide_nothing(store: Store, changes: dict[str, Any], reason: str) -> None:
    plant(store, ["icons-3/mix-6", "icons-3/mix-1"], GOOD)
    for task in ("icons-3/mix-6", "icons-3/mix-1"):
        change_study(store, task, "car_ft", plugin="11aa")
    known = next(s for s in store.studies() if (s.task, s.method) == ("icons-3/mix-1", "car_ft"))
    if "confirm" in changes:
        changes = {"confirm": known.confirm[: changes["confirm"]]}
    elif "kl_weight" in changes:
        changes = {"space": {**known.space, **changes}}
    change_study(store, "icons-3/mix-1", "car_ft", **changes)
    if "search_seed" in changes:
        change_study(store, "icons-3/mix-1", "ft", **changes)
    assert re.search(f"the tasks have {reason}", reason_words(verdict(store)))


def test_of_two_sweeps_of_all_tasks_one_is_reported_and_not_a_mixture(store: Store) -> None:
    tasks = ["icons-3/mix-6", "icons-3/mix-1", "icons-3/mix-3"]
    plant(store, tasks, GOOD)
    for known in [s for s in store.studies() if s.method == "car_ft"]:
        other = changed(known, space={**known.space, "kl_weight": [0.1, 90.0, 1.0]})
        other = changed(other, id=study_id(identity(other.content())))
        store.write_study(other.id, other)
    evidence = sources(store).evidence
    assert len({str(s.space) for s in evidence.studies if s.method == "car_ft"}) == 1
    assert len(evidence.dropped) == len(tasks)


def test_several_searches_hold_and_what_departs_in_a_further_one_is_its_own(case: Store) -> None:
    """The second search, which was planned after the first was tested, is marked and no departure."""
    trained = replace(GOOD, top1={method: GOOD.top1[method] for method in METHODS})
    plant(case, [TASK], trained, trials=TRIALS, search=2)
    found = sources(case)
    assert not named(case) and not found.unsealings.marked[Caution.DEPARTED]
    assert found.evidence.archive.protocol.late == {study(case, method, 2).id for method in METHODS}
    assert verdict(case).number.n_searches == 2
    second = study(case, "ft", 2)
    case.write_study(second.id, changed(second, sampler=""))  # search k is compared with search k of the other side
    answer = verdict(case)
    assert answer.flag == "not comparable"
    assert "sampler (car_ft sobol against ft in rounds of 1)" in reason_words(answer)
    first, _, third = second.confirm
    case.write_study(second.id, changed(second, confirm=[first, third]))
    found = [(other.search, finding) for other, finding in sources(case).evidence.departures(TASK, "ft")]
    assert (2, Finding.of(What.SEEDS_MISSING, seeds=[1002])) in found


def test_both_selections_hold_the_one_per_task_leads_and_a_shared_winner_is_selected_over_all_its_tasks(
    store: Store,
) -> None:
    for selection in ("per-task", "shared"):
        asked = {"trials": 3, "seeds": 2, "searches": 2, "selection": selection}
        tasks = ["icons-3/mix-6", "icons-3/mix-1"]
        undisturbed(load_recipe("miniature").changed(tasks, list(METHODS), **asked), store.root)

    def of_winners() -> list[Finding]:
        compared = CHECKS["winners against validation"](Case(store, store.root, store.root))
        return [found.facts["finding"] for found in compared if found is not None]

    found = sources(store)
    assert not named(store) and not found.unsealings.marked[Caution.DEPARTED] and not of_winners()
    view = found.evidence
    assert not view.is_shared and view.other_selection is not None and view.other_selection.is_shared
    assert len(view.studies) == len(view.other_selection.studies) == 8 and not view.dropped
    assert not view.archive.protocol.departures
    table = table_card("selection").make(Sources(view))
    assert set(table["selected_on"]) == {"validation", "validation, shared"}
    family = [s for s in store.studies() if s.selected_over and s.method == "ft" and s.search == 1]
    other = next(trial.cell for trial in family[0].trials if trial.cell != family[0].winner)
    store.write_study(family[0].id, changed(family[0], winner=other))
    assert [found.what for found in of_winners()] == [What.OTHER_WINNER]
    shutil.rmtree(store.root / "studies" / family[0].id)
    (missing,) = of_winners()
    assert missing.what == What.UNCHECKED and f"selected over {family[0].task} too" in missing.facts["why"]
