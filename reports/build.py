"""Build a report: records in, a folder out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from carft.core.commands import typed
from carft.core.errors import UserError
from carft.store.records import Store
from reports.claims.claim import Claim, Verdict
from reports.claims.own import NAME, claims_text, read_claims
from reports.evidence.protocol import DEPARTED
from reports.evidence.results import Results, report_catalog
from reports.evidence.views import read_evidence
from reports.figures.figure import draw_figures
from reports.render import manifest as manifests
from reports.render.manifest import Manifest
from reports.render.page import PAGES, Content, rendered
from reports.render.pictures import PictureOptions, read_pictures, write_pictures
from reports.tables.table import Sources


@dataclass(frozen=True)
class Built:
    """What a report left on disk."""

    page: Path
    paths: Sequence[Path]
    verdicts: Sequence[Verdict]
    warnings: Sequence[str]  # where studies left the protocol
    answer: Sequence[str]  # the sentences at the top of the page
    scope: str  # what these are on
    summary: Sequence[tuple[str, str]]  # (what, words): asked, found, by how much, how sure
    missing_pictures: Sequence[str]  # why images have no picture
    tasks_file: str  # path of the tasks file of one's own data, which no published file names; empty if not known


def build_report(
    store: Store,
    folder: Path,
    pictures: PictureOptions | None = None,
    claims: str = "",
) -> Built:
    """Write pages, tables, figures and the manifest of a results folder; ``UserError`` when nothing can be reported.

    pictures: by default all whose data are at hand. claims: a file of claims of one's own, or a shipped ledger, asked
    too; the report keeps a copy.

    index.html, report.md, tables.tex, tables/*.csv, figures/*.png + *.svg, pictures/*.jpg,
    manifest.json.
    """
    text = claims_text(claims)
    own = read_claims(text, claims, report_catalog(store).methods)
    records = manifests.record_digests(store)
    sources = sources_of(store, own)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        words = f"The report folder '{folder}' cannot be written: {error.strerror}."
        raise UserError(words, "Give another --out.") from error
    _remove_former(folder)
    tables = write_tables(sources, folder / "tables")
    figures = draw_figures(sources.tables(), sources.evidence.scale, folder / "figures")
    made_pictures = write_pictures(sources, pictures or PictureOptions(), folder)
    content = Content.of(sources, figures, manifests.fingerprint(records), read_pictures(made_pictures.paths))
    pages = write_pages(content, folder)
    drawings = [path for drawn in figures for path in (drawn.png, drawn.svg)]
    paths = [*pages, *tables, *drawings, *made_pictures.paths]
    if text:
        (folder / NAME).write_text(text, encoding="utf-8")
        paths.append(folder / NAME)
    made = Manifest(records, manifests.digests(folder, paths), manifests.made_with())
    archive = sources.evidence.archive
    warnings = [f"{p.what}: {p.where}: {p.words}" for p in archive.problems if p.what == DEPARTED]
    warnings += [f"broken data: {task}: {why}" for task, why in archive.unreadable.items()]
    answer = [sentence.text for sentence in sources.answer.sentences]
    return Built(
        pages[0],
        [*paths, made.write(folder)],
        sources.verdicts,
        warnings,
        answer,
        sources.evidence.name,
        sources.answer.summary,
        made_pictures.missing,
        tasks_file_of(archive),
    )


def tasks_file_of(archive: Results) -> str:
    """The path on this machine of the tasks file that names all own data of a folder; empty without such a file."""
    named = (archive.catalog.named(study.task) for study in archive.studies)
    files = {task.file for task in named if task is not None}
    return files.pop() if len(files) == 1 else ""


def sources_of(store: Store, own: Sequence[Claim] = ()) -> Sources:
    """What the tables of a results folder are made from; ``UserError`` when it holds no study.

    own: claims that are asked after those of the ledger.
    """
    evidence = read_evidence(store)
    if not evidence.tasks:
        raise UserError(
            f"'{store.name}' holds no study.",
            f"Run a sweep first: {typed('sweep', 'downstream', results=store.name)}",
        )
    return Sources(evidence, own)


def write_tables(sources: Sources, folder: Path) -> list[Path]:
    """One CSV per table of the registry."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, table in sources.tables().items():
        path = folder / f"{name}.csv"
        table.to_csv(path, index=False)
        paths.append(path)
    return paths


def write_pages(content: Content, folder: Path) -> list[Path]:
    """index.html, report.md and tables.tex."""
    paths = []
    for name in PAGES:
        path = folder / name
        path.write_text(rendered(name, content), encoding="utf-8")
        paths.append(path)
    return paths


def _remove_former(folder: Path) -> None:
    """Remove what an earlier report left here: a table or figure that is no longer made would look like a new one."""
    try:
        former = list(Manifest.read(folder).report)
    except UserError:
        return
    root = folder.resolve()
    for old in ((folder / name).resolve() for name in [*former, manifests.NAME]):
        if old.is_relative_to(root):  # a manifest is data: it must not reach outside its folder
            old.unlink(missing_ok=True)
