"""The commands of the report: build, verify, compare and why."""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from carft.core.errors import UserError, recipe_beside, typed
from carft.core.files import write_text
from carft_cli.answer import Answer, Shown, answering, bold, stacked
from carft_cli.console import counted, new_table, split
from carft_cli.declare import OUTPUT, option
from carft_cli.options import Data, ResultsPath, existing, local_folder, open_results

if TYPE_CHECKING:
    from carft.store.records import Store
    from reports.build import Built
    from reports.claims.claim import Verdict
    from reports.compare import FolderComparison
    from reports.verify import Verification
    from reports.why import Chain

ReportFolder = Annotated[
    Path, option(OUTPUT, "The report folder, on this machine.", "--out", parser=local_folder, metavar="PATH")
]
Claims = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="Claims of your own too: a YAML file, or the ledger wise-ft or flyp."),
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
    claims: Claims = None,
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
        _require_alone(context, context.invoked_subcommand)
        return Answer(None, ())
    from reports.build import build_report, tasks_file_of
    from reports.render.pictures import PictureOptions
    from reports.words.verdict_words import as_json as verdict_json

    store = existing(results)
    pictures = PictureOptions(not no_images, split(private) or (), data)
    built = build_report(store, out_dir, pictures, claims or "")
    sources = built.sources
    tasks_file = tasks_file_of(sources.evidence.archive)
    verdicts = []
    for verdict in sources.verdicts:
        command = in_folder(verdict.command, str(results), tasks_file)
        verdicts.append({**verdict_json(verdict), "command": command})
    facts = {
        "paths": built.paths,
        "verdicts": verdicts,
        "warnings": built.warnings,
        "answer": [sentence.text for sentence in sources.answer.sentences],
        "scope": sources.evidence.name,
    }
    return Answer(facts, _built_lines(built, str(results), tasks_file))


def _require_alone(context: typer.Context, subcommand: str) -> None:
    """Raise ``UserError`` for an option before a subcommand, which would not see it."""
    for parameter in context.command.params:
        source = context.get_parameter_source(str(parameter.name))
        if source is not None and source.name != "DEFAULT":
            raise UserError(
                f"An option stands before '{subcommand}', which would not see it.",
                f"Write: {typed('report', subcommand, parameter.opts[0])} ...",
            )


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


def _built_lines(built: Built, results: str, tasks_file: str) -> Iterator[Shown]:
    """Warnings, one row a claim, what was asked and found and how sure it is, and where to open the page."""
    from reports.words.verdict_words import reason_words

    verdicts = built.sources.verdicts
    for words in built.warnings:
        yield f"! {words}"
    for words in built.missing_pictures:
        yield Group(Text(words, "dim"))  # goes on in the next line
    yield from _claim_tables(verdicts)
    untested = [verdict for verdict in verdicts if verdict.missing]
    if untested:
        yield bold("Not run:")
    for verdict in untested:
        reason = reason_words(verdict)
        if verdict.command:
            reason = in_folder(reason, results, tasks_file)
        yield f"  {verdict.claim} {verdict.asked.title}: {reason}"
    for what, words in built.sources.answer.summary:
        yield Text.assemble((f"{what}: ", "bold"), words)
    yield f"Open: {built.page.resolve()}"


def _claim_tables(verdicts: Iterable[Verdict]) -> Iterator[Shown]:
    """The verdicts on claims of the ledger, then those on a reader's own claims, as tables of their own."""
    shipped: list[Verdict] = []
    own: list[Verdict] = []
    for verdict in verdicts:
        if not verdict.missing:
            kind = own if verdict.asked.own else shipped
            kind.append(verdict)
    yield claims_table(shipped)
    if own:
        yield bold("Claims of the reader's own, not of the paper or this audit:")
        yield claims_table(own)


def claims_table(verdicts: Sequence[Verdict]) -> Table:
    """One row a claim: title and contrast, verdict and numbers; what does not fit goes on in the next line."""
    from reports.render.formatting import amount, interval, mark_of
    from reports.words.page_words import rests_on
    from reports.words.verdict_words import first_sight

    table = new_table("claim", "verdict, points (95 %)")
    scopes = {v.scope for v in verdicts if v.scope}
    for v in verdicts:
        title = f"{v.claim} {v.asked.title}"
        if v.scope and len(scopes) > 1:
            title += f" ({v.scope})"
        left: list[RenderableType] = [Text(title, "bold")]
        for line in (v.number.part, f"{rests_on(v)}, scale {v.scale}", first_sight(v)):
            if line:
                left.append(Padding(Text(line), (0, 0, 0, 2)))  # further lines of one keep its indent
        mark, bounds = mark_of(v), interval(v)
        right = Text(f"{mark.icon} {mark.words}", "bold")
        right.append(f"\n{amount(v.number.effect, v.number.unit)}", "default")
        if bounds:
            right.append(f" ({bounds})", "default")
        if v.cautions:
            right.append(f"\n! {'; '.join(v.cautions)}", "bold")
        table.add_row(Group(*left), right)
    return table


