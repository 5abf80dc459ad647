"""The catalog that a report is made with: what a results folder holds of it comes first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from carft.spec.catalog import Catalog
from carft.spec.registry import METHODS, MethodCard
from carft.store.records import Store
from carft.store.stored_catalog import stored_catalog

_METHODS: ContextVar[Mapping[str, MethodCard]] = ContextVar("methods", default=METHODS)
Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def report_catalog(store: Store) -> Catalog:
    """Return the catalog of a results folder, in which its own cards come before those of installed packages."""
    return replace(stored_catalog(store, store.catalog), prefers_stored=True)


def methods() -> Mapping[str, MethodCard]:
    """Return the methods of the results folder that is reported, by name: drawings and words need their labels."""
    return _METHODS.get()


@contextmanager
def methods_of(store: Store) -> Iterator[None]:
    """Within the block, :func:`methods` are those of a results folder."""
    token = _METHODS.set(report_catalog(store).methods)
    try:
        yield
    finally:
        _METHODS.reset(token)


def with_methods(
    function: Callable[Concatenate[Store, Arguments], Result],
) -> Callable[Concatenate[Store, Arguments], Result]:
    """Call a function within :func:`methods_of` its first argument."""

    @wraps(function)
    def called(store: Store, *arguments: Arguments.args, **more: Arguments.kwargs) -> Result:
        with methods_of(store):
            return function(store, *arguments, **more)

    return called
