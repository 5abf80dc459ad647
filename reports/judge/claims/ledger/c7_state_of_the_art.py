"""C7: state of the art on DomainBed in November 2022."""

from reports.judge.claims.claim import Claim, Direction, Verdict, VerdictNumber
from reports.judge.evidence import Evidence
from reports.read.references import DOMAINBED, SHOWN_BACKBONE, reference_numbers

#: methods of the reference numbers that CAR-FT is compared with
RIVALS = ("CLIP-ZS", "LP", "MIRO", "MIRO+SWAD")
#: plain fine-tuning in the reference numbers, which stands beside the verdict: its averages differ by who ran it
FINE_TUNED = ("ERM", "ERM (random head)", "ERM (zero-shot head)")


class StateOfTheArt(Claim):
    """Decided from the numbers of others; nothing is run."""

    def decide(self, evidence: Evidence) -> Verdict:
        rows = reference_numbers()
        rows = rows[rows["table"] == "domainbed"]
        car_ft = rows[(rows["method"] == "CAR-FT") & (rows["backbone"] == SHOWN_BACKBONE)]
        ours = dict(zip(car_ft["dataset"], car_ft["value"], strict=True))
        rivals = rows[rows["method"].isin(RIVALS)]
        highest = rivals.loc[rivals.groupby("dataset")["value"].idxmax()].set_index("dataset").to_dict("index")
        average = highest["Avg5"]
        reasons = [
            "From numbers that others report; nothing was run here, no interval can be given, and it counts apart.",
            f"Of the averages on record CAR-FT's {ours['Avg5']} is the highest "
            f"(next: {average['method']} {average['value']}).",
        ]
        higher = []
        for name in DOMAINBED.values():
            best = highest[name]
            if best["value"] > ours[name]:
                against = f"{best['value']} against {ours[name]}"
                higher.append(f"{name} ({best['method']}, {best['backbone']}: {against})")
        if higher:
            reasons.append(f"True of the average only: higher is on record for {', '.join(higher)}.")
        without = sorted(set(rivals["method"]) - set(rivals[rivals["dataset"] == "Avg5"]["method"]))
        if without:
            reasons.append(f"No average is on record for {', '.join(without)}.")
        tuned = sorted(rows[rows["method"].isin(FINE_TUNED) & (rows["dataset"] == "Avg5")]["value"])
        averages = ", ".join(f"{value:.1f}" for value in tuned)
        gains = ", ".join(f"{ours['Avg5'] - value:.1f}" for value in tuned)
        reasons.append(f"Plain fine-tuning has {averages}, depending on who ran it: CAR-FT is {gains} above it.")
        lead = ours["Avg5"] - average["value"]
        number = VerdictNumber(f"CAR-FT - {average['method']}, average of five sets", lead / 100)
        direction: Direction = "for" if lead > 0 else "against"
        return Verdict(self, "", self.scale, direction=direction, reasons=tuple(reasons), number=number)


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
