"""The pictures on the page: one of each context, and images on which methods disagree, with what each method said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from reports.analysis.disagreements import PAIRS, QUESTIONS
from reports.evidence.evidence import COMPARED
from reports.figures.style import label, prompt_words
from reports.render.pictures import picture_name
from reports.render.task_names import told_apart
from reports.tables.registry import Tables
from reports.tables.rows import rows_of


@dataclass(frozen=True)
class Picture:
    """An image with everything that is said of it."""

    source: str
    """``data:`` address."""
    words: str
    """Text alternative."""
    facts: Mapping[str, Any]
    """Its row in the table ``gallery`` or ``context_images``."""
    answers: Sequence[tuple[str, str, bool]] = ()
    """(method, what it said, whether that is right)."""

    @property
    def right(self) -> str:
        """Display name of the method that is right."""
        return label(self.facts["right"])


@dataclass(frozen=True)
class Gallery:
    """The section on pictures."""

    contexts: Sequence[Picture]
    disagreements: Sequence[Picture]
    counts: Sequence[str]
    """How many such images there are in all, a sentence for each scope."""

    @staticmethod
    def of(sources: Tables, pictures: Mapping[str, str]) -> Gallery:
        """The pictures that were made. pictures: name -> ``data:`` address."""
        tables = sources.tables()
        rows, named = (rows_of(shown["gallery"]) for shown in (tables, told_apart(tables)))
        examples = [r for r in rows_of(sources.table("context_images")) if _name(r) in pictures]
        return Gallery(
            [Picture(pictures[_name(r)], f"{r['label']}, {prompt_words(r['context'])}", r) for r in examples],
            [
                Picture(pictures[_name(row)], _alternative(shown), shown, _answers(shown))
                for row, shown in zip(rows, named, strict=True)
                if _name(row) in pictures
            ],
            count_sentences(sources.table("disagreements")),
        )

    def choices(self, name: str) -> list[str]:
        """The values of a filter: ``task``, ``context`` or ``right``, in order of appearance."""
        found = [p.right if name == "right" else p.facts[name] for p in self.disagreements]
        return list(dict.fromkeys(value for value in found if value))


def count_sentences(table: pd.DataFrame) -> list[str]:
    """A sentence for each scope: ``Class: CAR-FT right and FT wrong 60, the reverse 75, of 1,940 images.``"""
    sentences = []
    (first, second), scopes = PAIRS[0], table["scope"].unique()
    table = table[(table["first"] == first.label) & (table["second"] == second.label)]
    for scope, part in table.groupby("scope", sort=False):
        parts = []
        for question in QUESTIONS:
            sums = part[part["question"] == question][["first_right", "second_right", "images"]].sum()
            if sums["images"]:
                parts.append(
                    f"{question}: {label(first.label)} right and {label(second.label)} wrong {sums['first_right']:,}, "
                    f"the reverse {sums['second_right']:,}, of {sums['images']:,} images"
                )
        words = "; ".join(parts) + "."
        sentences.append(f"{scope}, {words}" if len(scopes) > 1 else words[:1].upper() + words[1:])
    return sentences


def _name(row: Mapping[str, Any]) -> str:
    return picture_name(row["task"], row["set"], row["image"])


def _alternative(row: Mapping[str, Any]) -> str:
    context = f" as “{prompt_words(row['context'])}”" if row["context"] else ""
    return f"{row['label']}{context}, from {row['task']}"


def _answers(row: Mapping[str, Any]) -> list[tuple[str, str, bool]]:
    truth = row["label"] if row["question"] == "class" else row["context"]
    said = [(label(m.label), row[m.label]) for m in COMPARED if row[m.label]]
    return [(name, prompt_words(words), words == truth) for name, words in said]
