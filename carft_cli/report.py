"""The commands of the report: build, verify, why, diff; and rescore. Heavy imports happen inside, as in cli.py."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from carft.core.errors import UserError
from carft_cli.console import counted, labelled, new_table, out, print_json, rows_table, split
from carft_cli.options import AsJson, Results, local_folder, results_path

ReportFolder = Annotated[
    Path, typer.Option("--out", parser=local_folder, metavar="PATH", help="The report folder, on this machine.")
]
METRICS_HELP = "Comma-separated: top1, top5, mean_per_class, worst_class, loss, ece, context_top1."
#: differences that are printed of one check; --json has all
FEW = 20


def _require_alone(context: typer.Context) -> None:
    """``UserError`` when folders are named beside an archive, which holds both."""
    for name, option in (("out_dir", "--out"), ("results", "--results")):
        source = context.get_parameter_source(name)
        if source is not None and source.name != "DEFAULT":
            raise UserError(f"An archive holds records and report; {option} names another.", "Give one of the two.")


def suggest_again(*asked: Any) -> Mapping[str, float]:
    """What a trial tries by the sampler of the sweeps, for reports, which import no sweeps; Optuna when asked alone."""
    from sweeps.search.sampler import suggest_again

    return suggest_again(*asked)


report = typer.Typer(rich_markup_mode="markdown")


@report.callback(invoke_without_command=True)
def build(
    context: typer.Context,
    results: Results = "results",
    out_dir: ReportFolder = Path("report"),
    as_json: AsJson = False,
) -> None:
    """Turn records into verdicts, tables, figures and one self-contained page; or check, explain, compare them.

    Example: `python cli.py report --results results --out report`
    """
    if context.invoked_subcommand is not None:
        sources = {name: context.get_parameter_source(name) for name in context.params}
        for name in (name for name, source in sources.items() if source and source.name != "DEFAULT"):
            raise UserError(
                f"An option stands before '{context.invoked_subcommand}', which would not see it.",
                f"Write: python cli.py report {context.invoked_subcommand} --{name.removesuffix('_dir')} ...",
            )
        return
    from carft.store.mirror import open_store
    from reports.build import build_report
    from reports.render.formatting import NOTHING, amount

    store = open_store(results)
    store.require_present()
    built = build_report(store, out_dir, suggest_again)
    if as_json:
        print_json(
            {
                "paths": [str(p) for p in built.paths],
                "verdicts": [v.as_dict() for v in built.verdicts],
                "warnings": list(built.warnings),
            }
        )
        return
    table = new_table("claim", "verdict", "contrast", "effect", "95 % interval", "rests on", "scope", "scale")
    for v in built.verdicts:
        low, high = amount(v.low, v.unit), amount(v.high, v.unit)
        interval = low if low == high == NOTHING else f"{low} to {high}"
        sizes = {"task": v.n_tasks, "seed": v.n_seeds, "group": v.n_groups}
        counts = ", ".join(counted(n, what) for what, n in sizes.items()) if v.n_tasks else v.basis
        numbers = ("", "", "") if v.verdict == "not run" else (amount(v.effect, v.unit), interval, counts)
        verdict = Text.assemble(v.verdict, (f"\n! {v.caution}" if v.caution else "", "bold"))
        table.add_row(v.claim, verdict, v.headline, *numbers, v.scope, v.scale)
    out.print(table)
    for words in built.warnings:
        out.print(f"! {words}", soft_wrap=True, markup=False, highlight=False)
    out.print(f"Open: {built.page.resolve()}", soft_wrap=True)


@report.command()
def verify(
    context: typer.Context,
    archive: Annotated[
        Path | None, typer.Argument(help="An archive that `results export --report` wrote, in place of two folders.")
    ] = None,
    out_dir: ReportFolder = Path("report"),
    results: Results = "results",
    allow_other_code: Annotated[bool, typer.Option(help="Let a report of another version hold.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make every number of a report again from raw predictions and name what differs. Exit code 0 or 1.

    Example: `python cli.py report verify --out report --results results`
    """
    from carft.store.archive import opened
    from carft.store.mirror import open_store
    from reports.verify import verify as check_report

    if archive is None:
        found = check_report(open_store(results), out_dir, allow_other_code, suggest_again)
    else:
        _require_alone(context)
        with opened(archive) as folder:
            if not (folder / "report").is_dir():
                raise UserError(
                    f"'{archive}' holds no report.", "Export one with: results export ARCHIVE --report report"
                )
            found = check_report(open_store(folder), folder / "report", allow_other_code, suggest_again)
    if as_json:
        checks = [{"check": c.name, "compared": c.compared, "differences": list(c.differences)} for c in found.checks]
        notes, fingerprint = list(found.notes), found.fingerprint
        print_json({"holds": found.holds, "checks": checks, "notes": notes, "fingerprint": fingerprint})
    else:
        for c in found.checks:
            state = "differs" if c.differences else "same"
            out.print(f"{state:8}{c.name} ({c.compared:,} compared)", highlight=False)
            for line in c.differences[:FEW]:
                out.print(f"          {line}", soft_wrap=True, markup=False, highlight=False)
            if len(c.differences) > FEW:
                out.print(f"          and {len(c.differences) - FEW} more; all with --json", highlight=False)
        for note in found.notes:
            out.print(note, style="dim", soft_wrap=True, highlight=False)
        out.print(f"Fingerprint of the records: {found.fingerprint}", soft_wrap=True, highlight=False)
        out.print("Every number holds." if found.holds else "This report is not what these records give.")
    if not found.holds:
        raise SystemExit(1)


