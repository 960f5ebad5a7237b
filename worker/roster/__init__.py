"""Read the roster from a file, standard input or a database query."""

from pathlib import Path
from typing import BinaryIO

from worker.errors import ConfigurationError
from worker.ports import Roster
from worker.roster.csv_file import UTF_8, CsvRoster


def open_roster(
    *,
    path: str | Path | None = None,
    url: str | None = None,
    query: str | None = None,
    ca_file: Path | None = None,
    stdin: BinaryIO | None = None,
    encoding: str = UTF_8,
) -> Roster:
    """The configured roster: a file (``-`` is standard input) or a query.

    Args:
        stdin: read for ``-`` instead of the process's standard input.

    Raises:
        ConfigurationError: neither a path nor a URL with a query is set, or both are.
    """
    if path is not None and url is None:
        return CsvRoster(path, stdin=stdin, encoding=encoding)
    if path is None and url is not None and query is not None:
        # Load SQLAlchemy only if the roster is a query.
        from worker.roster.query import QueryRoster  # noqa: PLC0415

        return QueryRoster(url, query, ca_file=ca_file)
    raise ConfigurationError("set either roster.path, or roster.url with roster.query")
