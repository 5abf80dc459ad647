"""Shards unpacked into a folder of classes on a local disk: resumable, each image once, with a digest. No torch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, unquote

from pyarrow.fs import FileSystem
from pydantic import BaseModel, ConfigDict, ValidationError

from carft.core.errors import UserError
from carft.core.files import file_digest, write_json
from carft.data.shards import Labels, Shard, images_of

#: folder of the lists of staged images, in the target; hidden, so that readers of the tree do not see it
LISTS = ".carft-stage"
#: shards that are read at a time
THREADS = 4


class StagedImage(BaseModel):
    """Size and digest of an image file."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    size: int
    sha256: str


class StagedShard(BaseModel):
    """The list of a shard whose images are all on disk. labels: digest of how its classes were named. images: path
    below the target -> size and digest.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    shard: str
    size: int
    labels: str
    images: dict[str, StagedImage]


@dataclass
class Staging:
    """Writes the images of shards below a folder."""

    files: FileSystem
    target: Path
    labels: Labels
    log: Callable[[str], None] = print
    _shard_of: dict[str, str] = field(default_factory=dict)

    def run(self, shards: Sequence[Shard]) -> tuple[list[StagedShard], int]:
        """Unpack the shards that are not on disk; returns the lists of all, and the number of new ones.

        Raises:
            UserError: A shard cannot be read, the target holds images of other shards, or two shards hold one path.
        """
        self._require_own(shards)
        with _writing(self.target):
            (self.target / LISTS).mkdir(parents=True, exist_ok=True)
        here = {shard.name: found for shard in shards if (found := self.staged(shard))}
        for found in here.values():
            self._shard_of |= dict.fromkeys(found.images, found.shard)
        left = [shard for shard in shards if shard.name not in here]
        with ThreadPoolExecutor(THREADS) as pool:
            futures = [pool.submit(self._unpack, shard) for shard in left]
            try:
                for number, future in enumerate(futures, 1):
                    new = future.result()
                    here[new.shard] = new
                    self.log(f"{number}/{len(left)} shards: {new.shard}, {len(new.images):,} images")
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        return [here[shard.name] for shard in shards], len(left)

    def staged(self, shard: Shard) -> StagedShard | None:
        """The list of a shard, if all its images are on disk with their sizes; None otherwise.

        Raises ``UserError`` when its classes were named in another way.
        """
        try:
            found = StagedShard.model_validate_json(self._list(shard.name).read_bytes())
        except (OSError, ValidationError):
            return None
        if found.labels != self.labels.digest:
            raise UserError(
                f"'{self.target}' was staged with other --classes, --devkit or --label.",
                "Give the same, or another folder.",
            )
        whole = found.size == shard.size and all(
            path.is_file() and path.stat().st_size == image.size
            for name, image in found.images.items()
            for path in [self.target / name]
        )
        return found if whole else None

    def _require_own(self, shards: Sequence[Shard]) -> None:
        own = {self._list(shard.name).name for shard in shards}
        if other := sorted(path.name for path in (self.target / LISTS).glob("*.json") if path.name not in own):
            raise UserError(
                f"'{self.target}' holds images of another shard: '{unquote(other[0].removesuffix('.json'))}'.",
                "Name another folder, or the source that holds all its shards.",
            )

    def _list(self, shard: str) -> Path:
        return self.target / LISTS / f"{quote(shard, safe='')}.json"

    def _unpack(self, shard: Shard) -> StagedShard:
        images = {}
        for name, content in images_of(self.files, shard, self.labels):
            self._claim(name, shard.name, again=name in images)
            _write(self.target / name, content)
            images[name] = StagedImage(size=len(content), sha256=hashlib.sha256(content).hexdigest())
        if not images:
            raise UserError(f"'{shard.name}' holds no image.")
        done = StagedShard(shard=shard.name, size=shard.size, labels=self.labels.digest, images=images)
        with _writing(self.target):
            write_json(self._list(shard.name), done.model_dump())
        return done

    def _claim(self, image: str, shard: str, again: bool) -> None:
        other = self._shard_of.setdefault(image, shard)  # one step for threads
        if other != shard or again:
            raise UserError(
                f"Two images have the path '{image}': in '{other}' and '{shard}'.",
                "Rename one of them: images of one class need different names.",
            )


def changed(target: Path, staged: Sequence[StagedShard]) -> list[str]:
    """Paths of the staged images whose bytes differ from what their shard held."""
    listed = ((target / name, image) for shard in staged for name, image in shard.images.items())
    return [str(path) for path, image in listed if file_digest(path) != image.sha256]


def _write(path: Path, content: bytes) -> None:
    part = path.with_name(f".{path.name}.part")
    with _writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(content)
        part.replace(path)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turn an error of the disk that is written to into a ``UserError``; one of the source keeps its own type."""
    try:
        yield
    except OSError as error:
        raise UserError(f"'{path}' cannot be written: {error.strerror}.", "Then the same command goes on.") from error
