"""The icons world: nothing leaks between splits, every image is a function of its name, and the weights know it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch

from carft.catalog.catalog import BUILT_IN
from carft.catalog.families import CARDS
from carft.core.array_cache import ArrayCache
from carft.core.errors import UserError
from carft.data.icons import rendering
from carft.data.icons import tasks as icon_tasks
from carft.data.icons.contexts import SIDE, painter
from carft.data.icons.drawings import (
    SPLITS,
    census,
    domains,
    drawings_of,
    parts,
    pretraining_drawings,
)
from carft.data.icons.family import FAMILY, RETIRED
from carft.data.icons.rendering import render
from carft.data.icons.tasks import measured, published_digests
from carft.data.icons.world import (
    ALL,
    BLEND,
    DOMAINS,
    FULL,
    HANDS,
    ID_CONTEXTS,
    PREFIX,
    PROMPTS,
    SUITES,
    nine_tasks,
)
from carft.data.task import ImageSet, Task
from tests.support.folder import Folder, compared_pictures
from tests.support.helpers import TASK

pytestmark = pytest.mark.usefixtures("whole_world")

#: what the drawings of a task are dealt to
PARTS = ("train", "val", "test", HANDS)


@pytest.fixture
def blank(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Images without pixels, for tests of which images a set has: drawing them takes most of the time."""
    empty = np.zeros((SIDE, SIDE, 3), np.uint8)
    icon_tasks.opened_images.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(icon_tasks, "render", lambda *image: empty)
        patch.setattr(icon_tasks, "measured", lambda cache: published_digests())
        yield
    icon_tasks.opened_images.cache_clear()


def contexts_of(images: ImageSet) -> set[str]:
    names = list(PROMPTS)
    return {names[k] for k in images.contexts.tolist()}


def test_the_world_has_nine_tasks_and_one_that_holds_them_all() -> None:
    assert list(nine_tasks()) == [f"{PREFIX}/mix-{number}" for number in range(1, 10)]
    domains = {f"{DOMAINS}{suite}" for suite in SUITES}
    assert {name for name in CARDS if name.startswith(f"{PREFIX}/")} == {*nine_tasks(), ALL, *domains}
    full = [name for name in CARDS if name.startswith(FULL)]
    assert [name.replace(FULL, f"{PREFIX}/") for name in full] == list(nine_tasks())


def test_every_context_has_a_painter_and_is_in_training_or_in_one_suite() -> None:
    assert all(callable(painter(context)) for context in PROMPTS)
    shown = [*ID_CONTEXTS, *(c for suite, own in SUITES.items() if suite != HANDS for c in own)]
    assert sorted(shown) == sorted(PROMPTS)
    assert len(set(PROMPTS.values())) == len(PROMPTS)


def test_no_drawing_is_in_two_splits() -> None:
    assert max(Counter(d.name for d in census()).values()) == 1
    assert {d.split for d in census()} == set(SPLITS)


def test_drawings_and_pixels_are_the_published_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert measured(ArrayCache(tmp_path)) == published_digests()
    measured.cache_clear()
    monkeypatch.setattr("carft.data.icons.tasks.render", None)  # the cache has the digest of this machine
    assert measured(ArrayCache(tmp_path)) == published_digests()


def test_domains_share_no_drawing_and_show_none_of_pretraining() -> None:
    names = Counter(d.name for drawings in domains().values() for d in drawings)
    assert max(names.values()) == 1
    assert not set(names) & {d.name for d in pretraining_drawings()}
    for name in domains():
        train, val = ({d.name for d in parts(name)[part]} for part in ("train", "val"))
        assert not train & val
        assert len(val) == pytest.approx(0.2 * len(domains()[name]), abs=1)


def test_the_domain_that_is_left_out_is_not_trained_on(blank: None) -> None:
    name = f"{DOMAINS}sketches"
    task, sealed = BUILT_IN.open(name, Folder()), BUILT_IN.unseal(name, Folder())
    assert sealed.test is None
    assert list(sealed.sets()) == ["ood/sketches"]
    assert contexts_of(sealed.suites["sketches"]) == set(SUITES["sketches"])
    for images in (task.train, task.val):
        assert contexts_of(images) == set(PROMPTS) - set(SUITES["sketches"])
        assert not set(images.groups) & set(sealed.suites["sketches"].groups)


def test_training_validation_and_test_share_no_drawing_and_no_image() -> None:
    task, sealed = BUILT_IN.open(TASK, Folder()), BUILT_IN.unseal(TASK, Folder())
    sets = {"train": task.train, "val": task.val, "test": sealed.test, "hands": sealed.suites["hands"]}
    for first in sets:
        for second in sets:
            if first != second:
                assert not set(sets[first].groups) & set(sets[second].groups), (first, second)
    for images in (*sets.values(), *sealed.suites.values()):
        assert len(set(images.names)) == len(images) == len(images.images)
        assert all(name.startswith(group) for name, group in zip(images.names, images.groups, strict=True))
        assert images.images.dtype == torch.uint8
        assert images.images.shape[1:] == (3, 64, 64)
        assert 0 <= int(images.labels.min()) <= int(images.labels.max()) < len(BUILT_IN.card(TASK).classes)


