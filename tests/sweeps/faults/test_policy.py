"""What a sweep does about each kind of failure."""

from __future__ import annotations

from carft.core.failure_kinds import FailureKind
from carft.core.files import write_json
from carft.store.failures import write_failure
from carft.store.records import Store
from sweeps.faults.policy import POLICIES, final_failures, policy_of
from tests.support.helpers import LR, quick_cell

PASSING = {"storage", "lost", "device", "unreadable image"}


def test_every_kind_has_a_policy_and_another_version_s_has_the_default() -> None:
    assert set(POLICIES) == set(FailureKind)
    assert {kind: policy.attempts for kind, policy in POLICIES.items() if policy.attempts > 1} == {
        "lost": 3, "storage": 3, "device": 3, "crash": 2
    }  # fmt: skip
    assert (policy_of("melted").attempts, policy_of("melted").passes) == (1, False)


def test_what_was_lost_is_not_settled(store: Store) -> None:
    cells = {str(kind): quick_cell("ft", seed=seed, lr=LR) for seed, kind in enumerate((*FailureKind, "melted"))}
    for kind, cell in cells.items():
        write_failure(store, cell, kind, "why", job="search")
    settled = {f"search-{cell.id}" for kind, cell in cells.items() if kind not in PASSING}
    assert set(final_failures(store)) == settled


def test_a_failure_without_its_job_is_not_held_against_the_cell(store: Store) -> None:
    cell = quick_cell("ft", lr=LR)
    store.failure_path(cell.id).parent.mkdir(parents=True)
    content = {"cell": cell.id, "spec": cell.as_dict(), "reason": "it broke", "details": "Traceback ..."}
    write_json(store.failure_path(cell.id), content)
    assert final_failures(store) == {}
