"""What a task on your own data needs: images of every class and split. No torch."""

from __future__ import annotations

from carft.core.errors import UserError
from carft.data.card import Card
from carft.data.folder.named import version_of
from carft.data.folder.naming import Name
from carft.data.folder.tree import Tree


def require_whole(card: Card, tree: Tree, name: Name) -> None:
    """Raise ``UserError`` if the tree changed after the card was made, or if a split or class is empty."""
    if not card.version.startswith(version_of(tree)):
        raise UserError(f"'{tree.root}' changed since this task was named.", "Run the command again.")
    everywhere = [tree.part(domain, "train") for domain in name.id_domains]
    trained = {label for index in everywhere for label in index.labels}
    if bare := [word for label, word in enumerate(tree.words) if label not in trained]:
        raise UserError(
            f"The class '{bare[0]}' has no image to train on in {', '.join(name.id_domains)} of '{tree.root}'.",
            f"Add images, or {_split_words(tree, 'images for training')}.",
        )
    needed = [("val", name.id_domains), ("test", name.id_domains), *(("test", (d,)) for d in name.ood_domains)]
    for split, domains in needed:
        if domains and not any(len(tree.part(domain, split)) for domain in domains):
            raise UserError(
                f"'{tree.root}' has no image for {split} in {', '.join(domains)}.",
                f"Add images, or {_split_words(tree, 'the images of each split')}.",
            )


def unmeasured(tree: Tree, name: Name) -> list[str]:
    """Return a sentence for validation and test each where classes have no image there, so that no number is theirs."""
    lines = []
    for split in ("val", "test"):
        labels = {label for domain in name.id_domains for label in tree.part(domain, split).labels}
        if 0 < len(labels) < len(tree.words):
            bare = [word for label, word in enumerate(tree.words) if label not in labels]
            lines.append(
                f"{len(bare)} of {len(tree.words)} classes have no image for {split} in {', '.join(name.id_domains)}, "
                f"'{bare[0]}' first: accuracy there is not about them."
            )
    return lines


def _split_words(tree: Tree, what: str) -> str:
    """How a person says which images a split has."""
    if tree.root == tree.base:
        return f"list {what} by stem in split.json"
    return f"name {what} in the table's column split"
