"""Settings that are declared once: options, checks of YAML files, refusals and the docs' tables are made from them.

A class of settings is a frozen dataclass of pydantic, with fields ``name: Annotated[type, Field(ge=...,
description=...)]``.
A field with a description is an option of the command line and a row of docs/settings.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import UnionType
from typing import Any, ClassVar, Literal, Union, cast, get_args, get_origin

from pydantic import ConfigDict, GetCoreSchemaHandler, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, core_schema

from carft.core.errors import UserError

#: unknown keys are refused, and no value is converted but whole numbers; a validator is built when it is first used
CHECKED = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, defer_build=True)
#: the same of a model
STRICT = ConfigDict(**CHECKED, frozen=True)
#: what pydantic writes before the message of a check of one's own
RAISED = "Value error, "
#: error of pydantic for a value of another type -> what the value must be
EXPECTED = {
    "model_type": "keys with values",
    "dict_type": "keys with values",
    "dataclass_type": "keys with values",
    "list_type": "a list",
    "string_type": "text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
}


class Refusing(type):
    """Makes objects as usual, with ``UserError`` in place of pydantic's error."""

    def __call__(cls, *args: Any, **values: Any) -> Any:
        try:
            return super().__call__(*args, **values)
        except ValidationError as error:
            raise refusal(error) from None


class Settings(metaclass=Refusing):
    """Base of a class of settings. A value that the declaration does not allow raises ``UserError``."""

    __pydantic_config__: ClassVar[ConfigDict] = CHECKED

    def as_dict(self) -> dict[str, Any]:
        """The settings as values of JSON."""
        return dict(vars(self))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        """In a YAML file the settings are a section with their names as keys."""
        values = core_schema.plain_serializer_function_ser_schema(lambda settings: settings.as_dict())
        return cast(core_schema.CoreSchema, {**handler(source), "strict": False, "serialization": values})


def described(kind: Any) -> dict[str, FieldInfo]:
    """Name -> declaration of the settings that are options of the command line."""
    declared = getattr(kind, "__pydantic_fields__", None) or dataclass(frozen=True)(kind).__pydantic_fields__
    return {name: field for name, field in declared.items() if field.description}


def plain_type(annotation: Any) -> Any:
    """A type without ``None``."""
    if get_origin(annotation) in (Union, UnionType):
        return next(kind for kind in get_args(annotation) if kind is not type(None))
    return annotation


def choices(field: FieldInfo) -> tuple[str, ...]:
    """The values of a setting that takes one of several names; empty for any other."""
    kind = plain_type(field.annotation)
    if get_origin(kind) is not Literal:
        return ()
    return get_args(kind)


def requirement(error: ErrorDetails) -> str:
    """What a value that pydantic refused must be, such as ``it must be a whole number``."""
    expected = EXPECTED.get(error["type"])
    if expected:
        return f"it must be {expected}"
    return error["msg"].replace("Input should", "it must")


def refusal(error: ValidationError) -> UserError:
    """The first of the values that pydantic refused, in words."""
    first = error.errors()[0]
    if first["type"] == "value_error":
        return UserError(f"{first['msg'].removeprefix(RAISED)}.")
    name = str(first["loc"][0]).replace("_", " ")
    if first["type"] == "missing":
        return UserError(f"The {name} is missing.")
    if first["type"] == "unexpected_keyword_argument":
        return UserError(f"There is no setting '{name}'.")
    return UserError(f"The {name} {requirement(first).removeprefix('it ')}, not {first['input']!r}.")


def require_allowed(kind: Any, values: Mapping[str, Any]) -> None:
    """Raise ``UserError`` for the first of these values that its declaration in the class ``kind`` does not allow."""
    try:
        TypeAdapter(kind).validate_python(values)
    except ValidationError as error:
        raise refusal(error) from None


def without(values: Mapping[str, Any], left_out: Mapping[str, Any]) -> dict[str, Any]:
    """The values by name, without those that are as in ``left_out``."""
    kept = {}
    for name, value in values.items():
        if name not in left_out or value != left_out[name]:
            kept[name] = value
    return kept
