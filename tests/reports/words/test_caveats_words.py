"""Every caution has its words, and is said once."""

from reports.evidence.caveats import Caution
from reports.evidence.origins import Attested, MachineFact
from reports.words.caveats_words import CAUTIONS, MACHINES, caution_words


def test_every_caution_has_words() -> None:
    assert {*CAUTIONS} == {*Caution, *Attested} - {Attested.YES}
    assert {*MACHINES} == {*MachineFact}
    assert len({*CAUTIONS.values()}) == len(CAUTIONS)


def test_cautions_stand_in_one_line() -> None:
    told = caution_words([Caution.RANDOM_WEIGHTS, Attested.FIXTURE, MachineFact.CPU])
    assert told == "random weights; fixture: no real image; methods ran on different CPU models"
    assert caution_words([]) == ""
