"""C8 and C8r: it is the context that matters; C8r asks it of the primary control alone, random vectors."""

from carft.config.registry import METHODS
from reports.judge.claims.claim import Claim, Verdict
from reports.judge.claims.rules import MeanClaim, beside, decide, not_run, sweep_command
from reports.judge.contrasts.contrast import Contrast, every_set, every_suite, pool
from reports.judge.entry import CAR_FT, RANDOM, Entry
from reports.judge.evidence import Evidence
from reports.judge.part import MEAN_OF_SUITES, Part

#: what takes the place of contexts in each control
CONTROLS = {
    "kd": "the class distribution",
    "feature_kd": "the image features",
    "lipsum_ft": "random text",
    "car_ft_permuted": "the contexts of other images of the batch",
    "car_ft_random": "random unit vectors",
}


class ContextMatters(Claim):
    """CAR-FT minus each control that puts something else in the place of contexts."""

    def decide(self, evidence: Evidence) -> Verdict:
        command = sweep_command(evidence, ["ft", "car_ft", *CONTROLS])
        absent = []
        for name, what in CONTROLS.items():
            if not any(evidence.cells(task, Entry(name)) for task in evidence.tasks):
                absent.append(f"{name} ({what})")
        if absent:
            return not_run(self, evidence, f"controls {', '.join(absent)}", command)
        parts: list[Part | None] = []
        for name in CONTROLS:
            rival = Entry(name)
            sides = f"CAR-FT - {METHODS[name].label}"
            parts.append(pool(evidence, Contrast(CAR_FT, rival, "top1", every_suite), sides, MEAN_OF_SUITES))
            in_distribution, contexts = Contrast(CAR_FT, rival), Contrast(CAR_FT, rival, "context", every_set)
            parts += beside(evidence, sides, {"ID test": in_distribution, "contexts": contexts})
        return decide(self, evidence, parts, "car_ft", command)


EVERY_CONTROL = ContextMatters(
    id="C8",
    title="It is the context that matters",
    statement="At equal budget CAR-FT beats the same training with anything else in the place of contexts.",
    rule=(
        "CAR-FT minus each of KD, feature KD, Lipsum-FT, context distributions permuted over the "
        "batch, random context head; top-1, mean over suites and tasks: all five lower bounds "
        "above 0."
    ),
    source="the paper's title and idea; the controls are this audit's",
    asked_of=("several", "single", "imagenet", "domainbed"),
    needs="suites",
    presumes="forgetting",
)

RANDOM_VECTORS = MeanClaim(
    id="C8r",
    title="Contexts beat random vectors",
    statement="At equal budget CAR-FT beats the same training with random unit vectors in the place of contexts.",
    rule="CAR-FT minus CAR-FT with a random context head, top-1, mean over suites and tasks: lower bound above 0.",
    source="the primary control of C8, named before the second audit",
    is_primary=True,
    asked_of=("several", "single", "imagenet", "domainbed"),
    needs="suites",
    presumes="forgetting",
    contrast=Contrast(CAR_FT, RANDOM, "top1", every_suite),
    sides="CAR-FT - random contexts",
    place=MEAN_OF_SUITES,
    missing=("car_ft", "car_ft_random (random unit vectors)"),
    run=("ft", "car_ft", "car_ft_random"),
)
