"""YAML files that a person writes: validated, and a mistake is named with its line."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from carft.core.declaration import RAISED, requirement
from carft.core.errors import UserError, unknown

Parsed = TypeVar("Parsed", bound=BaseModel)
#: what pydantic calls a key that a model or a class of settings does not have
UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")
#: how pydantic's names of the members of a union begin, which it adds to the path of a value
UNION = ("literal[", "dict[")


def parse_yaml(
    model: type[Parsed],
    text: str,
    source: str,
    what: str,
    complete: Callable[[Any], Any] = lambda content: content,
    context: Mapping[str, Any] | None = None,
) -> Parsed:
    """Return the content of a YAML file. Raises ``UserError`` for unknown keys and wrong types, with their line.

    source: name of the file, what: what the file is; both for messages. complete: adds what the file leaves out.
    context: what validators of the model are given.
    """
    try:
        content = read_yaml(text, source)
        if not isinstance(content, dict):
            raise UserError(
                f"{source}: the {what} {_what_it_is(content)}.", "It must hold keys with values: KEY: VALUE."
            )
        return model.model_validate(complete(content), context=context)
    except ValidationError as error:
        raise _invalid(error, model, text, source, what) from error
    except yaml.MarkedYAMLError as error:
        mark, problem = error.problem_mark or error.context_mark, error.problem or "it cannot be read"
        place = f"{source}, line {mark.line + 1}" if mark else source
        raise UserError(
            f"{place}: the {what} is not YAML: {problem}.",
            "A value with a colon and a blank needs quotes, a key needs a colon, and entries of one list one indent.",
        ) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"The {what} {source} is not YAML: {str(error).splitlines()[0]}.") from error


def read_yaml(text: str, source: str) -> Any:
    """The content of a YAML file. source: its name, for messages. Raises ``UserError`` for a key that appears twice."""
    loader = _Loader(text)
    loader.name = source
    return loader.get_single_data()


class _Loader(yaml.SafeLoader):
    """Refuses duplicate keys. ``SafeLoader`` keeps the last value and does not warn.

    ``1e-5`` is a number, as in YAML 1.2. ``SafeLoader`` reads it as text.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = set[str]()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in names:
                words = f"{self.name}, line {key.start_mark.line + 1}: the key '{key.value}' appears twice."
                raise UserError(words, "Keep one of the two.")
            names.add(key.value)
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """Quotes text that :class:`_Loader` would read as a number."""


#: a number with an exponent, of which ``SafeLoader`` demands a point and a sign
EXPONENT = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$")
for reads_or_writes in (_Loader, _Dumper):
    reads_or_writes.add_implicit_resolver("tag:yaml.org,2002:float", EXPONENT, list("-+0123456789"))


def yaml_of(content: Mapping[str, Any]) -> str:
    """The text of a YAML file with this content, which :func:`parse_yaml` reads as it was."""
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def _invalid(error: ValidationError, model: type[BaseModel], text: str, source: str, what: str) -> UserError:
    """What is wrong first, with its line: a key that does not exist before one that is missing for it."""
    errors = error.errors()
    first = next((one for one in errors if one["type"] in UNKNOWN), errors[0])
    path = [str(part) for part in first["loc"] if not str(part).startswith(UNION)]
    place = f"{source}, line {line_of(text, path)}: {'.'.join(path) or what}"
    if first["type"] == "missing":
        return UserError(f"{place}: this key is missing.")
    if first["type"] in UNKNOWN:
        schema = model.model_json_schema()
        keys = set(schema.get("properties", {}))
        for section in schema.get("$defs", {}).values():
            keys.update(section.get("properties", {}))
        return UserError(f"{place}: there is no such key.", unknown("key", path[-1], keys, cutoff=0.6).hint)
    if first["type"] == "value_error":
        return UserError(f"{place}: {first['msg'].removeprefix(RAISED)}.")
    return UserError(f"{place}: {requirement(first)}; it {_what_it_is(first['input'])}.")


def _what_it_is(value: Any) -> str:
    """What a YAML value is, after its subject."""
    if value is None or value == "":
        return "is empty"
    shown: dict[type, str] = {dict: "holds keys with values", list: "is a list"}
    return shown.get(type(value), f"is '{value}'"[:80])


def line_of(text: str, path: Sequence[str]) -> int:
    """The line, from 1, of the deepest part of ``path`` that a YAML text has. path: keys and positions."""
    node, line = yaml.compose(text), 1
    for part in path:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.value == part:
                    line, node = key.start_mark.line + 1, value
                    break
            else:
                return line
        elif isinstance(node, yaml.SequenceNode) and part.isdigit() and int(part) < len(node.value):
            node = node.value[int(part)]
            line = node.start_mark.line + 1
    return line
