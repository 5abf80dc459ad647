"""What the records of a folder say of the machines that ran them, and of their data."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

import pandas as pd

from carft.data.checking import UNREADABLE
from carft.store.record_files import Record

#: what a record says of its data against the published digests -> what a reader must know; else it begins with "no:"
ATTESTED = {"yes": "", "unknown": "data not attested", "pixels differ": "pixels differ from the attested ones"}

UNLIKE_MACHINES = "methods ran on different machines or versions of torch"


def attestation(record: Record) -> str:
    """What a reader must know of a record's data against the published digests; empty where they agree."""
    text = (record.provenance.get("digests") or {}).get("attested", "unknown")
    if text in ATTESTED:
        return ATTESTED[text]
    if text.startswith(f"no: {UNREADABLE}"):  # unreadable images are named last, so nothing stands before them
        return "images that cannot be read are left out"
    return "fixture: no real image" if "fixture" in text else "data fail attestation"


def machines_of(cells: pd.DataFrame) -> dict[str, tuple[str, str, str]]:
    """Cell -> its task, its method or that of what it is made of, and its machine and torch; empty for one machine.

    cells: as of :func:`reports.read_cells`.
    """
    machines = cells["machine"] + ", torch " + cells["torch"]
    if machines.nunique() < 2:
        return {}
    methods = cells["parent"].where(cells["parent"] != "", cells["method"])
    return dict(zip(cells.index, zip(cells["task"], methods, machines, strict=True), strict=True))


def unlike_machines(machines: Mapping[str, tuple[str, str, str]], cells: Iterable[str]) -> list[str]:
    """That the methods behind a number ran on different machines on a task. machines: as of :func:`machines_of`."""
    used: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for cell in cells:
        if cell in machines:
            task, method, machine = machines[cell]
            used[task][method].add(machine)
    for of_methods in used.values():
        if len(set(map(frozenset, of_methods.values()))) > 1:
            return [UNLIKE_MACHINES]
    return []
