"""What the records of a folder say of the machines that ran them, and of their data."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from itertools import combinations

from carft.data.checking import UNREADABLE
from carft.store.record_files import Record


class Attested(Enum):
    """What a record says of its data against the published digests."""

    YES = auto()
    UNKNOWN = auto()
    """Nothing is published, or the record is of an earlier version."""
    OTHER_PIXELS = auto()
    """Pictures that this machine renders otherwise."""
    FIXTURE = auto()
    """No real image."""
    LEFT_OUT = auto()
    """Images that cannot be read are left out, and nothing else is wrong."""
    FAILED = auto()

    @staticmethod
    def of(record: Record) -> "Attested":
        """That of a record, which holds it as text."""
        text = (record.provenance.get("digests") or {}).get("attested", "unknown")
        known = {"yes": Attested.YES, "unknown": Attested.UNKNOWN, "pixels differ": Attested.OTHER_PIXELS}
        if text in known:
            return known[text]
        if text.startswith(f"no: {UNREADABLE}"):  # unreadable images are named last, so nothing stands before them
            return Attested.LEFT_OUT
        return Attested.FIXTURE if "fixture" in text else Attested.FAILED


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
