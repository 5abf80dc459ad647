"""What the controls of an experiment found, what fine-tuning forgets, and what is given back."""

from collections.abc import Mapping

from reports.analysis.established import Asked
from reports.analysis.forgetting import Gate, GivenBack, TakenFrom
from reports.words.flaws_words import flaws_of
from reports.words.levels_words import recognition_words
from reports.words.null_checks_words import check_words

TAKEN_FROM: Mapping[TakenFrom, str] = {
    TakenFrom.OTHER_SEARCHES: "other searches",
    TakenFrom.ALL_SEARCHES: "all searches",
    TakenFrom.EACH_LEFT_OUT: "the same searches but one",
    TakenFrom.THE_SAME_RUNS: "the same runs",
}


def control_words(asked: Asked) -> str:
    """What is missing or unequal of a control, or what its number stands beside."""
    if asked.check is not None:
        return check_words(asked.check)
    if asked.recognition is not None:
        return recognition_words(asked.recognition)
    if asked.part is not None:
        return flaws_of(asked.part)
    return ""


def closed_gate(gate: Gate) -> str:
    """Why no remedy can show what it gives back, in a sentence."""
    return (
        f"Zero-shot minus FT out of distribution is {100 * gate.effect:+.1f} points with a lower bound of "
        f"{100 * gate.low:+.1f} (from {TAKEN_FROM[gate.taken_from]}), and a difference shows from "
        f"{100 * gate.visible:.1f} on: too little is surely forgotten for a remedy to show that it gives it back."
    )


def given_back_words(given_back: GivenBack) -> str:
    """The share of the forgetting that a method gives back, with its interval: ``35 % (12 to 61 %)``."""
    if not given_back.is_defined:
        return "nothing was forgotten"
    share = given_back.share
    low, high = f"{100 * share.low:.0f}", f"{100 * share.high:.0f}"
    bounds = {
        "between": f"{low} to {high} %",
        "outside": f"up to {low} % or from {high} % on, since the forgetting may be 0",
        "any": "any share, since the forgetting may be 0",
        "none": "no interval",
    }
    return f"{100 * share.value:.0f} % ({bounds[share.kind]})"
