"""What the records of a folder say of the machines that ran them, and of their data."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import combinations

from carft.data.checking import UNREADABLE
from carft.store.record_files import Record

#: what a record says of its data against the published digests -> what a reader must know; else it begins with "no:"
ATTESTED = {"yes": "", "unknown": "data not attested", "pixels differ": "pixels differ from the attested ones"}


def attestation(record: Record) -> str:
    """What a reader must know of a record's data against the published digests; empty where they agree."""
    text = (record.provenance.get("digests") or {}).get("attested", "unknown")
    if text in ATTESTED:
        return ATTESTED[text]
    if text.startswith(f"no: {UNREADABLE}"):  # unreadable images are named last, so nothing stands before them
        return "images that cannot be read are left out"
    return "fixture: no real image" if "fixture" in text else "data fail attestation"


def machine_of(record: Record) -> dict[str, str]:
    """What decides the last bits of a cell besides its code and data; facts of no record are empty."""
    made = record.provenance
    cpu, machine = made.get("cpu") or {}, made.get("machine") or {}
    return {
        "versions of torch": str((made.get("packages") or {}).get("torch", "")),
        "CPU models": str(sorted(cpu.items())),
        "GPUs": str(machine.get("gpu", "")),
        "settings of processor libraries": str(sorted((made.get("environment") or {}).items())),
    }


def unlike_machines(records: Mapping[str, Record], cells: Iterable[str]) -> list[str]:
    """In what the machines of the methods behind a number differ, task by task, each once."""
    unlike = []
    for of_methods in _machines_used(records, cells).values():
        for first, second in combinations(of_methods.values(), 2):
            for fact in first:
                if first[fact] != second[fact]:
                    unlike.append(f"methods ran on different {fact}")
    return list(dict.fromkeys(unlike))


def _machines_used(records: Mapping[str, Record], cells: Iterable[str]) -> dict[str, dict[str, dict[str, set[str]]]]:
    """Task -> method -> what its cells with a record ran on.

    An interpolation or soup, and what it is made of, count as cells of the method that it is made of.
    """
    used: dict[str, dict[str, dict[str, set[str]]]] = defaultdict(dict)
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
