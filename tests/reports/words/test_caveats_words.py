"""Every caution has its words, and is said once."""

from reports.evidence.caveats import Caution, JudgedLater
from reports.evidence.origins import Attested, MachineFact
from reports.words.caveats_words import CAUTIONS, MACHINES, caution_words


def test_every_caution_has_words() -> None:
    assert {*CAUTIONS} == {*Caution, *Attested} - {Attested.YES}
    assert {*MACHINES} == {*MachineFact}
    assert len({*CAUTIONS.values()}) == len(CAUTIONS)


def test_cautions_stand_in_one_line() -> None:
    told = caution_words([Caution.RANDOM_WEIGHTS, Attested.FIXTURE, MachineFact.CPU, JudgedLater("2026-11-01")])
    assert told == (
        "random weights; fixture: no real image; methods ran on different CPU models; "
        "judged by the rules of 2026-11-01, set after its cells"
    )
    assert caution_words([]) == ""
