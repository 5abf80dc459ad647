"""`report verify --rerun` draws what verdicts rest on."""

from __future__ import annotations

from dataclasses import replace

from carft.config.cell import Training
from carft.config.resolve import specify
from carft.store.records import Store
from carft_cli.report import drawn_sides
from reports.build import sources_of
from tests.support.planted import QUICK, plant, write


def test_cells_behind_verdicts_are_drawn_with_the_other_side_of_their_difference(store: Store) -> None:
    plant(store, ["icons/all"], QUICK)
    for seed in range(20, 40):  # no verdict rests on these
        write(
            store,
            specify("icons/all", "ft", {"lr": 1e-3}, seed, Training(epochs=1)),
            0.9,
            0.9,
            replace(QUICK, groups=2),
        )
    verdicts = [verdict for verdict in sources_of(store).verdicts if verdict.claim == "C3"]
    confirmed = {cell for study in store.studies() for cell in study.confirm}
    for count in (1, 2, 3):
        drawn = drawn_sides(store, list(store.records()), count, verdicts)
        assert {record.id for record in drawn} <= confirmed and len(drawn) == 2 * -(-count // 2)
        for record in drawn:
            others = [other.cell for other in drawn if other.cell.seed == record.cell.seed]
            assert {cell.method for cell in others} == {"ft", "car_ft"}
