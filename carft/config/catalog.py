"""The catalog of tasks and methods: a frozen value that a command builds once and passes on. No torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from pydantic import TypeAdapter

from carft.config.plugins import Plugged, installed_method, methods_in, read_plugins
from carft.config.registry import METHODS, MethodCard
from carft.core.errors import UserError, unknown
from carft.data.catalog import TaskCatalog
from carft.data.folder.named import NamedTask
from carft.data.packages import PackageCard


@dataclass(frozen=True, eq=False)
class Catalog(TaskCatalog):
    """All tasks and methods that a command knows: those of this package, of packages, of files, and of a folder.

    A change is a new value; nothing is shared between two of them.
    """

    plugins: tuple[tuple[str, str], ...] = ()
    """File name and text of every plugin file."""
    stored_methods: Mapping[str, Plugged] = field(default_factory=dict)
    """Methods from outside this package as a results folder holds them, without code."""
    weights: Mapping[str, str] = field(default_factory=dict)
    """sha256 of weights -> path of their file, or of the model folder, on this machine."""

    @staticmethod
    def of_plain(content: Mapping[str, Any]) -> Catalog:
        """Return the catalog of plain values, as :meth:`plain` gives them."""
        catalog = Catalog(plugins=tuple((file, text) for file, text in content["plugins"]))
        named, packages = _NAMED.validate_python(content["named"]), _PACKAGES.validate_python(content["packages"])
        catalog = catalog.with_tasks(named).with_stored(packages).with_weights(content["weights"])
        return catalog.with_suites(content["suites"])

    def plain(self, tasks: Iterable[str]) -> dict[str, Any]:
        """Return plugin files, and what is known of these tasks from outside this package, as plain values."""
        named = [found for task in tasks if (found := self.named(task))]
        packages = [entry for task in tasks if (entry := self.package_card(task))]
        return {
            "plugins": list(self.plugins),
            "named": _NAMED.dump_python(named, mode="json"),
            "packages": _PACKAGES.dump_python(packages, mode="json"),
            "weights": dict(self.weights),
            "suites": self.suites,
        }

    def with_plugins(self, paths: Sequence[Path]) -> Catalog:
        """Return the catalog with the methods of plugin files. Raises ``UserError`` for a file that cannot be one."""
        catalog = replace(self, plugins=tuple(dict.fromkeys((*self.plugins, *read_plugins(paths)))))
        _ = catalog.methods  # a file that cannot be one is refused here, before work starts
        return catalog

    def with_stored_methods(self, methods: Iterable[Plugged]) -> Catalog:
        """Return the catalog with methods as a results folder holds them."""
        return replace(self, stored_methods={**self.stored_methods, **{m.card.name: m for m in methods}})

    def with_weights(self, places: Mapping[str, str]) -> Self:
        """Return the catalog with where weights lie. places: sha256 of the weights -> path."""
        return replace(self, weights={**self.weights, **places})

    @cached_property
    def of_files(self) -> Mapping[str, Plugged]:
        """Methods of plugin files by name. Raises ``UserError`` for a name that is taken."""
        methods: dict[str, Plugged] = {}
        plugged = [(file, method) for file, text in self.plugins for method in methods_in(file, text)]
        for file, method in plugged:
            name = method.card.name
            taken = METHODS[name] if name in METHODS else methods[name].card if name in methods else None
            if taken is not None:
                words = f"there is a method '{name}' already, {taken.implementation}"
                raise UserError(f"{file}: {words}.", "Give yours another name.")
            methods[name] = method
        return methods

    @cached_property
    def methods(self) -> Mapping[str, MethodCard]:
        """Methods by name, in the order of tables: of this package, of the results folder, of plugin files."""
        outside = {**self.stored_methods, **self.of_files}
        return {**METHODS, **{name: method.card for name, method in outside.items()}}

    def plugged(self, method: str) -> Plugged | None:
        """Return a method from outside this package; None for any other."""
        if method in METHODS:
            return None
        stored = self.stored_methods.get(method)
        if stored is not None and self.prefers_stored:
            return stored
        return self.of_files.get(method) or installed_method(method) or stored

    def method(self, name: str) -> MethodCard:
        """Return the card of a method. Raises ``UserError`` for an unknown name."""
        if name in METHODS:
            return METHODS[name]
        if (found := self.plugged(name)) is None:
            more = " A method of your own needs its file: --plugin FILE"
            raise unknown("method", name, self.methods, cutoff=0.8, more=more)
        return found.card

    def trained_methods(self) -> list[str]:
        """Return the names of the trained methods, in the order of tables."""
        return [name for name, card in self.methods.items() if card.kind == "trained"]

    def souped_methods(self) -> list[str]:
        """Return the names of the methods whose search cells are averaged, in the order of tables."""
        return [name for name, card in self.methods.items() if card.in_soups]

    def source_of(self, method: str, task: str) -> str:
        """Return the digest of the code of method and task, as far as it is no part of this package; else empty."""
        plugged = self.plugged(method)
        return "+".join(filter(None, (plugged.digest if plugged else "", self.package_digest(task))))

    def require_source(self, method: str, task: str, digest: str) -> None:
        """Raise ``UserError`` if a cell of method and task was specified with other code than that of this catalog."""
        if (here := self.source_of(method, task)) != digest:
            raise UserError(
                f"The cell was made with another version of the plugin of '{method}' on '{task}' "
                f"({_digest_words(digest)}); loaded is {_digest_words(here)}.",
                "Give the version that it was made with: --plugin FILE",
            )


def _digest_words(digest: str) -> str:
    return f"digest {digest}" if digest else "no plugin"


_NAMED, _PACKAGES = TypeAdapter(list[NamedTask]), TypeAdapter(list[PackageCard])

#: the catalog of this package alone; installed packages are found by name
BUILT_IN: Catalog = Catalog()
