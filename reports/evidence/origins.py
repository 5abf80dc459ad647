"""What ran the cells of a folder: the code, and plug-ins that its processes had loaded."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from itertools import combinations

from carft.core.source import PUBLISHED, code_digest
from carft.store.journal import Journal
from carft.store.record_files import Record


class CodeOrigin(Enum):
    """Where the code of cells is known from."""

    OWN = auto()
    """The code that checks them."""
    PUBLISHED = auto()
    OTHER = auto()


@dataclass(frozen=True)
class CodeUse:
    """Code that ran cells."""

    digest: str
    cells: int
    origin: CodeOrigin


class MachineFact(Enum):
    """What decides the last bits of a cell besides its code and data."""

    TORCH = auto()
    CPU = auto()
    GPU = auto()
    ENVIRONMENT = auto()
    """Settings of processor libraries."""


@dataclass(frozen=True)
class MachineDifference:
    """Cells of two methods on one task that did not run alike."""

    task: str
    methods: tuple[str, str]
    fact: MachineFact


@dataclass(frozen=True)
class PluginUse:
    """A plug-in that processes of cells had loaded."""

    file: str
    digest: str
    cells: Sequence[str]
    """All cells that ran so."""
    others: Sequence[str]
    """Those of them whose method and task are not of the plug-in."""


def codes_used(journal: Journal) -> list[CodeUse]:
    """Return what ran the cells, by digest; empty for a folder without a journal."""
    cells: dict[str, set[str]] = defaultdict(set)
    for line in journal.of("finished"):
        cells[line.code].add(line.cell)
    return [CodeUse(digest, len(of_code), _origin(digest)) for digest, of_code in sorted(cells.items())]


def _origin(digest: str) -> CodeOrigin:
    if digest == code_digest():
        return CodeOrigin.OWN
    if digest in PUBLISHED:
        return CodeOrigin.PUBLISHED
    return CodeOrigin.OTHER


def plugins_used(journal: Journal, records: Mapping[str, Record]) -> list[PluginUse]:
    """Return every plug-in that a process of a cell with a record had loaded, by file."""
    cells: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for line in journal.of("finished"):
        if line.cell in records:
            for plugin in line.plugins.items():
                cells[plugin][line.cell] += 1
    uses = []
    for (file, digest), of in sorted(cells.items()):
        others = []
        for cell in of:
            if digest not in records[cell].cell.sources:
                others.append(cell)
        uses.append(PluginUse(file, digest, tuple(of), tuple(others)))
    return uses


def machine_of(record: Record) -> dict[MachineFact, str]:
    """Return what a cell ran on; facts that earlier versions did not record are empty."""
    made = record.provenance
    cpu, machine = made.get("cpu") or {}, made.get("machine") or {}
    return {
        MachineFact.TORCH: str((made.get("packages") or {}).get("torch", "")),
        MachineFact.CPU: str(sorted(cpu.items())),
        MachineFact.GPU: str(machine.get("gpu", "")),
        MachineFact.ENVIRONMENT: str(sorted((made.get("environment") or {}).items())),
    }


def machine_differences(records: Mapping[str, Record], cells: Iterable[str]) -> list[MachineDifference]:
    """Return where the methods behind a number did not run on the same machines, by task.

    An interpolation or soup counts as a cell of the method that it is made of.
    """
    differences = []
    for task, of_methods in _machines_used(records, cells).items():
        for first, second in combinations(of_methods, 2):
            for fact in MachineFact:
                if of_methods[first][fact] != of_methods[second][fact]:
                    differences.append(MachineDifference(task, (first, second), fact))
    return differences


def _machines_used(
    records: Mapping[str, Record], cells: Iterable[str]
) -> dict[str, dict[str, dict[MachineFact, set[str]]]]:
    """Task -> method -> what cells with a record, and those that they are made of, ran on."""
    used: dict[str, dict[str, dict[MachineFact, set[str]]]] = defaultdict(dict)
    for cell in cells:
        if cell not in records:
            continue
        record = records[cell]
        sources = []
        for parent in record.cell.parents:
            if parent in records:
                sources.append(records[parent])
        method = sources[0].cell.method if sources else record.cell.method
        of_method = used[record.cell.task].setdefault(method, defaultdict(set))
        for one in (record, *sources):
            for fact, value in machine_of(one).items():
                of_method[fact].add(value)
    return used


def unlike_machines(records: Mapping[str, Record], cells: Iterable[str]) -> list[MachineFact]:
    """Return in what the machines of the methods behind a number differ, each once."""
    return list(dict.fromkeys(difference.fact for difference in machine_differences(records, cells)))
