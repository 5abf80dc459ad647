"""The notebook of examples/ runs, and makes the published number from the published records."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.helpers import ROOT


def test_first_look_makes_the_published_effect(capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    monkeypatch.chdir(ROOT)
    notebook = json.loads((ROOT / "examples" / "first-look.ipynb").read_text(encoding="utf-8"))
    names: dict[str, Any] = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert not cell["outputs"], "outputs are not committed"
            exec("".join(cell["source"]), names)
    assert names["effect"] == pytest.approx(100 * names["c4m"]["effect"], abs=1e-9)
    assert "published" in capsys.readouterr().out
