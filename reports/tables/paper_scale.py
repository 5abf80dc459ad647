"""What the claims would need at the paper's scale, if its trainings varied as those of the miniature do."""

import math
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from carft.data.downstream.family import CARDS as DOWNSTREAM
from carft.data.downstream.family import DATA_SETS as DOWNSTREAM_SETS
from carft.data.imagenet.family import DATA_SETS as IMAGENET_SETS
from carft.data.imagenet.family import SUITES
from reports.analysis.contrasts import ASSUMED, Contrast, Sets, id_test, suite_set
from reports.claims.claim import Claim
from reports.claims.ledger import gain_claims
from reports.evidence.evidence import CAR_FT, FT, Evidence
from reports.stats.intervals import POWER, REPLICATES, Component, Estimate
from reports.tables.table import Sources, table

#: numbers of replicates with columns of their own
COUNTS = (3, 5, 10)
#: the row of all nine downstream tasks together
ALL_NINE = "all nine"


#: the largest number of searches that is looked at
MOST_REPLICATES = 50


def fewest(numbers: range, power: Callable[[int], float]) -> int | None:
    """The first of the numbers at which the power, which rises with them, reaches 80 %; None if it does at none."""
    index = bisect_left(numbers, True, key=lambda number: power(number) >= POWER)
    return numbers[index] if index < len(numbers) else None


@table(
    "What the paper's scale would need",
    "An extrapolation: how many replicates (searches where the records have several, else seeds) show the effect "
    "that others report, or 2 points, on the paper's sets, if trainings there vary as those of the miniature do. "
    "sd: standard deviation of CAR-FT minus FT over replicates, and over images, in points.",
    ["claim", "set"],
    points=("effect", "margin"),
    shares=("sd_*", "visible_*", "power_*"),
    hidden=("scope", "scale"),
    headings={"sd_replicate": "sd replicate", "sd_image": "sd image"},
    cells=lambda sources, row: sources.cells(row, (FT, CAR_FT)),
)
def paper_scale(sources: Sources) -> pd.DataFrame:
    """One row per set of a claimed gain at the paper's scale: what is visible, and the replicates that are needed.

    The variances are means over the tasks (out of distribution also over the suites) of the first miniature scope in
    which FT and CAR-FT have an interval. images: of the set, of several the fewest. effect: what others report,
    ``basis`` says so, or 2 points. visible_N: the smallest effect that N replicates show in 80 % of repetitions.
    power_N: the share of repetitions in which they show ``effect`` beyond the margin, of several sets in all of them.
    needed: replicates for 80 %, at most 50; empty where more are needed.
    """
    for view in sources.evidence.views():
        if view.scale != "miniature":
            continue
        on_test = spread(view, [id_test])
        on_suites = spread(view, [suite_set(name) for name in view.suite_names()])
        if on_test and on_suites:
            return pd.DataFrame(_rows(view, on_test, on_suites))
    return pd.DataFrame()


def _rows(view: Evidence, on_test: Estimate, on_suites: Estimate) -> Iterator[dict[str, Any]]:
    """The rows of ImageNet, its suites, and the downstream tasks one by one and together."""
    claims, counts = gain_claims(), {name: data_set.counts["test"] for name, data_set in IMAGENET_SETS.items()}
    yield _row(view, claims["ID test"], "imagenet", [counts["imagenet"]], on_test, "test")
    for name in SUITES:
        yield _row(view, claims["suites"], name, [counts[name]], on_suites, f"ood/{name}")
    nine = [DOWNSTREAM_SETS[task].counts["test"] for task in DOWNSTREAM]
    for task, images in zip(DOWNSTREAM, nine, strict=True):
        yield _row(view, claims["tasks"], task, [images], on_test, "")
    yield _row(view, claims["tasks"], ALL_NINE, nine, on_test, "")


def spread(view: Evidence, sets: Sequence[Sets]) -> Estimate | None:
    """CAR-FT minus FT of one replicate and one group: its mean variances over the tasks and the sets.

    None without an interval. A group is an image at the paper's scale, and a drawing with all its images in the
    miniature, whose mean varies less than one image: the term is too small.
    """
    each = []
    for names in sets:
        for estimate, _ in Contrast(CAR_FT, FT, "top1", names).estimate(view).estimates.values():
            sources = {component.source for component in estimate.components}
            if not math.isnan(estimate.se) and not sources.isdisjoint(REPLICATES):
                each.append(of_one(estimate))
    if not each:
        return None
    means = np.mean([_variances(one) for one in each], axis=0).tolist()
    components = []
    for term, (variance, interaction) in zip(each[0].components, means, strict=True):
        components.append(Component(variance, 0, term.source, interaction))
    return replace(each[0], components=tuple(components))


def _variances(estimate: Estimate) -> list[tuple[float, float]]:
    """(variance, interaction) of each component."""
    return [(component.variance, component.interaction) for component in estimate.components]


def of_one(estimate: Estimate) -> Estimate:
    """An estimate of one replicate and one group, which :meth:`Estimate.scaled` extrapolates to more."""
    own = 0.0
    for component in estimate.components:
        if component.source in REPLICATES:
            over = component
        elif component.source == "groups":
            own += max(0.0, component.variance - component.interaction)
    count, groups, held = over.df + 1, estimate.n_groups, min(over.interaction, over.variance)
    shared = held * count * groups
    replicates = Component((over.variance - held) * count + shared, 0, over.source, shared)
    return Estimate(estimate.effect, (replicates, Component(own * groups + shared, 0, "groups", shared)), 1, 1)


def _row(
    view: Evidence, claim: Claim, name: str, images: Sequence[int], one: Estimate, reference: str
) -> dict[str, Any]:
    """A row; of several sets, which share nothing, all must show the effect, and the fewest images decide the rest.

    one: the difference of one replicate and one image. reference: the set of the claim's reference numbers that has the
    effect; the effect is assumed where none has.
    """
    effect, basis = claim.reference(reference), "reported by others"
    if effect is None:
        effect, basis = ASSUMED, "assumed"
    distance = effect - claim.margin
    over, groups = one.components

    def power(count: int) -> float:
        return math.prod(one.scaled(count, of_set).power(distance) for of_set in images)

    enough = fewest(range(2, MOST_REPLICATES + 1), power)
    visible, powers = {}, {}
    for count in COUNTS:
        visible[f"visible_{count}"] = one.scaled(count, min(images)).smallest_visible()
        powers[f"power_{count}"] = power(count)
    return {
        "claim": claim.id,
        "set": name,
        **view.columns,
        "images": min(images),
        "effect": effect,
        "basis": basis,
        "margin": claim.margin,
        "replicate": over.source,
        "sd_replicate": math.sqrt(over.variance - over.interaction),
        "sd_image": math.sqrt(groups.variance),
        **visible,
        **powers,
        "needed": math.nan if enough is None else enough,
    }
