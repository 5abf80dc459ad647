"""Claims, verdicts, and the rule that turns deciding parts into an answer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, Final, Literal

from carft.core.errors import UserError
from carft.data.family import Pool
from reports.analysis.contrasts import Contrast, Part, pool, sampled
from reports.claims.power import ENOUGH, claim_power, power_sentence, what_it_takes
from reports.evidence.evidence import Evidence
from reports.stats.intervals import Estimate
from reports.stats.power import power_words
from reports.stats.ranks import ONE_SIDED, holm_one_sided

UNDECIDABLE: Final = "not decidable at this size"
CANNOT_BE_ASKED: Final = "cannot be asked here"
Answer = Literal[
    "reproduced",
    "contradicted",
    "inconclusive",
    "not decidable at this size",
    "cannot be asked here",
    "not comparable",
    "not run",
]


#: which gain of CAR-FT over FT a claim states; see ``Claim.gain``
Gain = Literal["ID test", "suites", "tasks"]


@dataclass(frozen=True)
class Reference:
    """A number that others report."""

    set: str
    """Set of a task, ``ood/mean`` or ``average``, or a data set of DomainBed."""
    dataset: str
    """Name in the reference numbers."""
    what: str
    """A method, or two whose difference it is."""
    value: float
    """In %, or in points for a difference."""
    confidence: str = "secondary"
    """As in the reference numbers."""


@dataclass(frozen=True)
class Claim:
    """A testable statement with what decides it. Each is a subclass with an instance in ``reports/claims/ledger``."""

    id: str
    """Name in commands, tables and sentences, such as the letter C and a number."""
    title: str
    """What is claimed, in a few words."""
    statement: str
    rule: str
    """When it is reproduced, in words."""
    source: str
    """Where the claim is from."""
    margin_points: float
    """Fixed in advance, in points of accuracy."""
    asked_of: Sequence[str] = ()
    """Kinds of families (``reports/evidence/scopes.py``); none for a claim that is decided without any run."""
    needs: str = ""
    """What a scope must have for the question to make sense: ``test``, ``suites``, ``contexts`` or ``readings``."""
    scale: str = "any"
    references: Sequence[Reference] = ()
    rivals: Sequence[str] = ()
    """Methods of the reference numbers that it is compared with."""
    topic: str = ""
    """The sentence at the top of a report that names its verdict."""
    gain: Gain | None = None
    """For a claim that CAR-FT gains over FT: on the ID test set, on each suite, or on each task. Claims about tuning
    and readings decide it again by :meth:`gains`."""
    needs_recognition: bool = False
    """Whether it cannot be asked where zero-shot recognises contexts no better than chance."""

    def decide(self, evidence: Evidence) -> Verdict:
        """The verdict in one scope."""
        raise NotImplementedError

    def gains(self, evidence: Evidence) -> list[Part]:
        """CAR-FT minus FT, the deciding parts alone, where the claim has a ``gain``."""
        raise NotImplementedError

    @property
    def margin(self) -> float:
        """The margin as a share of 1."""
        return self.margin_points / 100

    def asked_of_family(self, family: Pool) -> Claim:
        """The claim in the words in which it is asked of a family: on your own data it counts that family's tasks."""
        if family.built_in:
            return self
        count = len(family.tasks)
        whole = f"ll {count} tasks of {family.name}"
        words = {f"{a}ll nine downstream tasks": f"{a}{whole}" for a in "aA"} | {"all nine": f"all {count}"}
        if "five shifts" in self.statement:
            words |= {"each of the five shifts": "each shift", "all five lower": "all lower"}
        title, statement, rule = (_reworded(text, words) for text in (self.title, self.statement, self.rule))
        return replace(self, title=title, statement=statement, rule=rule)

    def reference(self, name: str) -> float | None:
        """The reference number of a set, as a share of 1."""
        return next((r.value / 100 for r in self.references if r.set == name), None)


def _reworded(text: str, words: Mapping[str, str]) -> str:
    for old, new in words.items():
        text = text.replace(old, new)
    return text


