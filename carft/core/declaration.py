"""Settings that are declared once: options, checks of YAML files, refusals and the docs' tables are made from them.

A class of settings is a frozen dataclass whose fields are ``name: Annotated[type, Field(ge=..., description=...)]``.
A field with a description is an option of the command line and a row of docs/settings.md.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import MISSING, Field, fields
from functools import cache
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, ValidationError, create_model
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, core_schema

from carft.core.errors import UserError

#: unknown keys are refused, and no value is converted; a model is built when it is first used
STRICT = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False, defer_build=True)
#: error of pydantic for a value of another type -> what the value must be
EXPECTED = {
    "model_type": "keys with values",
    "dict_type": "keys with values",
    "list_type": "a list",
    "string_type": "text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
}


class Settings:
    """Base of a class of settings. A value that the declaration does not allow raises ``UserError``."""

    def __post_init__(self) -> None:
        require_allowed(type(self), vars(self))

    def as_dict(self) -> dict[str, Any]:
        """The settings as values of JSON."""
        return dict(vars(self))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        """In a YAML file the settings are a section with their names as keys."""
        kind: Any = cls

        def read(value: Any, validate: core_schema.ValidatorFunctionWrapHandler) -> Settings:
            if isinstance(value, cls):
                return value
            checked = validate(value)
            try:
                return cls(**{name: getattr(checked, name) for name in checked.model_fields_set})
            except UserError as error:
                raise ValueError(str(error).removesuffix(".")) from error

        return core_schema.no_info_wrap_validator_function(
            read,
            handler.generate_schema(settings_model(kind)),
            serialization=core_schema.plain_serializer_function_ser_schema(lambda settings: settings.as_dict()),
        )


@cache
def settings_model(kind: Any) -> type[BaseModel]:
    """The pydantic model of a class of settings; of a pydantic model itself."""
    if issubclass(kind, BaseModel):
        return kind
    hints = get_type_hints(kind, include_extras=True)
    members: dict[str, Any] = {f.name: (hints[f.name], _default(f)) for f in fields(kind)}
    return create_model(kind.__name__, __config__=STRICT, **members)


def _default(field: Field) -> Any:
    if field.default_factory is not MISSING:
        return field.default_factory()
    return ... if field.default is MISSING else field.default


def described(kind: Any) -> dict[str, FieldInfo]:
    """Name -> declaration of the settings that are options of the command line."""
    return {name: field for name, field in settings_model(kind).model_fields.items() if field.description}


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


def require_allowed(kind: Any, values: Mapping[str, Any]) -> None:
    """Raise ``UserError`` for the first of these values that its declaration in the class ``kind`` does not allow."""
    try:
        settings_model(kind).model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]).replace("_", " ")
        words = requirement(first).removeprefix("it ")
        raise UserError(f"The {name} {words}, not {first['input']!r}.") from None


def without_defaults(settings: Any, optional: Collection[str]) -> dict[str, Any]:
    """The fields of a dataclass, without those of ``optional`` at their default."""
    values = {}
    for one in fields(settings):
        value = getattr(settings, one.name)
        if one.name not in optional or value != one.default:
            values[one.name] = value
    return values
