"""The largest files of results folders and archives that are read. A larger one is refused before it is read. No torch.

A results folder may come from someone else, and a parsed JSON file takes many times its size in memory. Sweeps write
far smaller files: see docs/results.md.
"""

from pathlib import Path

from carft.core.errors import CorruptFile
from carft.core.files import require_plain_file

MIB = 2**20
#: bytes of a JSON file; a record has 3,000
DOCUMENT = MIB
#: bytes of a JSON file that lists many things: the trials of a study, the classes of a task; of a line of a journal
LIST = 16 * MIB
#: bytes of the manifest of an archive or a report, which has one to two hundred for each file; the published audit has
#: 1,800 for each cell
MANIFEST = 192 * MIB
#: files in an archive; the published audit has 1,300
ENTRIES = 1_000_000
#: bytes of a Parquet file
TABLE = 1024 * MIB
#: classes or contexts
CLASSES = 1_000_000


def require_size(path: Path, most: int) -> None:
    """Raise ``CorruptFile`` for a file of more than ``most`` bytes, and as :func:`require_plain_file`."""
    require_count(path, require_plain_file(path).st_size, most, "bytes")


def require_count(path: Path, count: int, most: int, what: str) -> None:
    """Raise ``CorruptFile`` for more than ``most`` of something in a file. what: its plural, such as ``rows``."""
    if count > most:
        raise CorruptFile(path, f"it has {count:,} {what}, and at most {most:,} are read")
