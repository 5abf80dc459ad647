"""A results folder as a thing: tidied, packed, unpacked, merged."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from carft.core.errors import UserError, size_words, typed, typed_report
from carft_cli.answer import Answer, Rows, answering
from carft_cli.options import ResultsPath, existing, results_path

results_group = typer.Typer(
    no_args_is_help=True,
    help="A results folder as a thing: tidied, published, unpacked, merged.",
    rich_markup_mode="markdown",
)


@results_group.command()
@answering
def gc(
    yes: Annotated[bool, typer.Option("--yes", help="Remove; without it, only say what would be removed.")] = False,
    results: ResultsPath = "results",
) -> Answer:
    """Remove what nobody needs: half-written files, old checkpoints, weights that are used up.

    Example: `python cli.py results gc`
    """
    from carft.store.gc import leftovers, remove

    store = existing(results, writable=yes)
    unneeded = leftovers(store)
    if yes:
        remove(store, unneeded)
    rows: Rows = [{"path": str(file.path), "bytes": file.size, "why": file.why} for file in unneeded]
    done = "They were removed." if yes else "Nothing was removed. Remove: --yes"
    total = f"{len(rows)} leftovers, {size_words(sum(file.size for file in unneeded))}. {done}"
    return Answer({"removed": yes, "leftovers": rows}, [rows, total])


@results_group.command()
@answering
def export(
    archive: Annotated[Path, typer.Argument(help="The archive to write, such as results.zip.")],
    weights: Annotated[bool, typer.Option("--weights", help="Also the trained weights.")] = False,
    compact: Annotated[
        bool,
        typer.Option("--compact", help="Predictions without logits, no histories of search trials: a small archive."),
    ] = False,
    results: ResultsPath = "results",
) -> Answer:
    """One archive to publish: records, predictions, studies, a manifest of digests.

    Example: `python cli.py results export results.zip`
    """
    from carft.store.archive import pack

    packed = pack(existing(results, weights=weights), archive, weights, compact)
    elsewhere = f"Elsewhere: {typed('results', 'import', archive.name, '--to', archive.stem)}"
    facts = {"archive": str(archive), **packed}
    return Answer(facts, [facts, elsewhere])


@results_group.command("import")
@answering
def import_(
    sources: Annotated[
        list[str], typer.Argument(help="An archive that `results export` wrote; or two results folders, to be merged.")
    ],
    to: Annotated[Path, typer.Option("--to", help="The results folder to write; it must not exist yet.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before more than 1 GB is unpacked.")] = False,
) -> Answer:
    """Unpack an archive, every byte checked; or merge two folders, where different results of a cell are refused.

    Example: `python cli.py results import results.zip --to theirs`
    """
    from carft.store.archive import unpack
    from carft.store.merge import merge

    def accept(size: int) -> bool:
        """Ask a person at a terminal; a script says --yes."""
        return yes or (sys.stdin.isatty() and typer.confirm(f"It unpacks to {size / 1e9:.1f} GB. Go on?", err=True))

    if len(sources) == 1:
        facts: dict[str, Any] = {"results": to, "report": None, **unpack(Path(sources[0]), to, accept)}
    elif len(sources) == 2:
        first, second = (existing(results_path(source), weights=True) for source in sources)
        merged = merge(first, second, to)
        facts = {"from_first": len(merged.first), "from_second": len(merged.second - merged.first)}
        facts |= {"shared": len(merged.shared), "corrupt": {}}
    else:
        raise UserError("Two results folders are merged at a time.", "Merge the result with the next one.")
    return Answer(facts, [facts, f"Next: {typed_report(to)}"])
