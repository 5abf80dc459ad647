"""Write a report: findings in, a folder out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from carft.core.errors import UserError, typed
from reports.judge.findings import Findings
from reports.judge.protocol import DEPARTED
from reports.render import manifest as manifests
from reports.render.figures.figure import draw_figures
from reports.render.page import FRONT, GENERATOR, PAGES, Content, rendered
from reports.render.pictures import PictureOptions, make_pictures
from reports.render.tables.table import Tables, make_tables, table_cards
from reports.render.words.answer_words import PageAnswer

#: the characters of the page of a report that hold the mark of this package
HEAD = 1000


@dataclass(frozen=True)
class Report:
    """What a report left on disk, and what it says."""

    page: Path
    paths: Sequence[Path]
    findings: Findings
    answer: PageAnswer
    missing_pictures: Sequence[str]
    """Why images have no picture, a sentence each."""

    @property
    def warnings(self) -> list[str]:
        """Where studies left the protocol, and data that cannot be read."""
        words = []
        for note in self.findings.notes:
            if note.kind == DEPARTED:
                words.append(f"{note.kind}: {note.where}: {note.text}")
        for task, reason in self.findings.evidence.folder.unreadable.items():
            words.append(f"broken data: {task}: {reason}")
        return words


def render(findings: Findings, records: Mapping[str, str], folder: Path, pictures: PictureOptions) -> Report:
    """Write pages, tables, figures and the manifest of findings, in place of those of an earlier report.

    records: as of :func:`reports.render.manifest.record_digests`. ``UserError`` where the folder cannot be written.
    """
    former = earlier_files(folder)
    tables, answer = make_tables(findings), PageAnswer.of(findings)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"The report folder '{folder}' cannot be written: {error.strerror}.", "Give another --out."
        ) from error
    _remove(former, folder)
    paths = write_tables(tables, folder / "tables")
    figures = draw_figures(tables, findings.evidence.scale, folder / "figures")
    shown = make_pictures(findings.evidence, pictures, folder)
    content = Content(findings, tables, answer, figures, manifests.fingerprint(records), shown)
    pages = write_pages(content, folder)
    paths = [*pages, *paths, *shown.paths]
    for drawn in figures:
        paths += drawn.paths
    made = manifests.Manifest(records, manifests.digests(folder, paths), manifests.made_with())
    return Report(pages[0], [*paths, made.write(folder)], findings, answer, shown.missing)


def write_tables(tables: Tables, folder: Path) -> list[Path]:
    """One CSV per table of the registry."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, table in tables.items():
        paths.append(folder / f"{name}.csv")
        written = table.drop(columns=[*table_cards()[name].unwritten], errors="ignore")
        written.to_csv(paths[-1], index=False)
    return paths


def write_pages(content: Content, folder: Path) -> list[Path]:
    """index.html, report.md and tables.tex."""
    paths = []
    for name in PAGES:
        paths.append(folder / name)
        paths[-1].write_text(rendered(name, content), encoding="utf-8")
    return paths


def earlier_files(folder: Path) -> list[str]:
    """Names of the files that an earlier report left in a folder; empty where none did.

    Raises ``UserError`` for a folder with a page that no report wrote.
    """
    try:
        return list(manifests.Manifest.read(folder).report)
    except UserError:
        page = folder / FRONT
        # a report that was stopped has a page and no manifest
        if page.is_file() and GENERATOR not in page.read_text(encoding="utf-8", errors="replace")[:HEAD]:
            hint = f"Give --out a folder of its own: {typed('report', out='FOLDER')}"
            raise UserError(f"'{page}' is not the page of a report, and would be replaced.", hint) from None
        return []


def _remove(former: Sequence[str], folder: Path) -> None:
    """Remove what an earlier report left here: a table or figure that is no longer made would look like a new one."""
    root = folder.resolve()
    for name in former:
        old = (folder / name).resolve()
        if old.is_relative_to(root):  # a manifest is data: it must not reach outside its folder
            old.unlink(missing_ok=True)
