"""What ran the cells of a folder: the code, and plug-ins that its processes had loaded."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from carft.core.source import PUBLISHED, code_digest
from carft.store.journal import Journal
from carft.store.records import Record


class CodeOrigin(Enum):
    """Where the code of cells is known from."""

    OWN = "this code"
    PUBLISHED = "published"
    OTHER = "other code"


@dataclass(frozen=True)
class CodeUse:
    """Code that ran cells."""

    digest: str
    cells: int
    origin: CodeOrigin

    @property
    def words(self) -> str:
        """What ran how many cells."""
        named = {
            CodeOrigin.OWN: "the code that checks them",
            CodeOrigin.PUBLISHED: f"the code of commit {PUBLISHED.get(self.digest)}",
            CodeOrigin.OTHER: "which is not the code that checks them",
        }
        return f"{self.cells} cells ran with code {self.digest}, {named[self.origin]}"


@dataclass(frozen=True)
class PluginUse:
    """A plug-in that processes of cells had loaded."""

    file: str
    digest: str
    cells: Sequence[str]
    """All cells that ran so."""
    others: Sequence[str]
    """Those of them whose method and task are not of the plug-in."""

    @property
    def words(self) -> str:
        """Which cells ran so."""
        own = len(self.cells) - len(self.others)
        return (
            f"plug-in {self.file} (digest {self.digest}): {len(self.cells)} cells ran in a process that had loaded it, "
            f"{own} of its own methods and {len(self.others)} of others"
        )


def codes_used(journal: Journal) -> list[CodeUse]:
    """Return what ran the cells, by digest; empty for a folder without a journal."""
    cells: dict[str, set[str]] = defaultdict(set)
    for line in journal.of("finished"):
        cells[line.code].add(line.cell)
    return [CodeUse(digest, len(of), _origin(digest)) for digest, of in sorted(cells.items())]


def _origin(digest: str) -> CodeOrigin:
    if digest == code_digest():
        return CodeOrigin.OWN
    return CodeOrigin.PUBLISHED if digest in PUBLISHED else CodeOrigin.OTHER


def plugins_used(journal: Journal, records: Mapping[str, Record]) -> list[PluginUse]:
    """Return every plug-in that a process of a cell with a record had loaded, by file."""
    cells: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for line in journal.of("finished"):
        for plugin in line.plugins.items() if line.cell in records else ():
            cells[plugin][line.cell] += 1
    uses = []
    for (file, digest), of in sorted(cells.items()):
        others = [cell for cell in of if digest not in records[cell].cell.sources]
        uses.append(PluginUse(file, digest, tuple(of), tuple(others)))
    return uses
