"""The manifest of a report: digests of its inputs and outputs, and the versions that made it."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from carft import NUMERICS, __version__
from carft.core.commands import typed
from carft.core.errors import UserError
from carft.core.files import file_digest
from carft.core.source import tree_digest
from carft.store.records import Store

NAME = "manifest.json"
SCHEMA = 2
#: folders of which a manifest of schema 1 does not speak
NOT_IN_FIRST = ("tasks", "cards", "methods", "suites")
#: packages that can change the numbers, the drawings or the text of a report
PACKAGES = ("numpy", "scipy", "pandas", "pyarrow", "matplotlib", "jinja2")
#: files that a report reads in a results folder, in addition to unsealed.jsonl; it reads no weights
INPUTS: Mapping[str, tuple[str, ...]] = {
    "cells": (".json", ".parquet"),
    "studies": (".json",),
    "failures": (".json",),
    "tasks": (".json",),
    "cards": (".json",),
    "methods": (".json",),
    "suites": (".json",),
    "predictions": (".parquet",),
}


@dataclass(frozen=True)
class Manifest:
    """The content of manifest.json."""

    records: Mapping[str, str]
    """Path below the results folder -> sha256."""
    report: Mapping[str, str]
    """Path below the report folder -> sha256."""
    made_with: Mapping[str, Any]
    """Code digest, versions and machine."""
    schema: int = SCHEMA

    @property
    def fingerprint(self) -> str:
        """One digest of all records."""
        return fingerprint(self.records)

    def write(self, folder: Path) -> Path:
        """Write manifest.json."""
        path = folder / NAME
        path.write_text(json.dumps(asdict(self), indent=0, sort_keys=True) + "\n", encoding="utf-8")
        return path

    @staticmethod
    def read(folder: Path) -> Manifest:
        """The manifest of a report; ``UserError`` when there is none or it cannot be read."""
        path, write = folder / NAME, typed("report", out=folder)
        if not path.is_file():
            raise UserError(f"'{folder}' holds no report with a manifest.", f"Write one: {write}")
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if (schema := content["schema"]) not in (1, SCHEMA):
                raise UserError(
                    f"'{path}' has manifest schema {schema}; this version reads 1 and {SCHEMA}.",
                    f"Write the report again: {write}",
                )
            return Manifest(dict(content["records"]), dict(content["report"]), dict(content["made_with"]), schema)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"The manifest '{path}' cannot be read: {error}.", f"Write the report again: {write}"
            ) from error


def record_digests(store: Store, schema: int = SCHEMA) -> dict[str, str]:
    """sha256 of every file of a results folder that a report reads, by path. schema: of the manifest it is for."""
    paths = [str(store.root / "unsealed.jsonl")] if (store.root / "unsealed.jsonl").is_file() else []
    for name, endings in ((n, e) for n, e in INPUTS.items() if schema > 1 or n not in NOT_IN_FIRST):
        # os.walk, since tens of thousands of paths take seconds as Path objects
        for folder, _, files_here in os.walk(store.root / name):
            paths += [f"{folder}{os.sep}{file}" for file in files_here if file.endswith(endings)]
    return _digests(str(store.root), paths)


def digests(root: Path, paths: Iterable[Path]) -> dict[str, str]:
    """Path below ``root`` -> sha256, sorted."""
    return _digests(str(root), map(str, paths))


def _digests(root: str, paths: Iterable[str]) -> dict[str, str]:
    wanted = sorted(paths)
    names = [path[len(root) :].lstrip(os.sep).replace(os.sep, "/") for path in wanted]
    return dict(zip(names, map(file_digest, map(Path, wanted)), strict=True))


def fingerprint(records: Mapping[str, str]) -> str:
    """One sha256 of a map of digests."""
    return hashlib.sha256(json.dumps(dict(records), sort_keys=True).encode()).hexdigest()


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
