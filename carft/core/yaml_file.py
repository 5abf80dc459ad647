"""YAML files that a person writes: validated, and a mistake is named with its line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from carft.core.errors import UserError

Model = TypeVar("Model", bound=BaseModel)


def parse_yaml(
    model: type[Model], text: str, source: str, what: str, complete: Callable[[Any], Any] = lambda content: content
) -> Model:
    """Return the content of a YAML file. Raises ``UserError`` for unknown keys and wrong types, with their line.

    source: name of the file, what: what the file is; both for messages. complete: adds what the file leaves out.
    """
    try:
        return model.model_validate(complete(yaml.safe_load(text)))
    except ValidationError as error:
        raise _invalid(error, text, source, what) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"The {what} {source} is not YAML: {str(error).splitlines()[0]}.") from error


def _invalid(error: ValidationError, text: str, source: str, what: str) -> UserError:
    """What is wrong first, with its line."""
    first = error.errors()[0]
    path = [str(part) for part in first["loc"]]
    line = line_of(text, path)
    return UserError(f"{source}, line {line}: {'.'.join(path) or what}: {first['msg']}.")


def line_of(text: str, path: Sequence[str]) -> int:
    """The line, from 1, of the deepest part of ``path`` that a YAML text has. path: keys and positions."""
    node, line = yaml.compose(text), 1
    for part in path:
        if isinstance(node, yaml.MappingNode):
            found = next(((k, v) for k, v in node.value if k.value == part), None)
            if found is None:
                break
            line, node = found[0].start_mark.line + 1, found[1]
        elif isinstance(node, yaml.SequenceNode) and part.isdigit() and int(part) < len(node.value):
            node = node.value[int(part)]
            line = node.start_mark.line + 1
    return line
