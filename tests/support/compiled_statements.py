"""
Compile each statement once for all tests, which have an engine each.

The service has one engine for as long as it runs, so that its statements are compiled once, too.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any

from sqlalchemy import Dialect, Engine, TextClause, event

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

AT_MOST = 5000  # statements; those of tables that a test makes up are no use to others


class CompiledStatements(MutableMapping[Any, Any]):
    """
    What SQLAlchemy has compiled, for any dialect of the same driver and server version.

    SQLAlchemy's own cache is one for each engine, and its keys name the dialect of the engine.
    """

    def __init__(self) -> None:
        """
        Begin with none.
        """
        self._compiled: dict[Any, Any] = {}

    def __getitem__(self, key: Any) -> Any:
        """
        Find what was compiled, for whichever engine.
        """
        return self._compiled[_for_any_engine(key)]

    def __setitem__(self, key: Any, compiled: Any) -> None:
        """
        Keep what was compiled.
        """
        if isinstance(compiled.statement, TextClause):
            return  # the columns that it returns are those of one database
        if len(self) >= AT_MOST:
            self._compiled.clear()
        self._compiled[_for_any_engine(key)] = compiled

    def __delitem__(self, key: Any) -> None:
        """
        Forget a statement.
        """
        del self._compiled[_for_any_engine(key)]

    def __iter__(self) -> Iterator[Any]:
        """
        Go through the keys.
        """
        return iter(self._compiled)

    def __len__(self) -> int:
        """
        Count the statements.
        """
        return len(self._compiled)


def _for_any_engine(key: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(
        (part.name, part.driver, part.server_version_info) if isinstance(part, Dialect) else part
        for part in key
    )


def share_compiled_statements() -> None:
    """
    Let the connections of all engines have one cache from now on.
    """
    shared = CompiledStatements()

    def use(connection: Connection) -> None:
        connection.execution_options(compiled_cache=shared)

    event.listen(Engine, "engine_connect", use)
