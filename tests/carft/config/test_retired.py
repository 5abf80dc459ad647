"""Methods that were removed: they are known to reports, and refused where they would be trained."""

from __future__ import annotations

import pytest

from carft.catalog.catalog import BUILT_IN
from carft.config.registry import METHODS
from carft.config.retired import RETIRED_METHODS
from carft.core.errors import UserError
from sweeps.recipes.loading import load_recipe
from tests.support.helpers import run_cli


@pytest.mark.parametrize("name", RETIRED_METHODS)
def test_a_removed_method_is_known_and_neither_listed_nor_run(name: str) -> None:
    assert name not in METHODS and BUILT_IN.methods[name].label == RETIRED_METHODS[name].label
    assert name not in run_cli("ls", "methods").stdout
    commit = RETIRED_METHODS[name].removed_at
    with pytest.raises(UserError, match=f"'{name}' was removed") as refused:
        load_recipe("miniature").changed(methods=["ft", name])
    assert commit in str(refused.value.hint)
    trained = run_cli("train", "--task", "icons/all", "--method", name, "--lr", "1e-3", "--kl-weight", "1")
    assert trained.returncode == 2 and commit in trained.stderr and "Traceback" not in trained.stderr
