"""C1: fine-tuning corrupts context recognition."""

from reports.judge.claims.rules import MeanClaim
from reports.judge.contrasts.contrast import Contrast, every_set, every_suite, id_test
from reports.judge.entry import FT, ZERO_SHOT

CLAIM = MeanClaim(
    id="C1",
    title="Fine-tuning corrupts context recognition",
    statement="Fine-tuning lowers the recognition of contexts by their prompts, averaged over contexts.",
    rule="FT minus zero-shot, context recognition, mean over the ID test set and all suites: upper bound below 0.",
    source="abstract of arXiv 2211.16175: fine-tuning 'will corrupt the context-aware ability'",
    asked_of=("several", "single", "imagenet", "domainbed"),
    needs="contexts",
    topic="Context recognition",
    presumes="recognition",
    contrast=Contrast(FT, ZERO_SHOT, "context", every_set),
    sides="FT - zero-shot",
    place="all sets",
    side="below",
    beside={
        "ID test": Contrast(FT, ZERO_SHOT, "context", id_test),
        "all suites": Contrast(FT, ZERO_SHOT, "context", every_suite),
    },
    missing=("zeroshot", "ft"),
)
