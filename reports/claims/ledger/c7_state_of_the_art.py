"""C7: state of the art on DomainBed in November 2022."""

from reports.claims.claim import Claim, Verdict
from reports.evidence.evidence import Evidence
from reports.evidence.references import DOMAINBED, SHOWN_BACKBONE, reference_numbers

#: methods of the reference numbers that CAR-FT is compared with
RIVALS = ("CLIP-ZS", "LP", "MIRO", "MIRO+SWAD")


class StateOfTheArt(Claim):
    """Decided from the numbers of others; nothing is run."""

    def decide(self, evidence: Evidence) -> Verdict:
        rows = reference_numbers()
        rows = rows[rows["table"] == "domainbed"]
        car_ft = rows[(rows["method"] == "CAR-FT") & (rows["backbone"] == SHOWN_BACKBONE)]
        ours = dict(zip(car_ft["dataset"], car_ft["value"], strict=True))
        rivals = rows[rows["method"].isin(RIVALS)]
        best = rivals.loc[rivals.groupby("dataset")["value"].idxmax()].set_index("dataset")
        top = best.loc["Avg5"]
        beaten = [
            f"{name} ({best.method[name]}, {best.backbone[name]}: {best.value[name]} against {ours[name]})"
            for name in DOMAINBED.values()
            if best.value[name] > ours[name]
        ]
        without = sorted(set(rivals["method"]) - set(rivals[rivals["dataset"] == "Avg5"]["method"]))
        words = [
            "From numbers that others report; nothing was run here, no interval can be given, and it counts apart.",
            f"Of the averages on record CAR-FT's {ours['Avg5']} is the highest (next: {top.method} {top.value}).",
        ]
        words += [f"True of the average only: higher is on record for {', '.join(beaten)}."] if beaten else []
        words += [f"No average is on record for {', '.join(without)}."] if without else []
        lead = ours["Avg5"] - top.value
        return Verdict(
            self,
            self.scale,
            "for" if lead > 0 else "against",
            lead / 100,
            finding=" ".join(words),
            headline=f"CAR-FT - {top.method}, average of five sets",
            basis="reference numbers",
        )


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