@dataclass(frozen=True)
class Verdict:
    """The answer to a claim, with everything a reader needs to doubt it. Numbers are shares of 1.

    unit: ``points`` or ``rank correlation``. basis: ``records``, or ``reference numbers`` where nothing was run.
    power: what more seeds or groups would buy, in words. command: what would run what is missing. n_searches: how many
    independent searches each side has; 0 where nothing was searched for the verdict. power_to_show: the probability
    that an effect as large as others report, or 2 points beyond the margin, would show; None where it cannot be said.
    caution: what a reader must know of the cells that it rests on; mostly empty. metric: of the part that stands for
    the claim, as of :class:`reports.analysis.contrasts.Part`.
    """

    claim: str
    title: str
    verdict: Answer
    scale: str
    effect: float | None = None
    low: float | None = None
    high: float | None = None
    n_tasks: int = 0
    n_seeds: int = 0
    n_groups: int = 0
    smallest_visible: float | None = None
    floor: str = ""
    reason: str = ""
    headline: str = ""  # the part whose effect and interval stand for the claim
    parts: tuple[Part, ...] = ()
    cells: tuple[str, ...] = ()
    scope: str = ""
    unit: str = "points"
    basis: str = "records"
    power: str = ""
    command: str = ""
    caution: str = ""
    n_searches: int = 0
    power_to_show: float | None = None
    metric: str = "top1"

    @staticmethod
    def on(shown: Part, claim: Claim, evidence: Evidence, answer: Answer, reason: str) -> Verdict:
        """A verdict with the numbers of the part that stands for the claim."""
        estimate = shown.estimate
        return Verdict(
            claim.id,
            claim.title,
            answer,
            evidence.scale,
            None if math.isnan(estimate.effect) else estimate.effect,
            shown.low,
            shown.high,
            len(shown.tasks),
            estimate.n_seeds,
            estimate.n_groups,
            estimate.smallest_visible(),
            estimate.floor(),
            reason,
            shown.name,
            scope=evidence.name,
            n_searches=estimate.n_searches,
        )

    @property
    def tuning(self) -> str:
        """Whether the interval covers the luck of the search, and which searches are left out; empty without one."""
        if self.n_searches == 0:
            return ""
        covers = f"{self.n_searches} searches a study: the interval covers tuning luck."
        if self.n_searches == 1:
            covers = "One search a study: the interval does not cover tuning luck."
        return " ".join(
            [covers, *dict.fromkeys(part.unshared for part in self.parts if part.deciding and part.unshared)]
        )

    def as_dict(self) -> dict[str, Any]:
        """The fields that scripts rely on, and the reason."""
        counts = ("n_tasks", "n_seeds", "n_groups")
        wanted = ("claim", "verdict", "scope", "scale", "unit", "basis", "effect", "low", "high", *counts)
        numbers = {name: _plain(getattr(self, name)) for name in (*wanted, "smallest_visible")}
        words = {name: getattr(self, name) for name in ("reason", "power", "command", "caution", "n_searches")}
        covers = {"covers_tuning_luck": self.n_searches > 1 if self.n_searches else None}
        last = {"power_to_show": self.power_to_show, "metric": self.metric}
        return {**numbers, "part": self.headline, **words, **covers, **last}

    def as_json(self) -> dict[str, Any]:
        """The same with all parts, and below each part the tasks that it pools. Effects and bounds are shares of 1."""
        parts = [
            {
                "part": part.name,
                "decides": part.deciding,
                **_bounds(part.estimate),
                "tasks": [{"task": shown, **_bounds(estimate)} for shown, estimate in part.by_task],
            }
            for part in self.parts
        ]
        return {**self.as_dict(), "parts": parts}


def _bounds(estimate: Estimate) -> dict[str, Any]:
    low, high = estimate.interval()
    return {"effect": _plain(estimate.effect), "low": _plain(low), "high": _plain(high)}


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


#: claims of one's own that this process was asked for
_own: dict[str, Claim] = {}


def ledger() -> dict[str, Claim]:
    """Claim id -> claim, by number; then the claims of one's own."""
    return {**shipped(), **_own}


def gain_claims() -> list[Claim]:
    """The claims that CAR-FT gains over FT."""
    return [claim for claim in shipped().values() if claim.gain]


def gain_claim(gain: Gain) -> Claim:
    """The claim of one gain."""
    return next(claim for claim in gain_claims() if claim.gain == gain)


def set_own(claims: Mapping[str, Claim], source: str) -> None:
    """Ask these claims in place of those of one's own that were asked before.

    source: the file that has them, for messages. Raises ``UserError`` for an id of the ledger.
    """
    if taken := next((name for name in claims if name in shipped()), None):
        raise UserError(f"'{source}' has a claim '{taken}', which the ledger has already.", "Give it another id.")
    _own.clear()
    _own.update(claims)


@cache
def shipped() -> dict[str, Claim]:
    """Claim id -> claim of the ledger: ``CLAIM`` of every module in ``reports/claims/ledger``, by number."""
    folder = import_module("reports.claims.ledger")
    modules = [import_module(f"{folder.__name__}.{module.name}") for module in iter_modules(folder.__path__)]
    claims: list[Claim] = [module.CLAIM for module in modules]
    return {claim.id: claim for claim in sorted(claims, key=_number)}


def _number(claim: Claim) -> tuple[int, str]:
    digits = "".join(filter(str.isdigit, claim.id))
    return int(digits), claim.id


def not_run(claim: Claim, evidence: Evidence, missing: str, command: str = "") -> Verdict:
    """The verdict where evidence is missing: what, and the command that makes it."""
    command = command or (evidence.scope.command if evidence.scope else "python cli.py sweep downstream")
    reason = f"Missing: {missing}. Run: {command}"
    return Verdict(
        claim.id, claim.title, "not run", evidence.scale, reason=reason, scope=evidence.name, command=command
    )


