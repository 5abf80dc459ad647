"""What is said of cells that a reader must know something of, and of the seal on the held-out sets."""

from collections import Counter
from collections.abc import Iterable, Mapping

from reports.evidence.caveats import AnyCaution, Caution, SealedAccess
from reports.evidence.origins import Attested, MachineFact
from reports.evidence.protocol import DEPARTED

CAUTIONS: Mapping[Caution | Attested, str] = {
    Caution.TEST_SEEN: "test seen during search",
    Caution.DEPARTED: DEPARTED,
    Caution.EXTENDED: "extended after test was seen",
    Caution.ALLOWED_EDGES: "search range too narrow, which the recipe allows",
    Caution.RANDOM_WEIGHTS: "random weights",
    Caution.ONE_TEMPLATE: "one context template: the KL is 0, car_ft is ft",
    Attested.UNKNOWN: "data not attested",
    Attested.OTHER_PIXELS: "pixels differ from the attested ones",
    Attested.FIXTURE: "fixture: no real image",
    Attested.LEFT_OUT: "images that cannot be read are left out",
    Attested.FAILED: "data fail attestation",
}
MACHINES: Mapping[MachineFact, str] = {
    MachineFact.TORCH: "versions of torch",
    MachineFact.CPU: "CPU models",
    MachineFact.GPU: "GPUs",
    MachineFact.ENVIRONMENT: "settings of processor libraries",
}


def caution_word(caution: AnyCaution) -> str:
    """One caution."""
    if isinstance(caution, MachineFact):
        return f"methods ran on different {MACHINES[caution]}"
    return CAUTIONS[caution]


def caution_words(cautions: Iterable[AnyCaution]) -> str:
    """The cautions on a number: ``random weights; fixture: no real image``; mostly empty."""
    return "; ".join(map(caution_word, cautions))


def seal_words(access: SealedAccess) -> str:
    """The state of the seal in a few sentences."""
    if not access.openings:
        return "No cell was unsealed."
    counts = Counter(access.roles.get(cell, "superseded") for cell in access.openings)
    listed = ", ".join(f"{count} {role}" for role, count in sorted(counts.items()))
    most = max(max(sets.values()) for sets in access.openings.values())
    often = f"a set up to {most} times"
    if most == 1:
        often = "each set once"
    words = [f"{len(access.openings)} cells were unsealed ({listed}), {often}."]
    oracle = counts["search"] - len(access.seen)
    if not counts["search"]:
        words.append("No search cell was unsealed.")
    elif oracle:
        words.append(f"{oracle} search cells were opened by the sweep for oracle selection alone.")
    for mark, cells in access.marked.items():
        if cells:
            words.append(f"{len(cells)} cells are marked '{caution_word(mark)}'.")
    if not access.by:
        words.append("The folder has no log of unsealings, so repeated openings cannot be seen.")
    return " ".join(words)
