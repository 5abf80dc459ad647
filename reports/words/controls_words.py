"""What the controls of an experiment found, what fine-tuning forgets, and what is given back."""

from reports.analysis.established import Asked
from reports.analysis.forgetting import GivenBack
from reports.words.flaws_words import flaws_of
from reports.words.levels_words import recognition_words
from reports.words.null_checks_words import check_words


def control_words(asked: Asked) -> str:
    """What is missing or unequal of a control, or what its number stands beside."""
    if asked.check is not None:
        return check_words(asked.check)
    if asked.recognition is not None:
        return recognition_words(asked.recognition)
    if asked.part is not None:
        return flaws_of(asked.part)
    return ""


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
