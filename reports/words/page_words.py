"""Sentences of the page that are about several verdicts or tables."""

from collections import defaultdict
from collections.abc import Sequence

from reports.claims.claim import ICONS, Claim, Reference, Verdict

#: names that references have for a mean over sets
OVER_SETS = ("ood/mean", "average")


def on_record_words(verdict: Verdict) -> str:
    """How a claim came out that the numbers of others decide, without any run."""
    holds = "holds" if verdict.direction == "for" else "fails"
    return f"{holds} in others' numbers"


def count_words(verdicts: Sequence[Verdict]) -> str:
    """How many claims came out how: ``2 contradicted``, with the ids of the claims unless there are several scopes.

    What was not run is counted at the end, and so is a claim that needs no run.
    """
    claims: dict[str, list[str]] = defaultdict(list)
    scopes: set[str] = set()
    ours, others = 0, ""
    for verdict in verdicts:
        scopes.add(verdict.scope)
        if verdict.basis == "records":
            ours += 1
            claims[verdict.verdict].append(verdict.claim)
        else:
            others += f" Without any run: {verdict.claim} {on_record_words(verdict)}."
    several = len(scopes - {""}) > 1  # several things that must not be pooled
    counted = []
    for word in ICONS:
        if word not in claims:
            continue
        count = f"{len(claims[word])} {word}"
        if not several:
            count += f" ({', '.join(dict.fromkeys(claims[word]))})"
        counted.append(count)
    asked = "questions" if several else "claims"
    return f"Of {ours} {asked}: {'; '.join(counted)}.{others}"


def others_words(claim: Claim) -> str:
    """What others report on a claim, in short: ``mean +5.9 (+1.4 to +10.3 on 4 sets)``; empty without any."""
    words, sets = [], []
    for reference in claim.references:
        if reference.set in OVER_SETS:
            words.append(f"mean {_reference(reference)}")
        else:
            sets.append(reference)
    sets.sort(key=lambda reference: reference.value)
    if len(sets) == 1:
        return f"{_reference(sets[0])} on {sets[0].dataset}"
    if sets:
        words.append(f"({_reference(sets[0])} to {_reference(sets[-1])} on {len(sets)} sets)")
    return " ".join(words)


def _reference(reference: Reference) -> str:
    """A number of others: a difference has a sign."""
    if reference.minus:
        return f"{reference.value:+.1f}"
    return f"{reference.value:g}"


def notes_of(verdict: Verdict) -> list[str]:
    """What a reader must know of a verdict and shares with others: cautions, and whether tuning luck is left out."""
    notes = list(verdict.cautions)
    if verdict.number.n_searches == 1:
        notes.append("one search a study: the interval leaves out tuning luck")
    return notes


def rests_on(verdict: Verdict) -> str:
    """The numbers of tasks, seeds and groups behind a verdict; its basis where nothing was run."""
    number = verdict.number
    if not number.n_tasks:
        return "" if verdict.missing else verdict.basis
    sizes = {"task": number.n_tasks, "seed": number.n_seeds, "group": number.n_groups}
    words = []
    for what, count in sizes.items():
        words.append(f"{count:,} {what}{'s' * (count != 1)}")
    return ", ".join(words)