@report.command()
@answering
def verify(out_dir: ReportFolder = Path("report"), results: ResultsPath = "results") -> Answer:
    """Rebuild a report from its records, compare every table, and name what differs. Exit code 0 or 1.

    It sees mistakes, and rules of the protocol that were broken. It does not see forgery.

    Example: `python cli.py report verify --out report --results results`
    """
    from reports.verify import verify as check_report
    from reports.words.verdict_words import as_dict

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
    for check in verification.checks:
        state = "differs" if check.differences else "same"
        yield f"{state:8}{check.name} ({check.compared:,} compared)"
        for line in check.differences[:FEW]:
            yield f"          {line}"
        if len(check.differences) > FEW:
            yield f"          and {len(check.differences) - FEW} more; all with --json"
    for note in verification.notes:
        yield Text(note, "dim")
    yield "The verdicts that these records give, made again here; read these, not those of the report:"
    yield from _claim_tables(verification.verdicts)
    yield f"Fingerprint of the records: {verification.fingerprint}"
    yield f"sha256 of the journal: {verification.journal}"
    differing = [check.name for check in verification.checks if check.differences]
    yield f"Does not hold: {'; '.join(differing)}." if differing else "Every table holds."


@report.command()
@answering
def compare(
    first: Annotated[str, typer.Argument(metavar="A", help="A results folder, s3://BUCKET/..., or an archive (.zip).")],
    second: Annotated[str, typer.Argument(metavar="B", help="Another one.")],
    page: Annotated[
        Path | None, option(OUTPUT, "Write a page too, a file that ends in .html.", "--page", metavar="FILE")
    ] = None,
) -> Answer:
    """Put two results folders side by side: B minus A with intervals, and the settings that differ.

    Cells are paired by image, task, search and seed; others are left out. --json and --page have every task.

    Example: `python cli.py report compare results other.zip --page comparison.html`
    """
    from reports.compare import compare as compared
    from reports.render.page import comparison_page

    if page is not None and page.suffix != ".html":
        raise UserError(f"--page '{page}' does not end in .html.", "Give a page a name such as comparison.html.")
    with _opened(first) as ours, _opened(second) as theirs:
        comparison = compared(ours, theirs)
    people = list(_comparison_lines(comparison))
    if page is not None:
        page.parent.mkdir(parents=True, exist_ok=True)
        write_text(page, comparison_page(comparison, first, second))
        people.append(f"Open: {page.resolve()}")
    return Answer(asdict(comparison), people)


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


def _comparison_lines(comparison: FolderComparison) -> Iterator[Shown]:
    """The settings that differ, and the differences of the means over tasks."""
    yield bold("Settings that differ:")
    yield list(comparison.settings)
    yield bold("B minus A, means over tasks, in shares of 1:")
    yield [row for row in comparison.differences if not row["task"]]
    for name, scopes in (("A", comparison.only_first), ("B", comparison.only_second)):
        if scopes:
            yield f"In {name} alone: {', '.join(scopes)}."


@report.command()
@answering
def why(
    address: Annotated[str, typer.Argument(help="A claim such as C3, or TABLE.ROW.COLUMN.")],
    results: ResultsPath = "results",
    claims: Claims = None,
    cells: Annotated[bool, typer.Option("--cells", help="List every cell with its numbers and its command.")] = False,
) -> Answer:
    """Where a number comes from: its formula, the cells behind it, and the command that makes each again.

    Example: `python cli.py report why tasks.icons-3/mix-7/car_ft.test_top1`
    """
    from reports.why import explain

    chain = explain(existing(results), address, claims or "")
    return Answer(asdict(chain), _chain_lines(chain, str(results), cells))


def _chain_lines(chain: Chain, results: str, cells: bool) -> Iterator[Shown]:
    """The facts of a number and its tables. cells: also every cell."""
    yield bold(chain.address)
    for name, text in chain.facts.items():
        if name == "run":
            text = in_folder(text, results)
        yield f"  {name}: {text}"
    for title, rows in chain.tables.items():
        yield bold(f"\n{title}")
        yield list(rows)
    if not chain.cells:
        return
    number = counted(len(chain.cells), "cell")
    if cells:
        yield bold(f"\n{number}, each with the command that makes it again:")
        yield from stacked(chain.cells, ("cell",))
    else:
        yield f"\n{number}; --cells lists each with its numbers and its command."
