"""The simulated sweep of the benchmark is the queue of a real one, behind a driver that does one thing at a time."""

from __future__ import annotations

import pytest

from benchmarks.feeding import feed

TRIALS = 4


def test_a_driver_feeds_as_many_slots_as_it_can_hand_out_jobs_in_the_time_of_one() -> None:
    few = feed(TRIALS, slots=5, mean_s=10.0, driver_s=1.0)
    many = feed(TRIALS, slots=40, mean_s=10.0, driver_s=1.0)
    assert few.while_ready > 0.8
    assert many.while_ready == pytest.approx(10 / 40, rel=0.2)


def test_every_job_of_the_sweep_runs_and_the_end_leaves_slots_free() -> None:
    fed = feed(TRIALS, slots=20, mean_s=60.0, seeds=2)
    searches = 9 * 2
    assert fed.jobs == 9 + searches * (TRIALS + 2 + 2)  # without training, trials, confirm cells, curves
    assert fed.whole < fed.while_ready < 1