@report.command()
def why(
    address: Annotated[str, typer.Argument(help="A claim such as C3, or TABLE.ROW.COLUMN.")],
    results: Results = "results",
    as_json: AsJson = False,
) -> None:
    """Where a number comes from: its formula, the cells behind it, and the command that makes each again.

    Example: `python cli.py report why tasks.icons/transport/car_ft.test_top1`
    """
    from carft.store.mirror import open_store
    from reports.why import explain

    store = open_store(results)
    store.require_present()
    chain = explain(store, address, suggest_again)
    if as_json:
        print_json(chain.as_dict())
        return
    out.print(chain.address, style="bold", soft_wrap=True, highlight=False)
    for name, text in chain.facts:
        out.print(f"  {name}: {text}", soft_wrap=True, markup=False, highlight=False)
    for title, rows in chain.tables.items():
        out.print(f"\n{title}", style="bold", soft_wrap=True, highlight=False)
        out.print(rows_table(rows))
    if chain.cells:
        out.print(f"\n{counted(len(chain.cells), 'cell')}, made again by:", style="bold", highlight=False)
    for cell in chain.cells:
        out.print(f"{cell['cell']}  {cell['command']}", soft_wrap=True, markup=False, highlight=False)


@report.command()
def diff(
    first: Annotated[str, typer.Argument(parser=results_path, help="A results folder.")],
    second: Annotated[str, typer.Argument(parser=results_path, help="Another: a new version, machine or lab.")],
    as_json: AsJson = False,
) -> None:
    """What moved between two results folders, and whether it moved more than noise would move it.

    Example: `python cli.py report diff results other-results`
    """
    from carft.store.mirror import open_store
    from reports.diff import compare

    stores = open_store(first), open_store(second)
    for store in stores:
        store.require_present()
    found = compare(*stores, suggest_again)
    if as_json:
        print_json(found.as_dict())
        return
    out.print(rows_table(found.claims))
    for line in found.words:
        out.print(line, soft_wrap=True, markup=False, highlight=False)


def rescore(
    results: Results = "results",
    tasks: Annotated[str | None, typer.Option(help="Comma-separated; default: all with finished cells.")] = None,
    sets: Annotated[str | None, typer.Option(help="Comma-separated: val, test, ood/SUITE; default: all.")] = None,
    classes: Annotated[
        str | None, typer.Option(help="Class names, comma-separated, or a file with one a line.")
    ] = None,
    images: Annotated[str | None, typer.Option(help="Pattern of image or group names, or a file, one a line.")] = None,
    metrics: Annotated[str, typer.Option(help=METRICS_HELP)] = "top1,mean_per_class",
    out_dir: Annotated[
        Path, typer.Option("--out", parser=local_folder, metavar="PATH", help="Where the re-scored tables go.")
    ] = Path("rescored"),
    as_json: AsJson = False,
) -> None:
    """Score stored predictions again under another class list, on other images, by other metrics. Needs no GPU.

    Example: `python cli.py rescore --tasks icons/transport --sets test --images "*lucide*" --metrics top1,ece`
    """
    from carft.store.mirror import open_store
    from reports.rescore import RescoreRequest, rescore_to

    store = open_store(results)
    store.require_present()
    request = RescoreRequest.of(split(tasks), split(sets), classes, images, split(metrics))
    found = rescore_to(store, request, out_dir)
    if as_json:
        print_json({"paths": [str(p) for p in found.paths], "changed": found.changed, "rows": found.summary})
        return
    out.print(rows_table(labelled(found.summary)))
    out.print(f"Re-scored: {found.changed}", soft_wrap=True, markup=False, highlight=False)
    out.print(f"Written: {', '.join(map(str, found.paths))}", soft_wrap=True)
