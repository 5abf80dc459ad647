"""Class names and prompts of domains of your own data. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from carft.core.errors import UserError
from carft.data.folder.tree import ALONE, ALONE_PROMPT, Tree


def _named(note: Mapping[str, Any], known: Sequence[str], what: str, path: Path | str) -> dict[str, str]:
    """Return the strings of a JSON file by name. Raises ``UserError`` for an unknown name or another type of value."""
    for name, value in note.items():
        if name not in known:
            raise UserError(f"'{path}' names '{name}', which is no {what}.", f"Known: {', '.join(known[:12])}.")
        if not isinstance(value, str) or not value.strip():
            raise UserError(f"'{path}' gives no words for '{name}'.", "Give a string.")
    return dict(note)


def class_words(classes: Sequence[str], note: Mapping[str, Any], path: Path | str) -> tuple[str, ...]:
    """Return the words of classes: those of the note, else the name with spaces. path: what gives them, for messages.

    Raises ``UserError`` for an unknown class, words that two classes share, and a brace.
    """
    given = _named(note, classes, "class folder", path)
    words = [given.get(name, name.replace("_", " ")).strip() for name in classes]
    seen: dict[str, str] = {}
    for name, word in zip(classes, words, strict=True):
        if (other := seen.setdefault(word.casefold(), name)) != name:
            raise UserError(
                f"The classes '{other}' and '{name}' are both called '{word}'.",
                f"Put both into one folder, or give them different words in '{path}'.",
            )
        if "{" in word or "}" in word:
            raise UserError(f"The class name '{word}' has a brace in it.", f"Give it other words in '{path}'.")
    return tuple(words)


def domain_prompts(domains: tuple[str, ...], note: Mapping[str, Any], path: Path | str) -> tuple[str, ...]:
    """Return the prompts of domains: those of the note, else one with the domain's name; a photo without domains.

    Raises ``UserError`` for an unknown domain and for a prompt without exactly one ``{}``.
    """
    default = {ALONE: ALONE_PROMPT} if domains == (ALONE,) else {d: _default_prompt(d) for d in domains}
    prompts = default | _named(note, domains, "domain", path)
    for name, prompt in prompts.items():
        if prompt.count("{}") != 1 or any(brace in prompt.replace("{}", "") for brace in "{}"):
            raise UserError(
                f"The prompt '{prompt}' of the domain '{name}' must have exactly one {{}}, where the class name goes.",
                f"Write it in '{path}', for example: " + '{"sketch": "a pencil sketch of a {}."}',
            )
    return tuple(prompts.values())


def _default_prompt(domain: str) -> str:
    return f"a {domain.replace('_', ' ').replace('{', '').replace('}', '')} of a {{}}."


def prompts_to_edit(tree: Tree) -> dict[str, str]:
    """Return domain -> prompt, for a file that a person edits.

    A default prompt gets the article of its domain there, as "an infrared of a {}.". The default itself stays as it is:
    records of data without such a file rest on it.
    """
    prompts = dict(zip(tree.domains, tree.prompts, strict=True))
    unedited = (d for d, prompt in prompts.items() if d[0].lower() in "aeiou" and prompt == _default_prompt(d))
    return prompts | {domain: f"an{prompts[domain][1:]}" for domain in unedited}


def words_of(
    tree: Tree, class_names: Mapping[str, str], prompts: Mapping[str, str], source: str
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return class names and prompts of a tree, after those that are given: class folder -> words, domain -> prompt.

    source: what gives them, for messages. Raises ``UserError`` for those that cannot be.
    """
    words = dict(zip(tree.folders, tree.words, strict=True)) | dict(class_names)
    shown = dict(zip(tree.domains, tree.prompts, strict=True)) | dict(prompts)
    return class_words(tree.folders, words, source), domain_prompts(tree.domains, shown, source)
