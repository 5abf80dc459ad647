"""Base class of the JSON files of a results folder, and the one function that reads such a file. No torch."""

import json
import sys
import time
from functools import cache
from pathlib import Path
from sys import intern
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, TypeAdapter, ValidationError

from carft.core.errors import RUN_AGAIN, CorruptFile, UserError
from carft.core.files import read_plain

#: A string that many files repeat, such as the id of a cell. Equal strings share one object in memory.
Shared = Annotated[str, AfterValidator(intern)]
#: A finite number. It stays an int or a float, as it was written, so that a file is written back unchanged.
Number = Annotated[int | float, Field(ge=-sys.float_info.max, le=sys.float_info.max)]
Metrics = dict[str, Number]
#: errors of a schema version, the first field of a file, that this version does not read
OUT_OF_RANGE = ("greater_than_equal", "less_than_equal")


_encoder = json.JSONEncoder(allow_nan=False)  # to make one takes longer than to use it


def _writable(value: JsonValue) -> JsonValue:
    if not isinstance(value, str) and not isinstance(value, int):
        _encoder.encode(value)  # ValueError for a number that is not finite
    return value


#: any value that JSON can hold; a number must be finite
Json = Annotated[JsonValue, AfterValidator(_writable)]


_LIST: list[Any] = []
_DICT: dict[str, Any] = {}


def empty_list() -> list[Any]:
    """The default of lists that are nearly always empty: one object for all documents, which saves memory."""
    return _LIST


def empty_dict() -> dict[str, Any]:
    """The same of dictionaries."""
    return _DICT


def utc_now() -> str:
    """The time now, in UTC, as ISO 8601."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


#: field that several files have -> its meaning
FIELDS = {
    "by": "Command that evaluated the cell, such as ``sweep``.",
    "cell": "Id of the cell.",
    "confirm": "Its confirm cells: the winner with fresh seeds.",
    "job": "Kind of the job: ``search``, ``grid``, ``confirm``, ``curve``, ``soup`` or ``oracle``.",
    "method": "Name of the method.",
    "numerics": "``NUMERICS`` of the code.",
    "provenance": "Versions, hardware, execution, digests of data and weights.",
    "search": "Number among the independent searches of the same task, method and reading, from 1.",
    "set": "Held-out set: ``test`` or ``ood/<suite>``.",
    "study": "Id of the study.",
    "task": "Name of the task.",
    "when": "Time in UTC, as ISO 8601.",
}


class Document(BaseModel):
    """A JSON file, or a part of one. A field without words below it is one of :data:`FIELDS`, or the setting of this
    name (docs/settings.md).

    Types are checked and never converted. A missing optional key gets its default. An unknown key is kept, and written
    back by :meth:`content`.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="allow", allow_inf_nan=False, populate_by_name=True)
    __pydantic_extra__: dict[str, Json] = Field(init=False)

    hint: ClassVar[str] = RUN_AGAIN
    """What the user can do when the file is corrupt."""

    def content(self) -> dict[str, Any]:
        """The JSON object of the file: the keys that were read or set, none with a mere default."""
        return self.model_dump(by_alias=True, exclude_unset=True)


Model = TypeVar("Model")
_validator = cache(TypeAdapter)  # to make one takes longer than to read a file


def read_document(path: Path, model: type[Model]) -> Model:
    """Read a JSON file of a document or another type.

    Raises as :func:`parse_document`, and ``CorruptFile`` for a file that cannot be read.
    """
    try:
        content = read_plain(path)
    except OSError as error:
        raise CorruptFile(path, str(error), getattr(model, "hint", RUN_AGAIN)) from error
    return parse_document(content, model, path)


def parse_document(content: bytes | str, model: type[Model], path: Path) -> Model:
    """Validate the content of a JSON file. ``path`` is named in the error.

    Raises ``CorruptFile`` if the content is not JSON, or lacks something that ``model`` requires, and ``UserError`` if
    it has another schema version.
    """
    try:
        return _validator(model).validate_json(content)  # type: ignore[arg-type]  # a class can be hashed
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        if first["loc"][:1] in (("schema",), ("schema_version",)) and first["type"] in OUT_OF_RANGE:
            words = f"'{path}' has schema version {first['input']}; {first['msg'].replace('Input', 'it')}."
            raise UserError(words, "Read it with the carft that wrote it, or run the sweep again.") from error
        where, why = ".".join(map(str, first["loc"])), first["msg"].removeprefix("Value error, ")
        hint = getattr(model, "hint", RUN_AGAIN)
        raise CorruptFile(path, f"{where}: {why}" if where else why, hint) from error
