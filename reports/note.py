"""What a reader must know of the evidence behind a number."""

from collections.abc import Sequence
from dataclasses import dataclass

#: names that :func:`few` shows
SHOWN = 3


@dataclass(frozen=True)
class Note:
    """One thing that was found, in the words of the place where it was found."""

    kind: str
    """What it is about: the name of a rule, what two sides differ in, or what cannot be used."""
    text: str
    """Half a sentence, without the tasks below; of what cannot be used a whole one."""
    tasks: tuple[str, ...] = ()
    """Where it was found, if that is not everywhere."""
    cells: tuple[str, ...] = ()
    """Ids of the cells that it is about."""
    where: str = ""
    """Of what cannot be used: id of a cell or study, or what names the place otherwise."""

    @property
    def words(self) -> str:
        """The text, with the first few of the tasks."""
        return f"{self.text} on {few(self.tasks)}" if self.tasks else self.text


def few(names: Sequence[str]) -> str:
    """The first few names: ``a, b, c, ...``."""
    shown = list(names[:SHOWN])
    if len(names) > SHOWN:
        shown.append("...")
    return ", ".join(shown)


def listed(names: Sequence[str]) -> str:
    """``zeroshot, ft and car_ft``."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"
