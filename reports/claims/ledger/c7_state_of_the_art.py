"""C7: state of the art on DomainBed in November 2022."""

from dataclasses import dataclass

from reports.claims.claim import Claim, Decision, Ground, Verdict, VerdictNumber
from reports.evidence.evidence import Evidence
from reports.evidence.references import DOMAINBED, SHOWN_BACKBONE, reference_numbers

#: methods of the reference numbers that CAR-FT is compared with
RIVALS = ("CLIP-ZS", "LP", "MIRO", "MIRO+SWAD")
#: plain fine-tuning in the reference numbers, which stands beside the verdict: its averages differ by who ran it
FINE_TUNED = ("ERM", "ERM (random head)", "ERM (zero-shot head)")


@dataclass(frozen=True)
class OnRecord:
    """The highest number of earlier methods on one set. ours: that of CAR-FT."""

    set: str
    method: str
    backbone: str
    value: float
    ours: float


@dataclass(frozen=True)
class Records(Ground):
    """The average on record, the sets on which another method is higher, and methods without an average.

    fine_tuned: averages of plain fine-tuning, in % like every value here.
    """

    average: OnRecord
    beaten_on: tuple[OnRecord, ...]
    without_average: tuple[str, ...]
    fine_tuned: tuple[float, ...] = ()


class StateOfTheArt(Claim):
    """Decided from the numbers of others; nothing is run."""

    def decide(self, evidence: Evidence) -> Verdict:
        rows = reference_numbers()
        rows = rows[rows["table"] == "domainbed"]
        car_ft = rows[(rows["method"] == "CAR-FT") & (rows["backbone"] == SHOWN_BACKBONE)]
        ours = dict(zip(car_ft["dataset"], car_ft["value"], strict=True))
        rivals = rows[rows["method"].isin(RIVALS)]
        best = rivals.loc[rivals.groupby("dataset")["value"].idxmax()].set_index("dataset")
        highest, records = best.to_dict("index"), {}
        beaten = []
        for name in ("Avg5", *DOMAINBED.values()):
            row = highest[name]
            records[name] = OnRecord(name, row["method"], row["backbone"], row["value"], ours[name])
            if name != "Avg5" and records[name].value > ours[name]:
                beaten.append(records[name])
        average = records["Avg5"]
        without = set(rivals["method"]) - set(rivals[rivals["dataset"] == "Avg5"]["method"])
        lead = average.ours - average.value
        tuned = rows[rows["method"].isin(FINE_TUNED) & (rows["dataset"] == "Avg5")]["value"]
        grounds = (Records(average, tuple(beaten), tuple(sorted(without)), tuple(sorted(tuned))),)
        decision = Decision("for" if lead > 0 else "against", grounds)
        return Verdict(self, "", self.scale, decision, VerdictNumber(lead / 100))


CLAIM = StateOfTheArt(
    id="C7",
    title="State of the art on DomainBed in November 2022",
    statement="In November 2022 no known method had a higher DomainBed average.",
    rule=(
        "From reference numbers alone, nothing is run: the average of CAR-FT above that of every "
        "earlier method whose average is on record. The five sets stand beside it."
    ),
    source="abstract of arXiv 2211.16175: 'building the new state-of-the-art'",
    scale="paper",
)
