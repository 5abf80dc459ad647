"""The stages of a report: a results folder is read, everything is decided on it, and the findings are rendered.

:mod:`reports.read` opens files and decides nothing. :mod:`reports.judge` holds every number, verdict and note that is
shown. :mod:`reports.render` writes them as tables, figures and pages; it neither reads results nor compares methods.
"""

from pathlib import Path

from carft.store.records import Store
from reports.judge.findings import Findings, judge
from reports.read.folder import read_folder
from reports.render.manifest import record_digests
from reports.render.pictures import PictureOptions
from reports.render.report import Report, earlier_files, render


def build_report(store: Store, out: Path, pictures: PictureOptions | None = None) -> Report:
    """Write the report of a results folder.

    pictures: by default all whose data are at hand. Raises ``UserError`` where ``out`` holds a page that no report
    wrote or cannot be written, and where the results hold no study.
    """
    earlier_files(out)  # a folder that is refused is refused before the work
    records = record_digests(store)  # before they are read: a cell that ends meanwhile was not reported
    return render(findings_of(store), records, out, pictures or PictureOptions())


def findings_of(store: Store) -> Findings:
    """Everything that a results folder shows; ``UserError`` where it holds no study."""
    folder = read_folder(store)
    return judge(folder)
