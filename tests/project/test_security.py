"""What the code may not do: load pickles, run what it reads, unpack without care, open a port."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.helpers import ROOT

SOURCES = [ROOT / "cli.py", *(p for d in ("carft", "carft_cli", "sweeps", "reports") for p in (ROOT / d).rglob("*.py"))]
#: call -> the keyword, and its value, without which it is not allowed; None: never
CALLS: dict[str, tuple[str, object] | None] = {
    "torch.load": ("weights_only", True),
    "np.load": ("allow_pickle", False),
    "archive.extractall": ("filter", "data"),
    "yaml.load": None,
    "eval": None,
    "exec": None,
    "os.system": None,
    "socket.create_server": None,
}
MODULES = {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "http.server", "socketserver"}


def offences(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom) and node.module in MODULES:
            yield node.module
        elif isinstance(node, ast.Call):
            given = {k.arg: k.value.value for k in node.keywords if isinstance(k.value, ast.Constant)}
            if given.get("shell"):
                yield f"{ast.unparse(node.func)}(shell=True)"
            if (name := ast.unparse(node.func)) in CALLS:
                needed = CALLS[name]
                if needed is None or given.get(needed[0], ...) != needed[1]:
                    yield name


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_source_does_what_it_may_not(path: Path) -> None:
    assert list(offences(path)) == []


@pytest.mark.parametrize(
    "line",
    ["import pickle", "from pickle import loads", "torch.load(p)", "np.load(p)", "yaml.load(t)", "eval(t)",
     "subprocess.run(c, shell=True)", "archive.extractall(f)"],
)  # fmt: skip
def test_an_offence_would_be_found(line: str, tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text(line)
    assert len(list(offences(tmp_path / "bad.py"))) == 1
