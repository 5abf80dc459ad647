"""The same weights in another folder are the same study, and no record holds where they lie."""

from __future__ import annotations

from pathlib import Path

from carft.config.catalog import BUILT_IN
from carft.config.weights import DIGEST_MARK, located, path_in, record_form
from carft.core.files import files_below
from carft.store.archive import pack, unpack
from carft.store.records import Store
from carft.store.stored_catalog import keep_place, paths_in_records, stored_catalog
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
    assert all(s.content["pretrained"].startswith(f"w.pt{DIGEST_MARK}") for s in here.studies)
    (tmp_path / "c").mkdir()
    (tmp_path / "c/w.pt").write_bytes(b"other weights")
    changed = small(model="icons-resnet", pretrained=str(tmp_path / "c/w.pt"), tasks=["icons/transport"])
    other = Protocol(changed, Store(tmp_path / "results"))
    assert not {s.id for s in other.studies} & {s.id for s in here.studies}


def test_neither_records_nor_an_archive_hold_where_weights_lie(tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    protocol = Protocol(recipe_of(tmp_path / "secret-folder/w.pt"), store)
    Crew(store).work(protocol)
    protocol.write_studies()
    keep_place(store, protocol.studies[0].cell({"lr": 1e-3}, 0))
    assert list(stored_catalog(store, BUILT_IN).weights.values()) == [str(tmp_path / "secret-folder/w.pt")]
    assert paths_in_records(store) == []
    pack(store, tmp_path / "a.zip")
    unpack(tmp_path / "a.zip", tmp_path / "published")
    texts = [tmp_path / "published" / name for name in files_below(tmp_path / "published", ("",))]
    assert len(texts) > 10 and not any(b"secret-folder" in path.read_bytes() for path in texts)
    record = next(r for r in store.records() if r.cell.method == "ft")
    assert located(record.cell.model, record.cell.pretrained, store.catalog.weights)[1].startswith(
        str(tmp_path / "secret-folder")
    )


def test_a_model_folder_is_named_without_its_path_and_found_again() -> None:
    folder = "local-dir:/home/lab/clip"
    assert record_form(folder, f"{folder}{DIGEST_MARK}{DIGEST}") == (
        "local-dir:clip",
        f"local-dir:clip{DIGEST_MARK}{DIGEST}",
    )
    assert record_form(folder, folder) == (folder, folder) and path_in(folder, folder) == "/home/lab/clip"
    there, lies = "local-dir:/mnt/clip", {DIGEST: "/mnt/clip"}
    named = record_form(folder, f"{folder}{DIGEST_MARK}{DIGEST}")
    assert located(*named, lies) == (there, f"{there}{DIGEST_MARK}{DIGEST}")
    assert record_form("ViT-B-16", "openai") == located("ViT-B-16", "openai", lies) == ("ViT-B-16", "openai")
    assert path_in("hf-hub:org/model", "hf-hub:org/model") == ""
