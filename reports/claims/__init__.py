"""The claims of the ledger and what decides each: one file per family, one function per claim."""

from __future__ import annotations

from collections.abc import Mapping

from reports.claims import accuracy, choices, context, domainbed, limits, tuning
from reports.claims.rules import Decider

DECIDERS: Mapping[str, Decider] = {
    "C1": context.corrupts,
    "C2": context.keeps,
    "C3": accuracy.in_distribution,
    "C4": accuracy.every_shift,
    "C4b": accuracy.above_zero_shot,
    "C5": accuracy.all_nine,
    "C6": domainbed.average,
    "C6b": domainbed.above_fine_tuning,
    "C7": domainbed.state_of_the_art,
    "C8": context.matters,
    "C9": limits.shrinks,
    "C10": tuning.no_artefact,
    "C11": choices.no_choice,
    "C12": accuracy.weight_averaging,
}
