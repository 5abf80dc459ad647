"""The same weights in another folder are the same study, and studies that hold a path are gone on with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from carft.core.files import files_below
from carft.spec.study import identity, sampler_seed, study_id
from carft.spec.weights import DIGEST_MARK, declare_places, located, path_in, record_form
from carft.store.archive import pack, unpack
from carft.store.records import Store
from carft.store.weights_places import keep_places, paths_in_records, place_of, places
from reports.verify import _identity
from sweeps.search import protocol
from sweeps.search.protocol import Protocol
from tests.sweeps.search.test_protocol import Crew, small

DIGEST = 64 * "a"


def recipe_of(weights: Path, **change: object):
    """A small recipe on a weights file with the content that all files here have."""
    weights.parent.mkdir(parents=True, exist_ok=True)
    weights.write_bytes(b"weights")
    return small(model="icons-resnet", pretrained=str(weights), tasks=["icons/transport"], **change)


def test_the_same_weights_in_another_folder_are_the_same_studies(tmp_path: Path) -> None:
    here, there, renamed = (
        Protocol(recipe_of(tmp_path / name), Store(tmp_path / "results")) for name in ("a/w.pt", "b/w.pt", "b/v.pt")
    )
    assert [s.id for s in here.studies] == [s.id for s in there.studies] == [s.id for s in renamed.studies]
    assert [s.seed for s in here.studies] == [s.seed for s in there.studies] == [s.seed for s in renamed.studies]
    assert all(s.content["pretrained"].startswith(f"w.pt{DIGEST_MARK}") for s in here.studies)
    (tmp_path / "c").mkdir()
    (tmp_path / "c/w.pt").write_bytes(b"other weights")
    changed = small(model="icons-resnet", pretrained=str(tmp_path / "c/w.pt"), tasks=["icons/transport"])
    other = Protocol(changed, Store(tmp_path / "results"))
    assert not {s.id for s in other.studies} & {s.id for s in here.studies}


def test_a_study_that_holds_the_path_of_its_weights_is_gone_on_with_wherever_they_lie(tmp_path: Path) -> None:
    """Earlier versions counted the path in id and seed."""
    store, recipe = Store(tmp_path / "results"), recipe_of(tmp_path / "a/w.pt")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            protocol, "normalize_studies", lambda studies, _: [replace(s, start=_with_path(s)) for s in studies]
        )
        before = Protocol(recipe, store)
    assert not {s.id for s in before.studies} & {s.id for s in Protocol(recipe, store).studies}
    Crew(store).work(before)
    before.write_studies()
    again = Protocol(recipe_of(tmp_path / "elsewhere/w.pt"), store)
    assert [s.id for s in again.studies] == [s.id for s in before.studies] and again.next_job() is None
    assert {s.id for s in store.studies()} == {s.id for s in before.studies}
    # a method that is searched later draws the same learning rates as those on disk
    more = Protocol(recipe_of(tmp_path / "elsewhere/w.pt", methods=["ft", "kd"]), store)
    assert len({s.seed for s in more.studies}) == 1 and more.studies[0].seed == before.studies[0].seed
    for study in store.studies():
        assert path_in(study.model, study.pretrained) == str(tmp_path / "a/w.pt")
        assert study_id(identity(study.content())) == study.id
        assert sampler_seed(identity(study.content()), study.training.content()) == study.seed
        assert not list(_identity(study, {r.id: r for r in store.records()}, store.studies()))


def _with_path(study) -> tuple[str, str]:
    cell = study.cell({name: limits.first_guess for name, limits in study.space.items()}, 0)
    return cell.model, cell.pretrained


def test_neither_records_nor_an_archive_hold_where_weights_lie(tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    protocol = Protocol(recipe_of(tmp_path / "secret-folder/w.pt"), store)
    Crew(store).work(protocol)
    protocol.write_studies()
    keep_places(store, place_of(protocol.studies[0].cell({"lr": 1e-3}, 0)))
    assert list(places(store).values()) == [str(tmp_path / "secret-folder/w.pt")]
    assert paths_in_records(store) == []
    pack(store, tmp_path / "a.zip")
    unpack(tmp_path / "a.zip", tmp_path / "published")
    texts = [tmp_path / "published" / name for name in files_below(tmp_path / "published", ("",))]
    assert len(texts) > 10 and not any(b"secret-folder" in path.read_bytes() for path in texts)
    record = next(r for r in store.records() if r.cell.method == "ft")
    assert located(record.cell.model, record.cell.pretrained)[1].startswith(str(tmp_path / "secret-folder"))


def test_a_model_folder_is_named_without_its_path_and_found_again() -> None:
    folder = "local-dir:/home/lab/clip"
    assert record_form(folder, f"{folder}{DIGEST_MARK}{DIGEST}") == (
        "local-dir:clip",
        f"local-dir:clip{DIGEST_MARK}{DIGEST}",
    )
    assert record_form(folder, folder) == (folder, folder) and path_in(folder, folder) == "/home/lab/clip"
    declare_places({DIGEST: "/mnt/clip"})
    there = "local-dir:/mnt/clip"
    named = record_form(folder, f"{folder}{DIGEST_MARK}{DIGEST}")
    assert located(*named) == (there, f"{there}{DIGEST_MARK}{DIGEST}")
    assert record_form("ViT-B-16", "openai") == located("ViT-B-16", "openai") == ("ViT-B-16", "openai")
    assert path_in("hf-hub:org/model", "hf-hub:org/model") == ""