def decide(claim: Claim, evidence: Evidence, wanted: Sequence[Part | None], missing: str, command: str = "") -> Verdict:
    """The verdict on deciding parts. A part that is None decides and is absent: then the claim was not run."""
    parts = tuple(part for part in wanted if part is not None)
    deciding = [part for part in parts if part.deciding]
    if not deciding or None in wanted:
        return not_run(claim, evidence, missing, command)
    weakest = weakest_of(deciding)
    answer, reason = answer_of(deciding, weakest)
    plain = [part.plain() for part in deciding]
    by_plain = answer_of(plain, weakest_of(plain))[0]
    if by_plain != answer:
        reason += f" By the plain variance sum with Satterthwaite's t, the rule set in advance, it would be {by_plain}."
    power = claim_power(deciding)
    unit = evidence.card(evidence.tasks[0]).group
    if answer == "inconclusive" and power < ENOUGH and not any(part.flaws for part in deciding):
        answer, reason = UNDECIDABLE, undecidable_words(deciding, power, unit, reason)
    # a contradiction is shown by the part that contradicts most surely
    shown = min(deciding, key=lambda part: part.p_against) if answer == "contradicted" else weakest
    return replace(
        Verdict.on(shown, claim, evidence, answer, reason),
        parts=parts,
        cells=tuple(dict.fromkeys(cell for part in parts for cell in part.cells)),
        power=power_words(shown.estimate, unit, shown.margin),
        n_searches=min(part.estimate.n_searches for part in deciding) if shown.estimate.n_seeds else 0,
        power_to_show=None if math.isnan(power) else power,
        metric=shown.metric,
    )


def undecidable_words(deciding: Sequence[Part], power: float, unit: str, reason: str) -> str:
    """Why nothing can be decided, what it would take, and what the intervals say all the same."""
    return f"{power_sentence(deciding, power)} {what_it_takes(deciding, unit)} {reason}"


def weakest_of(parts: Sequence[Part]) -> Part:
    """The part whose interval lies least on the claimed side; one without an interval before all others."""
    without = [part for part in parts if math.isnan(part.estimate.se)]
    return without[0] if without else min(parts, key=lambda part: part.slack)


def answer_of(deciding: Sequence[Part], weakest: Part) -> tuple[Answer, str]:
    """The answer that the intervals of the deciding parts give, and its reason.

    Not comparable: unequal budgets or other images. Reproduced: every interval lies on the claim's side of its margin.
    Contradicted: one lies on the other side, after Holm. Inconclusive: evidence is missing, an interval contains its
    margin, or it lies on the other side before Holm alone.
    """
    unequal = list(dict.fromkeys(text for part in deciding for text in part.unequal))
    if unequal:
        return "not comparable", f"The two sides differ in more than the method: {'; '.join(unequal)}."
    flaws = list(dict.fromkeys(text for part in deciding for text in part.flaws))
    if flaws:
        return "inconclusive", f"Not decided on part of the evidence: {'; '.join(flaws)}."
    if all(part.slack > 0 for part in deciding):
        if len(deciding) == 1:
            inside = deciding[0].side == "around"
            where = "The number claimed lies inside the interval." if inside else ""
            return "reproduced", where or "The whole interval lies on the claim's side of the margin."
        return "reproduced", f"All {len(deciding)} intervals lie on the claim's side; the weakest is {weakest.name}."
    against = holm_one_sided([part.p_against for part in deciding])
    opposed = [part for part, p in zip(deciding, against, strict=True) if p < ONE_SIDED]
    after = ", after Holm," if len(deciding) > 1 else ""
    if opposed:
        return "contradicted", f"The whole interval lies on the other side{after} for: {listed(opposed, deciding)}."
    beyond = [part for part in deciding if part.is_beyond]
    undecided = [part for part in deciding if part.slack <= 0 and not part.is_beyond]
    reason = f"The interval reaches the margin for: {listed(undecided, deciding)}." if undecided else ""
    if beyond:
        reason += (
            f" It lies on the other side, but not after Holm over {len(deciding)}, for: {listed(beyond, deciding)}."
        )
    return "inconclusive", reason.strip()


def listed(some: Sequence[Part], deciding: Sequence[Part]) -> str:
    """Names of some of the deciding parts, without the contrast where all of them share it."""
    if len(some) == len(deciding) > 1:
        return f"every one of the {len(deciding)}"
    shared = {part.name.partition(", ")[0] for part in deciding}
    short = len(deciding) > 1 and len(shared) == 1
    return ", ".join(part.name.partition(", ")[2] if short else part.name for part in some)


def mean_parts(evidence: Evidence, contrast: Contrast, name: str, **settings: Any) -> list[Part | None]:
    """The mean of a contrast over tasks, which decides, and beside it the mean with tasks as a sample.

    settings: ``margin``, ``side`` and ``reported`` of :class:`reports.analysis.contrasts.Part`.
    """
    return [pool(evidence, contrast, name, **settings), *supporting(sampled(evidence, contrast, name, **settings))]


def supporting(*parts: Part | None) -> list[Part]:
    """Parts that decide nothing; those that are not there are left out."""
    return [part for part in parts if part is not None]
