"""The manifest of a report: digests of its inputs and outputs, and the versions that made it."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from carft import NUMERICS, __version__
from carft.core.errors import RESULTS, UserError, typed
from carft.core.files import file_digest, json_bytes
from carft.core.source import tree_digest
from carft.store.failures import Failure, each_failure
from carft.store.records import Store

NAME = "manifest.json"
SCHEMA = 2
#: packages that can change the numbers, the drawings or the text of a report
PACKAGES = ("numpy", "scipy", "pandas", "pyarrow", "matplotlib", "jinja2")
#: folders of a results folder that a report reads; it reads no weights
INPUTS = ("cells", "studies", "failures", "tasks", "cards", "methods", "suites", "predictions")


@dataclass(frozen=True)
class Manifest:
    """The content of manifest.json."""

    records: Mapping[str, str]
    """Path below the results folder -> sha256."""
    report: Mapping[str, str]
    """Path below the report folder -> sha256."""
    made_with: Mapping[str, Any]
    """Code digest, versions and machine."""

    def write(self, folder: Path) -> Path:
        """Write manifest.json."""
        path = folder / NAME
        content = {"records": self.records, "report": self.report, "made_with": self.made_with, "schema": SCHEMA}
        with path.open("w", encoding="utf-8") as file:
            json.dump(content, file, indent=0, sort_keys=True)
            file.write("\n")
        return path

    @staticmethod
    def read(folder: Path, results: str = RESULTS) -> Manifest:
        """The manifest of a report; ``UserError`` when there is none or it cannot be read. results: for its hint."""
        path, write = folder / NAME, typed("report", results=results, out=folder)
        if not path.is_file():
            raise UserError(f"'{folder}' holds no report with a manifest.", f"Write one: {write}")
        again = f"Write the report again: {write}"
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            schema = content["schema"]
            if schema != SCHEMA:
                raise UserError(f"'{path}' has manifest schema {schema}; this version reads {SCHEMA}.", again)
            made = dict(content["made_with"])
            made["packages"] = dict(made.get("packages") or {})
            return Manifest(dict(content["records"]), dict(content["report"]), made)
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise UserError(f"The manifest '{path}' cannot be read: {error}.", again) from error


def record_digests(store: Store) -> dict[str, str]:
    """sha256 of every file of a results folder that a report reads, by path; see :func:`failure_digests`."""
    paths = []
    for name in INPUTS:
        # os.walk, since tens of thousands of paths take seconds as Path objects
        for folder, _, files_here in os.walk(store.root / name):
            for file in files_here:
                if file.endswith((".json", ".parquet")):
                    paths.append(f"{folder}{os.sep}{file}")
    return digests(store.root, paths) | failure_digests(store)


def failure_digests(store: Store) -> dict[str, str]:
    """sha256 of every failure record as an archive holds it, by path; of one that cannot be read there is none."""
    found = {}
    for cell, failure in each_failure(store):
        if isinstance(failure, Failure):
            content = json_bytes(failure.published().content())
            found[f"failures/{cell}.json"] = hashlib.sha256(content).hexdigest()
    return found


def digests(root: Path, paths: Iterable[Path | str]) -> dict[str, str]:
    """Path below ``root`` -> sha256, sorted."""
    found = {}
    above = str(root / "_")[:-1]  # empty for the current folder
    for path in sorted(map(str, paths)):
        name = path.removeprefix(above).replace(os.sep, "/")
        found[name] = file_digest(Path(path))
    return found


def fingerprint(records: Mapping[str, str]) -> str:
    """One sha256 of the JSON of a map of digests."""
    return hashlib.sha256(json.dumps(records, sort_keys=True).encode()).hexdigest()


def made_with() -> dict[str, Any]:
    """Digest of all code, templates and data of ``reports``, versions and machine of this process."""
    return {
        "carft": __version__,
        "numerics": NUMERICS,
        "code": tree_digest(Path(__file__).parents[1]),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "packages": {name: version(name) for name in PACKAGES},
    }
