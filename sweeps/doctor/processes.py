"""The same work in several processes at once, as the cells of a sweep or the workers of a cell do it."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch.multiprocessing

from carft.core.errors import UserError

#: seconds that the work may take, start of the processes included
LIMIT_S = 300.0


def in_processes(work: Callable[..., Any], count: int, *given: object) -> list[Any]:
    """Return what ``work(rank, count, folder, *given)`` returns in each process, as JSON values, in order of ranks.

    folder: an empty one that the processes share. Raises ``UserError`` when one fails, or they take too long.
    """
    with tempfile.TemporaryDirectory(prefix="carft-doctor-") as folder:
        running = torch.multiprocessing.spawn(_run, (work, count, folder, *given), nprocs=count, join=False)
        end = time.monotonic() + LIMIT_S
        try:
            while not running.join(timeout=1.0):
                if time.monotonic() > end:
                    raise UserError(f"{count} processes did not end within {LIMIT_S:.0f} s.")
        except (torch.multiprocessing.ProcessRaisedException, torch.multiprocessing.ProcessExitedException) as error:
            raise UserError(f"A process failed: {str(error).strip().splitlines()[-1]}.") from error
        finally:
            for process in running.processes:
                if process.is_alive():
                    process.kill()
        return [json.loads(_file(folder, rank).read_text(encoding="utf-8")) for rank in range(count)]


def _run(rank: int, work: Callable[..., Any], count: int, folder: str, *given: object) -> None:
    found = work(rank, count, folder, *given)
    _file(folder, rank).write_text(json.dumps(found), encoding="utf-8")


def _file(folder: str, rank: int) -> Path:
    return Path(folder) / f"found-{rank}.json"
