"""The commands of the report: build, verify, compare and why."""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from carft.core.errors import UserError, recipe_beside
from carft_cli.answer import Answer, Rows, Shown, answering, bold, stacked, without_constant
from carft_cli.console import counted, split
from carft_cli.declare import OUTPUT, option
from carft_cli.options import Data, ResultsPath, existing, open_results

if TYPE_CHECKING:
    from carft.store.records import Store
    from reports.judge.claims.claim import Verdict
    from reports.render.report import Report
    from reports.verify import Verification
    from reports.why import Chain


def local_folder(given: str | Path) -> Path:
    """A folder to write to; ``UserError`` for a URL."""
    if "://" in str(given):
        raise UserError(
            f"A report is written to a folder of this machine, not to '{given}'.", "Copy it there afterwards."
        )
    return Path(given)


ReportFolder = Annotated[
    Path, option(OUTPUT, "The report folder, on this machine.", "--out", parser=local_folder, metavar="PATH")
]
#: differences that are printed of one check; --json has all
FEW = 20


report = typer.Typer(rich_markup_mode="markdown")


@report.callback(invoke_without_command=True)
@answering
def build(
    context: typer.Context,
    results: ResultsPath = "results",
    out_dir: ReportFolder = Path("report"),
    data: Data = None,
    no_images: Annotated[bool, option(OUTPUT, "Leave pictures out of the report.", "--no-images")] = False,
    private: Annotated[
        str | None,
        option(OUTPUT, "Comma-separated patterns of tasks or images whose pictures never enter the report."),
    ] = None,
) -> Answer:
    """Turn records into verdicts, tables, figures and one self-contained page; or check and explain them.

    Example: `python cli.py report --results=results --out=report`
    """
    if context.invoked_subcommand is not None:
        context.default_map = {context.invoked_subcommand: context.params}  # options before it are its own too
        return Answer(None, ())
    from reports.pipeline import build_report
    from reports.render.pictures import PictureOptions
    from reports.render.words.verdict_words import as_json as verdict_json

    store = existing(results)
    pictures = PictureOptions(not no_images, split(private) or (), data)
    built = build_report(store, out_dir, pictures)
    findings = built.findings
    tasks_file = findings.evidence.folder.tasks_file
    verdicts = []
    for verdict in findings.verdicts:
        command = in_folder(verdict.command, str(results), tasks_file)
        verdicts.append({**verdict_json(verdict), "command": command})
    facts = {
        "paths": built.paths,
        "verdicts": verdicts,
        "warnings": built.warnings,
        "answer": [sentence.text for sentence in built.answer.sentences],
        "scope": findings.evidence.name,
    }
    return Answer(facts, _built_lines(built, str(results), tasks_file))


def in_folder(command: str, results: str, tasks_file: str = "") -> str:
    """A proposed command with the results folder and the tasks file of one's own data, which no table names."""
    from carft.data.folder.family import TASKS_FILE

    if tasks_file:
        own = recipe_beside(results)
        if own:
            command = command.replace(f"sweep downstream {TASKS_FILE}", f"sweep {shlex.quote(own)}")
        command = command.replace(TASKS_FILE, f"--tasks-file {shlex.quote(tasks_file)}")
    if command and results != "results":
        command = f"{command} --results {shlex.quote(results)}"
    return command


def _built_lines(built: Report, results: str, tasks_file: str) -> Iterator[Shown]:
    """Warnings, one row a claim, what was asked and found and how sure it is, and where to open the page."""
    from reports.render.words.verdict_words import reason_words

    verdicts = built.findings.verdicts
    for words in built.warnings:
        yield f"! {words}"
    for words in built.missing_pictures:
        yield words
    yield claim_rows(verdicts)
    untested = [verdict for verdict in verdicts if verdict.missing]
    if untested:
        yield bold("Not run:")
    for verdict in untested:
        reason = reason_words(verdict)
        if verdict.command:
            reason = in_folder(reason, results, tasks_file)
        yield f"  {verdict.claim} {verdict.asked.title}: {reason}"
    for what, words in built.answer.summary:
        yield Text.assemble((f"{what}: ", "bold"), words)
    yield f"Open: {built.page.resolve()}"


