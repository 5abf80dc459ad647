"""Loader of ``icons/domains/...``: DomainBed's protocol on the icons world. Each suite is a domain; one is left out.

The domains share no drawing, as DomainBed's share no image (:func:`carft.data.icons.drawings.domains`). Of every
training domain a fifth of the drawings is validation. The held-out domain is evaluated as a whole.
"""

from __future__ import annotations

from carft.data.card import Card, DataOptions
from carft.data.icons.attestation import attest, require_present
from carft.data.icons.drawings import domains, parts
from carft.data.icons.tasks import image_set
from carft.data.icons.world import WORLDS
from carft.data.task import ImageSet, Sealed, Task

__all__ = ["domains", "open_sealed", "open_task", "parts", "require_present"]


def open_task(card: Card, options: DataOptions) -> Task:
    """Open training and validation images of the domains that are not held out."""
    parts = {name: _images(card, options, name) for name in ("train", "val")}
    return Task(
        name=card.name, train=parts["train"], val=parts["val"], digests=attest(WORLDS[card.version], options.cache)
    )


def open_sealed(card: Card, options: DataOptions) -> Sealed:
    """Open the held-out domain."""
    (held_out,), world = card.suites, WORLDS[card.version]
    jobs = [(drawing, world.suites[held_out]) for drawing in domains(world)[held_out]]
    return Sealed(None, {held_out: image_set(world, card.name, jobs, 1, options.cache)})


def _images(card: Card, options: DataOptions, part: str) -> ImageSet:
    world = WORLDS[card.version]
    kept = [name for name in world.suites if name not in card.suites]
    jobs = [(drawing, world.suites[name]) for name in kept for drawing in parts(name, world)[part]]
    return image_set(world, card.name, jobs, 1, options.cache)
