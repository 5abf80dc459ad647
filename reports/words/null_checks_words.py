"""What the null checks found."""

from collections.abc import Mapping

from reports.analysis.null_checks import NullCheck, NullProperty

#: what cells do of which a property of the divergence holds, and what the others do
OF_CELLS: Mapping[NullProperty, tuple[str, str]] = {
    NullProperty.STARTS_AT_0: ("start at a divergence of 0", "start above 0"),
    NullProperty.MOVES_AWAY: ("move away from 0", "stay at 0 or are no numbers"),
    NullProperty.IS_0_WITH_ONE_TEMPLATE: (
        "have a divergence of 0: car_ft is plain fine-tuning there",
        "have a divergence above 0",
    ),
}


def check_words(check: NullCheck) -> str:
    """Why a check passed, failed or cannot be made, in a sentence."""
    if check.what == NullProperty.WEIGHT_0_IS_FT:
        return _of_pairs(check)
    return _of_divergences(check)


def _of_pairs(check: NullCheck) -> str:
    if check.status == "not checkable":
        return "No car_ft cell with kl_weight 0 has an ft cell of the same learning rate and seed."
    if check.status == "failed":
        return f"{check.wrong} of {check.compared} pairs differ."
    if check.has_logits:
        return f"{check.compared} pairs agree in every bit."
    return f"{check.compared} pairs agree in every class, context and digit of their metrics."


def _of_divergences(check: NullCheck) -> str:
    if check.status == "not checkable":
        is_of_one = check.what == NullProperty.IS_0_WITH_ONE_TEMPLATE
        tasks = "with one template" if is_of_one else "with several templates"
        return f"No confirm cell of car_ft on a task {tasks} with a training history of more than one step."
    passed, failed = OF_CELLS[check.what]
    if check.is_cut_short:
        return f"The training history of {check.wrong} cells is missing or cut short."
    if check.status == "failed":
        return f"{check.wrong} of {check.compared} cells {failed}."
    return f"All {check.compared} confirm cells {passed}."
