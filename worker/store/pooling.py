"""What lets a pooler such as PgBouncer stand between the worker and PostgreSQL.

A pooler refuses settings at start-up, and in transaction mode gives each transaction the server
connection of anybody. So every transaction brings its own limits with its BEGIN, at no call of its
own, and no statement is prepared under a name that another client may use.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.errors import ConfigurationError
from worker.store.catalogues import LIMITS


class TransactionLimits:
    """How long a transaction may wait for a lock, and may stand still.

    Args:
        lock_s: how long the next one may wait for somebody else's lock.
        idle_s: PostgreSQL ends a transaction that has stood still for so long.

    Attributes:
        are_confirmed: ``confirm`` has found that they hold.
    """

    def __init__(self, *, lock_s: Callable[[], float], idle_s: float) -> None:
        self._lock_s = lock_s
        self._idle_ms = f"{idle_s * 1000:.0f}"
        self.are_confirmed = False

    def connection_class(self, base: Any = None) -> Any:
        """The driver's connection, whose transactions begin with the limits."""
        limits = self
        kind: Any = base or import_module("asyncpg").Connection

        class LimitedConnection(kind):  # type: ignore[misc] # asyncpg has no types
            """One that sends the limits along with BEGIN."""

            async def execute(self, query: str, *args: Any, **options: Any) -> Any:
                """As the driver's, which begins its transactions with this."""
                if query.startswith("BEGIN"):
                    query += limits.statements()
                return await super().execute(query, *args, **options)

        return LimitedConnection

    def statements(self) -> str:
        """What sets the limits for one transaction."""
        return (
            f" SET LOCAL lock_timeout = {self._lock_s() * 1000:.0f};"
            f" SET LOCAL idle_in_transaction_session_timeout = {self._idle_ms};"
        )

    async def confirm(self, connection: AsyncConnection) -> None:
        """Read the limits back, in a transaction of its own before the first one.

        Raises:
            ConfigurationError: they do not hold, so that a paused process could keep others out.
        """
        found = {row.name: row.setting for row in await connection.execute(text(LIMITS))}
        if found["idle_in_transaction_session_timeout"] != self._idle_ms or (
            int(found["lock_timeout"]) == 0
        ):
            raise ConfigurationError(
                "database.url: lock_timeout and idle_in_transaction_session_timeout do not hold "
                "within a transaction",
                hint="a pooler between must keep a transaction on one server connection "
                "(PgBouncer: pool_mode session or transaction)",
            )
        self.are_confirmed = True
