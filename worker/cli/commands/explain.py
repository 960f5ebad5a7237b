"""``explain``: everything that is stored about one person."""

from datetime import UTC, datetime
from typing import Any

import click

from worker.cli import options
from worker.cli.access import ask_person, open_person, purpose_option, unknown_person
from worker.core.times import parse_time


def _time(_context: object, _parameter: object, text: str | None) -> datetime | None:
    """Parse a time. Without a zone it is UTC, and a date is its midnight."""
    try:
        return None if text is None else parse_time(text.strip(), naive_zone=UTC)
    except ValueError as error:
        raise click.BadParameter(f"{error}; for example 2026-01-31T12:00:00Z") from None


@click.command("explain", cls=options.Command)
@click.option(
    "--as-of", metavar="INSTANT", callback=_time, help="ISO 8601; UTC if it names no zone."
)
@purpose_option
@click.pass_obj
def command(cli: options.Cli, *, as_of: datetime | None, purpose: str | None) -> None:
    """Show everything that is stored about one person.

    Give the identifier on standard input, on one line. It is never printed.

    For each area: the last complete reads, whether the state is stale, an open failure, and the
    restrictions now and before. `--as-of` shows the restrictions that readers saw at that time,
    but labels, proofs and failures of today. The access is logged.

    Example: `pts-worker explain --as-of 2026-01-31T12:00:00Z < identifier.txt`
    """
    from worker.store.persons import describe_person
    from worker.store.status import publication_at

    app, off_id = ask_person(cli)

    async def read() -> dict[str, Any]:
        async with open_person(app, off_id, "explain", purpose) as (store, identity, key):
            publication = await store.read(publication_at, as_of)
            number = publication.publication_no if publication else 0
            person = await store.read(describe_person, key, number, only_shown=as_of is not None)
        return {
            "is_known": person is not None,
            # In a store without pseudonyms the key is the identifier, which is never printed.
            "person_key": key if person and identity.mode == "pseudonym" else None,
            "as_of": as_of,
            "publication": publication,
            **(person or {}),
        }

    person = cli.run(read)
    cli.emit(person, None if person["is_known"] else lambda: print(unknown_person(off_id)))
