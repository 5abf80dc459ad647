"""How many of a sweep's slots a confirm cell takes, when few jobs are left. No Ray."""

from __future__ import annotations


def slots_of_a_confirm_cell(slots: int, free: int, trainings: int) -> int:
    """The slots that a confirm cell takes: those that no other training would use now, and a divisor of all of them.

    What waits beside trainings is short, and starts once a training ends.

    Args:
        slots: Jobs at a time at most, at least 1.
        free: Slots that no job uses, from 1 to ``slots``.
        trainings: Trainings that can start now, this one included; at least 1.
    """
    return max(share for share in range(1, max(1, free // trainings) + 1) if slots % share == 0)
