"""Sentences of the page, and texts in the cells of its tables."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from carft.config.cell import Cell, display_form
from carft.config.frozen_defaults import PROTOCOL
from carft.store.record_files import Provenance
from reports.judge.claims.claim import ICONS, Claim, Reference, Verdict
from reports.judge.evidence import Evidence

#: names that references have for a mean over sets
OVER_SETS = ("ood/mean", "average")
#: packages that may change what a cell reaches
PACKAGES = ("torch", "open_clip_torch", "ray")


def setting_words(values: Mapping[str, Any]) -> str:
    """Names with their values: ``epochs 3, crop none``."""
    return ", ".join(f"{name} {value}" for name, value in values.items())


def mean_words(values: Sequence[float]) -> str:
    """How a mean is computed: ``(0.5 + 0.25) / 2 = 0.375``."""
    terms = " + ".join(f"{value:.6g}" for value in values)
    return f"({terms}) / {len(values)} = {sum(values) / len(values):.6g}"


def prompt_words(prompt: str) -> str:
    """A prompt as a label: ``a sketch of a {}.`` is "a sketch of a [class]"."""
    return prompt.replace("{}.", "{}").replace("{}", "[class]").strip()


def setting_line(cell: Cell) -> str:
    """What a cell is besides task, method, hyperparameters and seed, in one line."""
    spec = cell.as_dict()
    protocol = {name: spec[name] for name in PROTOCOL if name in spec}
    settings = {**spec["training"], **spec["reading"], **protocol}
    named = setting_words({name.replace("_", " "): value for name, value in settings.items()})
    model, weights = display_form(cell.model, cell.pretrained)
    return f"{model}, weights '{weights}', data {cell.data_version}, {cell.precision}; {named}"


def maker_words(made: Provenance) -> str:
    """Versions and machine of a record in one line."""
    packages = setting_words({name: version for name, version in made.packages.items() if name in PACKAGES})
    where = f"{made.execution.device}, {made.execution.workers} worker(s)"
    if made.cpu:  # earlier versions did not record it
        where += f" on {' with '.join(made.cpu.values())}"
    attested = made.digests.get("attested", "unknown")
    start = f"carft {made.carft} (NUMERICS {made.numerics}), Python {made.python}, {packages}"
    return f"{start}; {where}; data attested: {attested}"


def size_words(evidence: Evidence) -> str:
    """How many cells there are, and the model and epochs of the first scope."""
    study = evidence.studies[0]
    model, weights = display_form(study.model, study.pretrained)
    recipe = f"model {model} (weights '{weights}'), training epochs {study.training.epochs}"
    return f"{len(evidence.records):,} cells; {evidence.name}: {recipe}."


def on_record_words(verdict: Verdict) -> str:
    """How a claim came out that the numbers of others decide, without any run."""
    holds = "holds" if verdict.direction == "for" else "fails"
    return f"{holds} in others' numbers"


def count_words(verdicts: Sequence[Verdict]) -> str:
    """How many verdicts there are of each kind, and claims that need no run."""
    counts = Counter[str]()
    others = ""
    for verdict in verdicts:
        if verdict.basis == "records":
            counts[verdict.verdict] += 1
        else:
            others += f" Without any run: {verdict.claim} {on_record_words(verdict)}."
    counted = [f"{counts[word]} {word}" for word in ICONS if word in counts]
    return f"Of {counts.total()} verdicts: {'; '.join(counted)}.{others}"


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
