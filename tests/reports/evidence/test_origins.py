"""What ran the cells: code, plug-ins and machines that a reader of the report is told of."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from carft.core.files import write_json
from carft.core.source import code_digest
from carft.store.records import Store
from reports.build import build_report, sources_of
from reports.evidence.caveats import Caution
from reports.evidence.origins import CodeOrigin, MachineFact, codes_used, machine_differences
from reports.tables.table import Sources
from reports.words.caveats_words import caution_word, caution_words
from tests.support.planted import GOOD, plant

pytestmark = pytest.mark.usefixtures("few_figures")

TASK = "icons-3/all"


def change_provenance(store: Store, method: str, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the records of a method as another machine would have written them."""
    for record in store.records():
        if record.cell.method == method:
            path = store.folder(record.id) / "record.json"
            content = json.loads(path.read_text(encoding="utf-8"))
            change(content["provenance"])
            write_json(path, content)


def cautions(sources: Sources) -> dict[str, str]:
    return {verdict.claim: caution_words(verdict.cautions) for verdict in sources.verdicts if not verdict.missing}


OTHER_MACHINES: dict[MachineFact, Callable[[dict[str, Any]], None]] = {
    MachineFact.TORCH: lambda made: made.update(packages={"torch": "9.9"}),
    MachineFact.CPU: lambda made: made.update(cpu={"model": "another", "instructions": "AVX2"}),
    MachineFact.ENVIRONMENT: lambda made: made.update(environment={"MKL_CBWR": "COMPATIBLE"}),
}


@pytest.mark.parametrize("fact", OTHER_MACHINES)
def test_a_contrast_whose_sides_ran_on_other_machines_is_marked(store: Store, fact: MachineFact) -> None:
    plant(store, [TASK], GOOD)
    assert not any("different" in words for words in cautions(sources_of(store)).values())
    change_provenance(store, "ft", OTHER_MACHINES[fact])
    sources = sources_of(store)
    verdict = next(v for v in sources.verdicts if v.claim == "C3")
    found = machine_differences(sources.evidence.records, verdict.cells)
    assert {(one.fact, *sorted(one.methods)) for one in found} == {(fact, "car_ft", "ft")}
    assert fact in verdict.cautions
    rows = sources.table("differences")
    assert rows["caution"].str.contains(caution_word(fact)).any()


def test_machines_that_both_sides_share_are_not_marked(store: Store) -> None:
    plant(store, [TASK], GOOD)
    for method in ("zeroshot", "ft", "car_ft"):
        change_provenance(store, method, OTHER_MACHINES[MachineFact.CPU])
    assert not any("different" in words for words in cautions(sources_of(store)).values())


def test_a_reader_of_page_and_text_is_told_of_plugins_and_of_numbers_of_their_processes(
    store: Store, tmp_path: Path
) -> None:
    plant(store, [TASK], GOOD)
    for path in (store.root / "journal").iterdir():
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        assert any(line.get("method") == "ft" for line in lines)
        path.write_text("".join(_line(line) for line in lines), encoding="utf-8")
    built = build_report(store, tmp_path / "report")
    words = "plug-in helper.py (digest 0123456789abcdef): 4 cells ran in a process that had loaded it"
    page, text = ((tmp_path / "report" / name).read_text(encoding="utf-8") for name in ("index.html", "report.md"))
    assert words in page.split("What every number rests on</h2>")[1][:400]
    assert words in text.split("## What it rests on")[1][:400]
    marked = cautions(built.sources)
    loaded = caution_words([Caution.PLUGIN])
    assert loaded in marked["C3"] and loaded not in marked.get("C2b", "")


def _line(line: dict[str, Any]) -> str:
    if (line["kind"], line.get("method")) == ("finished", "ft"):
        line["plugins"] = {"helper.py": "0123456789abcdef"}
    return json.dumps(line, sort_keys=True) + "\n"


def test_the_code_of_cells_is_told_as_own_published_or_other(store: Store) -> None:
    plant(store, [TASK], GOOD)
    (own,) = codes_used(store.journal())
    assert (own.digest, own.origin) == (code_digest(), CodeOrigin.OWN)
    store.note("finished", cell="a", task=TASK, method="ft", code="a59deeab8c7c0d87")
    store.note("finished", cell="b", task=TASK, method="ft", code="b" * 16)
    origins = {use.digest: use.origin for use in codes_used(store.journal())}
    assert origins["a59deeab8c7c0d87"] == CodeOrigin.PUBLISHED and origins["b" * 16] == CodeOrigin.OTHER
