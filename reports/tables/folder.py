"""What a results folder holds: its cells, which were unsealed, what must hold of them, and what cannot be used."""

from dataclasses import asdict

import pandas as pd

from carft.config.cell import Reading
from carft.config.resolve import command
from reports.evidence.caveats import Caution
from reports.evidence.evidence import Entry
from reports.tables.table import Sources, table
from reports.words.caveats import caution_words


@table(
    "Cells",
    "Every cell with the command that makes it again.",
    ["cell"],
    shares=("val_top1",),
    metrics={"val_top1": "val/top1"},
    on_page=False,
)
def cells(sources: Sources) -> pd.DataFrame:
    """One row per cell, with the command that runs it again. reading: its factors that differ from the default."""
    evidence, rows, default = sources.evidence, [], asdict(Reading())
    for record in sorted(evidence.records.values(), key=lambda r: (r.cell.task, r.cell.method, r.cell.seed, r.id)):
        made, opened = record.made_with, bool(evidence.archive.evaluated(record.id))
        rows.append(
            {
                "cell": record.id,
                "task": record.cell.task,
                "method": record.cell.method,
                "hyperparameters": " ".join(f"{k}={v:.4g}" for k, v in record.cell.hyperparameters.items()),
                "seed": record.cell.seed,
                "reading": ", ".join(f"{k} {v}" for k, v in asdict(record.cell.reading).items() if v != default[k]),
                "val_top1": record.metrics["val/top1"],
                "carft": made.carft,
                "numerics": made.numerics,
                "torch": made.packages.get("torch", ""),
                "command": command(
                    record.cell, "again", catalog=evidence.archive.catalog, unseal=opened, published=True
                ),
            }
        )
    return pd.DataFrame(rows)


@table(
    "What could not be used",
    "Corrupt, failed, missing, of other numerics or data, or not the largest study of its question.",
    ["what", "where"],
)
def problems(sources: Sources) -> pd.DataFrame:
    """What the report cannot use: corrupt or failed cells, other numerics or data, studies that are not the largest."""
    rows = [(p.what, p.where, p.words) for p in sources.evidence.archive.problems]
    for view in sources.evidence.views():
        for study in view.dropped:
            size = f"{len(study.trials)} trials, {study.training.epochs} epochs"
            words = f"{size}: another recipe or fewer trials than what {view.name} reports."
            rows.append(("study not used", study.id, f"{study.method} on {study.task}, {words}"))
        for study in view.studies:
            opened = view.cells(study.task, Entry(study.method))
            if short := [cell for cell in study.confirm if cell not in opened]:
                words = f"{', '.join(short)} not finished, unsealed or readable."
                rows.append(("missing seed", study.id, f"{study.method} on {study.task}: {words}"))
    return pd.DataFrame(list(dict.fromkeys(rows)), columns=["what", "where", "words"])


@table(
    "Unsealings",
    "Cells whose held-out sets were opened, how often, and by which command.",
    ["cell"],
    hidden=(),
    on_page=False,
)
def unsealings(sources: Sources) -> pd.DataFrame:
    """One row per cell that was evaluated on sealed sets."""
    access, columns = sources.unsealings, ("cell", "task", "method", "role", "sets", "most_often", "by", "caution")
    rows = []
    for cell, sets in sorted(access.openings.items()):
        record = sources.evidence.records.get(cell)
        what = (record.cell.task, record.cell.method) if record else ("", "")
        role, by = access.roles.get(cell, "superseded"), " ".join(sorted(access.by.get(cell, ())))
        caution = caution_words([Caution.TEST_SEEN]) if cell in access.seen else ""
        rows.append((cell, *what, role, " ".join(sorted(sets)), max(sets.values()), by, caution))
    return pd.DataFrame(rows, columns=list(columns))


@table(
    "Null checks",
    "What must hold, on these records, before any comparison means something.",
    ["check"],
)
def nulls(sources: Sources) -> pd.DataFrame:
    """One row per check: passed, failed or not checkable, with why and the cells."""
    rows = [(c.name, c.status, c.words, len(c.cells), " ".join(c.cells)) for c in sources.checks]
    return pd.DataFrame(rows, columns=["check", "status", "words", "n_cells", "cells"])
