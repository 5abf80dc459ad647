"""Heads in the place of W_ctx, for the exploratory arms of the experiment at equal strength (audit/README.md).

A plugin: each class is CAR-FT's loss with another head. Whatever is drawn is drawn once from the cell's seed.
"""

from collections.abc import Callable
from typing import ClassVar

import torch
import torch.nn.functional as F

from carft import method
from carft.config.cell import Cell
from carft.config.registry import CONTEXT_FACTORS, FINE_TUNING, KL_WEIGHT, LEARNING_RATE
from carft.core.rng import CONTEXTS, generator
from carft.methods.car_ft import ContextAwareFineTune
from carft.models.clip import Pretrained
from carft.models.network import Prompts


class OtherHead(ContextAwareFineTune):
    """CAR-FT's loss with W_ctx replaced by :meth:`make_head`, (K, D), rows of length 1."""

    def __init__(self, cell: Cell, pretrained: Pretrained, prompts: Prompts) -> None:
        super().__init__(cell, pretrained, prompts)
        self.head = F.normalize(self.make_head(), dim=-1).to(prompts.contexts)

    def make_head(self) -> torch.Tensor:
        """Return the vectors, of any length."""
        raise NotImplementedError

    def context_head(self) -> torch.Tensor:
        return self.head

    def drawn(self, count: int) -> torch.Tensor:
        """Return a standard normal matrix (count, D)."""
        width = self.prompts.contexts.shape[1]
        return torch.from_numpy(generator(self.cell.seed, 0, CONTEXTS).standard_normal((count, width)))

    def within_span(self, vectors: torch.Tensor) -> torch.Tensor:
        """Return the parts of vectors (K, D) that lie in the span of the context prompts."""
        contexts = self.prompts.contexts.double().cpu()
        _, _, rows = torch.linalg.svd(contexts, full_matrices=False)
        basis = rows[: torch.linalg.matrix_rank(contexts)]
        return vectors @ basis.T @ basis


def other_head(name: str, label: str, summary: str) -> Callable[[type[OtherHead]], type[OtherHead]]:
    """Register a class as a method with the settings of CAR-FT."""
    return method(
        name=name,
        label=label,
        summary=summary,
        space={"lr": LEARNING_RATE, "kl_weight": KL_WEIGHT},
        shares={**FINE_TUNING, "kl_weight": "weight of the context KL"},
        reads=CONTEXT_FACTORS,
        whole_batch=False,
        epoch_passes=4,
    )


class RandomVectors(OtherHead):
    """``count`` random unit vectors."""

    count: ClassVar[int]

    def make_head(self) -> torch.Tensor:
        return self.drawn(self.count)


@other_head("random_2", "2 random vectors", "CAR-FT with 2 random unit vectors in place of the context head.")
class Random2(RandomVectors):
    count = 2


@other_head("random_5", "5 random vectors", "CAR-FT with 5 random unit vectors in place of the context head.")
class Random5(RandomVectors):
    count = 5


@other_head("random_10", "10 random vectors", "CAR-FT with 10 random unit vectors in place of the context head.")
class Random10(RandomVectors):
    count = 10


@other_head("random_128", "128 random vectors", "CAR-FT with 128 random unit vectors in place of the context head.")
class Random128(RandomVectors):
    count = 128


@other_head("prompt_span", "span of prompts", "CAR-FT with random unit vectors in the span of the context prompts.")
class PromptSpan(OtherHead):
    """As many random unit vectors as there are prompts, in their span: what prompts say, but no prompt."""

    def make_head(self) -> torch.Tensor:
        return self.within_span(self.drawn(len(self.prompts.contexts)))


@other_head("prompt_complement", "complement of prompts", "CAR-FT with random unit vectors orthogonal to the prompts.")
class PromptComplement(OtherHead):
    """As many random unit vectors as there are prompts, orthogonal to all of them: nothing that prompts say."""

    def make_head(self) -> torch.Tensor:
        drawn = self.drawn(len(self.prompts.contexts))
        return drawn - self.within_span(drawn)


@other_head("class_prompts", "class prompts", "CAR-FT with the class head in place of the context head.")
class ClassPrompts(OtherHead):
    """The zero-shot class head, as it is before training."""

    def make_head(self) -> torch.Tensor:
        return self.prompts.classes
