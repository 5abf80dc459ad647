"""What a reader must know of the evidence behind a number."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Note:
    """One thing that was found, in the words of the place where it was found."""

    kind: str
    """What it is about: the name of a rule, or what two sides differ in."""
    text: str
    """Half a sentence, without the study or the tasks that it is of."""
    tasks: tuple[str, ...] = ()
    """Where it was found, if that is not everywhere."""
    cells: tuple[str, ...] = ()
    """Ids of the cells that it is about."""
