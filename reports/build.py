"""Build a report: records in, a folder out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from carft.core.errors import UserError, typed
from carft.store.records import Store
from carft.store.stored_catalog import stored_catalog
from reports.claims.own import NAME, claims_text, read_claims
from reports.evidence.protocol import DEPARTED
from reports.evidence.results import Results
from reports.evidence.views import read_evidence
from reports.figures.figure import draw_figures
from reports.render import manifest as manifests
from reports.render.page import FRONT, GENERATOR, PAGES, Content, rendered
from reports.render.pictures import PictureOptions, read_pictures, write_pictures
from reports.tables.table import Sources, spreadsheet_table

#: the characters of the page of a report that hold the mark of this package
HEAD = 1000


@dataclass(frozen=True)
class Built:
    """What a report left on disk, and what it says."""

    page: Path
    paths: Sequence[Path]
    sources: Sources
    missing_pictures: Sequence[str]
    """Why images have no picture, a sentence each."""

    @property
    def warnings(self) -> list[str]:
        """Where studies left the protocol, and data that cannot be read."""
        archive = self.sources.evidence.archive
        departed = [note for note in archive.problems if note.kind == DEPARTED]
        words = [f"{note.kind}: {note.where}: {note.text}" for note in departed]
        for task, reason in archive.unreadable.items():
            words.append(f"broken data: {task}: {reason}")
        return words


def build_report(store: Store, folder: Path, pictures: PictureOptions | None = None, claims: str = "") -> Built:
    """Write pages, tables, figures and the manifest of a results folder; ``UserError`` when nothing can be reported.

    pictures: by default all whose data are at hand. claims: as of :func:`sources_of`; the report keeps a copy.
    """
    _require_own(folder)
    text = claims_text(claims)  # it may be the copy of an earlier report
    records = manifests.record_digests(store)
    sources = sources_of(store, claims)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"The report folder '{folder}' cannot be written: {error.strerror}.", "Give another --out."
        ) from error
    _remove_former(folder)
    tables = write_tables(sources, folder / "tables")
    figures = draw_figures(sources.tables(), sources.evidence.scale, folder / "figures")
    pictures_made, missing = write_pictures(sources, pictures or PictureOptions(), folder)
    content = Content(sources, figures, manifests.fingerprint(records), read_pictures(pictures_made))
    pages = write_pages(content, folder)
    paths = [*pages, *tables, *pictures_made]
    for drawn in figures:
        paths += (drawn.png, drawn.svg)
    if text:
        (folder / NAME).write_text(text, encoding="utf-8")
        paths.append(folder / NAME)
    made = manifests.Manifest(records, manifests.digests(folder, paths), manifests.made_with())
    return Built(pages[0], [*paths, made.write(folder)], sources, missing)


def tasks_file_of(archive: Results) -> str:
    """The path on this machine of the tasks file that names all own data of a folder; empty without such a file."""
    files = set()
    for study in archive.studies:
        task = archive.catalog.named(study.task)
        if task is not None:
            files.add(task.file)
    return files.pop() if len(files) == 1 else ""


def sources_of(store: Store, claims: str = "") -> Sources:
    """What the tables of a results folder are made from; ``UserError`` when it holds no study.

    claims: a file of claims of one's own, or a shipped ledger, asked after those of the ledger.
    """
    own = read_claims(claims_text(claims), claims, stored_catalog(store, store.catalog).methods)
    return Sources(read_evidence(store), own)


def write_tables(sources: Sources, folder: Path) -> list[Path]:
    """One CSV per table of the registry."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, table in sources.tables().items():
        paths.append(folder / f"{name}.csv")
        spreadsheet_table(table).to_csv(paths[-1], index=False)
    return paths


def write_pages(content: Content, folder: Path) -> list[Path]:
    """index.html, report.md and tables.tex."""
    paths = []
    for name in PAGES:
        paths.append(folder / name)
        paths[-1].write_text(rendered(name, content), encoding="utf-8")
    return paths


def _require_own(folder: Path) -> None:
    """Raise ``UserError`` for a folder with a page that no report wrote, and for a current folder with other files."""
    page = folder / FRONT
    marked = page.is_file() and GENERATOR in page.read_text(encoding="utf-8", errors="replace")[:HEAD]
    if marked or FRONT in _former(folder):  # one that was stopped has a page and no manifest
        return
    hint = f"Give --out a folder of its own: {typed('report', out='FOLDER')}"
    if page.exists():
        raise UserError(f"'{page}' is not the page of a report, and would be replaced.", hint)
    if folder.is_dir() and folder.samefile(Path()) and any(folder.iterdir()):
        raise UserError("The report would be written among the files of the current folder.", hint)


def _former(folder: Path) -> list[str]:
    """The names of the files that an earlier report left in a folder; empty where none did."""
    try:
        return list(manifests.Manifest.read(folder).report)
    except UserError:
        return []


def _remove_former(folder: Path) -> None:
    """Remove what an earlier report left here: a table or figure that is no longer made would look like a new one."""
    former = _former(folder)
    if not former:
        return
    root = folder.resolve()
    for name in [*former, manifests.NAME]:
        old = (folder / name).resolve()
        if old.is_relative_to(root):  # a manifest is data: it must not reach outside its folder
            old.unlink(missing_ok=True)
