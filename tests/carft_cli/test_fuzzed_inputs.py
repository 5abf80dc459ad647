"""Files that a person writes: recipes and notes beside a folder of images. Whatever is in them, a reader answers or
refuses in words."""

from __future__ import annotations

import json
from contextlib import suppress
from importlib.resources import files
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from carft.config.catalog import BUILT_IN
from carft.config.cell import Cell
from carft.core.errors import UserError
from carft.data.fixtures import picture
from sweeps.recipes import Recipe, parse_recipe
from tests.carft.store.test_fuzzed_files import changed, near_misses, restored
from tests.support.folder import Folder

RECIPE = files("sweeps.recipes").joinpath("readings.yaml").read_text(encoding="utf-8")
STEMS = {"train": ["a", "b"], "val": ["c"], "test": ["d"]}
NOTES = {
    "split.json": STEMS,
    "classnames.json": {"cat": "a cat", "dog": "a dog"},
    "contexts.json": {"photo": "a photo of {}", "sketch": "a sketch of {}"},
}
NONSENSE = [b"[" * 100_000, b"1" * 10_000, b"\xff\xfe", b"", b'{"a": "\\ud800"}', b"null", b"{}"]


@st.composite
def recipes(draw: st.DrawFn) -> str:
    """A recipe with something changed, or any text at all."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.text(max_size=60))
    return yaml.safe_dump(changed(draw, yaml.safe_load(RECIPE)), allow_unicode=True)


@settings(max_examples=150)
@given(text=recipes())
def test_a_recipe_is_read_or_refused(text: str) -> None:
    with suppress(UserError):
        recipe = parse_recipe(text, "own.yaml", catalog=BUILT_IN)
        assert isinstance(recipe, Recipe)
        recipe.changed()


@pytest.mark.parametrize("text", ["[" * 5000, "a: &a [*a]", "a: !!python/object/apply:os.getcwd []", "{", "\0", "1: 2"])
def test_a_recipe_of_nonsense_is_refused(text: str) -> None:
    with pytest.raises(UserError):
        parse_recipe(text, "own.yaml", catalog=BUILT_IN)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two domains, two classes, four images each, and every note."""
    root = tmp_path_factory.mktemp("tree")
    for domain in ("photo", "sketch"):
        for name in ("cat", "dog"):
            for stem in "abcd":
                path = root / domain / name / f"{stem}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                picture(0).save(path)
    for name, content in NOTES.items():
        (root / name).write_text(json.dumps(content))
    return root


def read_tree(tree: Path) -> None:
    chosen = BUILT_IN.card(f"folder:{tree}")
    assert all(isinstance(word, str) for word in (*chosen.classes, *chosen.contexts))
    BUILT_IN.require_present(chosen.name, Folder())
    assert Cell(chosen.name, chosen.version, "m", "p", "ft").id


@pytest.mark.parametrize("name", NOTES)
@settings(max_examples=80)
@given(data=st.data())
def test_a_note_beside_a_folder_is_read_or_refused(tree: Path, name: str, data: st.DataObject) -> None:
    def use() -> None:
        with suppress(UserError):
            read_tree(tree)

    restored(tree / name, data.draw(near_misses(NOTES[name])), use)


@pytest.mark.parametrize("content", NONSENSE)
@pytest.mark.parametrize("name", NOTES)
def test_a_note_of_nonsense_is_read_or_refused(tree: Path, name: str, content: bytes) -> None:
    def use() -> None:
        with suppress(UserError):
            read_tree(tree)

    restored(tree / name, content, use)
