"""Training histories of the confirm cells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from carft.store.study import StudyFile
from reports.evidence.evidence import Evidence


def confirm_histories(
    evidence: Evidence, method: str | None = None
) -> Iterator[tuple[Evidence, StudyFile, str, Mapping[str, np.ndarray]]]:
    """(view, study, cell, history) of every finished confirm cell, of one method or of all.

    The history is empty where the cell was not trained or the file is corrupt.
    """
    for view in evidence.views():
        for study in (s for s in view.studies if method in (None, s.method)):
            for cell in study.confirm:
                if cell in view.records:
                    yield view, study, cell, view.archive.history(cell)