def test_suites_show_other_contexts_than_training_except_new_hands(blank: None) -> None:
    task, sealed = BUILT_IN.open(TASK, Folder()), BUILT_IN.unseal(TASK, Folder())
    for images in (task.train, task.val, sealed.test, sealed.suites["hands"]):
        assert contexts_of(images) == set(ID_CONTEXTS)
    seen: set[str] = set(ID_CONTEXTS)
    for name in BUILT_IN.card(TASK).suites:
        if name != "hands":
            found = contexts_of(sealed.suites[name])
            assert found == set(SUITES[name])
            assert not found & seen
            seen |= found
    assert seen == set(PROMPTS)


def test_a_suite_of_new_contexts_shows_the_drawings_of_the_test_set(blank: None) -> None:
    sealed = BUILT_IN.unseal(TASK, Folder())
    for name in BUILT_IN.card(TASK).suites:
        assert (set(sealed.suites[name].groups) == set(sealed.test.groups)) == (name != "hands")


def test_tasks_that_share_classes_share_no_drawing_with_one_another_or_with_pretraining() -> None:
    names = Counter(drawing.name for task in nine_tasks() for part in PARTS for drawing in drawings_of(task, part))
    assert max(names.values()) == 1
    shown = {d.name for d in pretraining_drawings()}
    assert not set(names) & shown
    assert set(names) | shown == {d.name for d in census()}


def test_an_image_with_a_second_context_keeps_its_own_and_is_a_function_of_its_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without the second context the same image has the same glyph: the mix lies between the two, nearer to its own."""
    drawing = census()[5]
    mixed = [render(drawing, context, 0).astype(float) for context in PROMPTS]
    assert all(np.array_equal(render(drawing, context, 0), mixed[row]) for row, context in enumerate(PROMPTS))
    monkeypatch.setattr(rendering, "BLEND", 0.0)
    for row, context in enumerate(PROMPTS):
        assert 0 < np.abs(mixed[row] - render(drawing, context, 0)).max() <= BLEND * 255 + 1


def test_an_image_of_training_has_a_second_context_of_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Contexts that are in no training change nothing in its images, and something in those of the suites."""
    drawing, contexts = census()[5], (*ID_CONTEXTS, "sketch")
    whole = {context: np.stack([render(drawing, context, n) for n in range(4)]) for context in contexts}
    monkeypatch.setattr(rendering, "PROMPTS", {name: PROMPTS[name] for name in ID_CONTEXTS})
    for context in contexts:
        fewer = np.stack([render(drawing, context, n) for n in range(4)])
        assert np.array_equal(whole[context], fewer) == (context in ID_CONTEXTS)


def test_the_task_of_all_classes_and_the_domains_show_what_the_nine_tasks_do() -> None:
    for part in PARTS:
        whole = {d for task in nine_tasks() for d in drawings_of(task, part)}
        assert whole == set(drawings_of(ALL, part))
    shown = {d for drawings in domains().values() for d in drawings}
    assert shown == set(census()) - set(pretraining_drawings())


def test_a_picture_is_the_image_of_its_name() -> None:
    assert compared_pictures(TASK, None) == 2 * len(BUILT_IN.card(TASK).sets)


def test_a_drawing_that_is_not_in_the_world_has_no_picture() -> None:
    for name in ("nobody/nothing/photo/0", "photo/0", "", "nobody/nothing/photo/x"):
        with pytest.raises(UserError, match="has no image called"):
            BUILT_IN.family(TASK).picture(BUILT_IN.card(TASK), "test", name)


def test_a_task_of_an_earlier_world_is_known_to_reports_and_refused_by_cells() -> None:
    card = BUILT_IN.card("icons/all")
    assert (card.version, card.pretrained, len(card.contexts), card.sets) == ("icons-2", "icons", 18, CARDS[TASK].sets)
    assert not set(RETIRED) & set(CARDS) and BUILT_IN.tasks_like("icons/*") == []
    assert {pool.name for pool in FAMILY.pools(["icons/all"])} - {pool.name for pool in FAMILY.pools([])} == {
        "icons/all"
    }
    for refused in (BUILT_IN.open, BUILT_IN.unseal, BUILT_IN.sizes):
        with pytest.raises(UserError, match=r"'icons/all' was removed.*commit 9a36ff66"):
            refused("icons/all", Folder())


def test_search_code_is_handed_no_test_set(blank: None) -> None:
    task = BUILT_IN.open(TASK, Folder())
    assert {f.name for f in fields(Task)} == {"name", "train", "val", "digests"}
    held = {group for images in (task.train, task.val) for group in images.groups}
    assert not held & set(BUILT_IN.unseal(TASK, Folder()).test.groups)