def claim_rows(verdicts: Iterable[Verdict]) -> Rows:
    """A row a claim that was asked: title, verdict, the number with its interval, what it rests on, cautions."""
    from reports.render.formatting import amount, interval, mark_of
    from reports.render.words.page_words import rests_on
    from reports.render.words.verdict_words import first_sight

    rows: Rows = []
    for v in verdicts:
        if v.missing:
            continue
        mark, bounds, words = mark_of(v), interval(v), amount(v.number.effect, v.number.unit)
        about = [f"{rests_on(v)}, scale {v.scale}", v.number.part, first_sight(v), *v.cautions]
        rows.append(
            {
                "claim": f"{v.claim} {v.asked.title}",
                "scope": v.scope,
                "verdict": f"{mark.icon} {mark.words}",
                "points (95 %)": f"{words} ({bounds})" if bounds else words,
                "rests on": "; ".join(filter(None, about)),
            }
        )
    return without_constant(rows, "scope")


@report.command()
@answering
def verify(out_dir: ReportFolder = Path("report"), results: ResultsPath = "results") -> Answer:
    """Rebuild a report from its records, compare every table, and name what differs. Exit code 0 or 1.

    It sees mistakes, and rules of the protocol that were broken. It does not see forgery.

    Example: `python cli.py report verify --out report --results results`
    """
    from reports.render.words.verdict_words import as_dict
    from reports.verify import verify as check_report

    verification = check_report(open_results(results), out_dir)
    checks = []
    for check in verification.checks:
        checks.append({"check": check.name, "compared": check.compared, "differences": check.differences})
    facts = {
        "holds": verification.holds,
        "checks": checks,
        "notes": verification.notes,
        "fingerprint": verification.fingerprint,
        "journal": verification.journal,
        "verdicts": [as_dict(verdict) for verdict in verification.verdicts],
    }
    return Answer(facts, _check_lines(verification), code=int(not verification.holds))


def _check_lines(verification: Verification) -> Iterator[Shown]:
    """Each check with its first differences, the notes, the digests and whether the report holds."""
    yield [{"check": one.name, "compared": one.compared, "differ": len(one.differences)} for one in verification.checks]
    for check in verification.checks:
        yield from check.differences[:FEW]
    for note in verification.notes:
        yield Text(note, "dim")
    yield "The verdicts that these records give, made again here; read these, not those of the report:"
    yield claim_rows(verification.verdicts)
    yield f"Fingerprint of the records: {verification.fingerprint}"
    yield f"sha256 of the journal: {verification.journal}"
    words = "Every table holds."
    if not verification.holds:
        words = "It does not hold; all differences: --json"
    yield words


@report.command()
@answering
def compare(
    first: Annotated[str, typer.Argument(metavar="A", help="A results folder, s3://BUCKET/..., or an archive (.zip).")],
    second: Annotated[str, typer.Argument(metavar="B", help="Another one.")],
) -> Answer:
    """Put two results folders side by side: B minus A with intervals, and the settings that differ.

    Cells are paired by image, task, search and seed; others are left out.

    Example: `python cli.py report compare results other.zip`
    """
    from reports.compare import compare as compared

    with _opened(first) as ours, _opened(second) as theirs:
        facts = asdict(compared(ours, theirs))
    return Answer(facts, [bold("B minus A, in shares of 1; without a task, the mean over tasks"), facts])


@contextmanager
def _opened(given: str) -> Iterator[Store]:
    """A results folder, or the content of an archive for as long as the block runs."""
    from carft.store.archive import unpack

    if not given.endswith(".zip"):
        yield existing(given)
        return
    with tempfile.TemporaryDirectory() as scratch:
        unpack(Path(given), Path(scratch) / "results")
        store = existing(str(Path(scratch) / "results"))
        store.name = given  # what messages call it
        yield store


@report.command()
@answering
def why(
    address: Annotated[str, typer.Argument(help="A claim such as C3, or TABLE.ROW.COLUMN.")],
    results: ResultsPath = "results",
    cells: Annotated[bool, typer.Option("--cells", help="List every cell with its numbers and its command.")] = False,
) -> Answer:
    """Where a number comes from: its formula, the cells behind it, and the command that makes each again.

    Example: `python cli.py report why tasks.icons-3/mix-7/car_ft.test_top1`
    """
    from reports.why import explain

    chain = explain(existing(results), address)
    return Answer(asdict(chain), _chain_lines(chain, str(results), cells))


def _chain_lines(chain: Chain, results: str, cells: bool) -> Iterator[Shown]:
    """The facts of a number and its tables. cells: also every cell."""
    yield bold(chain.address)
    facts = dict(chain.facts)
    if "run" in facts:
        facts["run"] = in_folder(facts["run"], results)
    yield facts
    for title, rows in chain.tables.items():
        yield bold(f"\n{title}")
        yield list(rows)
    if cells:
        yield from stacked(chain.cells, ("cell",))
    elif chain.cells:
        yield f"\n{counted(len(chain.cells), 'cell')}; --cells lists each with its numbers and its command."
