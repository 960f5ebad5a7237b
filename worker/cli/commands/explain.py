"""``explain``: everything that the store knows of one person."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from worker.cli import options
from worker.cli.access import ask_person, open_person, purpose_option
from worker.cli.output import instant, print_facts, span
from worker.core.plurals import counted
from worker.errors import UsageError

if TYPE_CHECKING:
    from worker.app import App
    from worker.core.identity import NationalId
    from worker.store.queries.person import AreaStory, PersonStory, Version
    from worker.store.queries.status import Publication


@click.command("explain", cls=options.Command)
@click.option("--as-of", metavar="INSTANT", help="ISO 8601; UTC if it names no zone.")
@purpose_option
@options.database
@click.pass_obj
def command(cli: options.Cli, *, as_of: str | None, purpose: str | None) -> None:
    """Show everything that is stored about one person.

    Give the identifier on standard input, on one line. It is never printed.

    For each area it shows the last complete read (both reads, if one had to confirm the other),
    whether the state is stale, an open failure, and the restrictions now and before. `--as-of`
    shows the restrictions that readers saw at that time (a date alone is its midnight in UTC);
    labels, proofs and failures are always those of the last publication.

    The access is logged.

    `--json`: is_known, person_key, local_ref, cohort, first_run, first_run_at, departed_at, as_of,
    publication (run_id, kind, published_at), areas (area, last_confirmed_at, age_s, pages, records,
    digest, first_read: read_at, records, digest; is_stale, failure, restrictions: restriction_id,
    columns, first_seen_at, valid_from, valid_to, opened_run, closed_run, is_shown).

    Example: `pts-worker explain --as-of 2026-01-31T12:00:00Z < identifier.txt`
    """
    at = None if as_of is None else _time(as_of)
    app, off_id = ask_person(cli)
    found, publication = cli.run(lambda: _read(app, off_id, as_of=at, purpose=purpose))
    unknown = {"is_known": False, "as_of": at, "publication": publication}
    # Masked wherever it occurs: a store may hold it in plain text.
    cli.emit(found or unknown, lambda: _print(found, publication, at), hidden=off_id.reveal())


def _time(text: str) -> datetime:
    """The time of ``--as-of``; UTC if it names no zone, a date alone is its midnight.

    Raises:
        UsageError: it is no ISO 8601 time.
    """
    from worker.core.times import parse_time

    try:
        return parse_time(text.strip(), naive=UTC)
    except ValueError as error:
        raise UsageError(f"--as-of: {error}", hint="for example 2026-01-31T12:00:00Z") from None


async def _read(
    app: "App", off_id: "NationalId", *, as_of: datetime | None, purpose: str | None
) -> tuple["PersonStory | None", "Publication | None"]:
    """The person's story, None of somebody who is not known, and what readers saw then."""
    from msgspec.structs import replace

    from worker.store.queries.person import person_story
    from worker.store.queries.status import publication_at

    async with open_person(app, off_id, "explain", purpose) as (store, identity, key):
        now = await store.read(store.now)
        story = await store.read(person_story, key, now=now, as_of=as_of)
        if story is None:
            return None, await store.read(publication_at, as_of)
    if identity.mode == "plain":  # a person's key is the identifier
        story = replace(story, person_key=None)
    return story, story.publication


def _print(
    found: "PersonStory | None", publication: "Publication | None", as_of: datetime | None
) -> None:
    if as_of is not None:
        seen = (
            f"run {publication.run_id}, published {instant(publication.published_at)}"
            if publication
            else "nothing was published by then"
        )
        print(f"as of {instant(as_of)}: {seen}")
    if found is None:
        print("this person is not known here: never read, or the roster has never named them")
        return
    gone = found.departed_at and f"{instant(found.departed_at)}: no longer on the roster"
    print_facts(
        {
            "person": found.person_key,
            "local ref": found.local_ref,
            "cohort": found.cohort,
            "first read": f"{instant(found.first_run_at)} (run {found.first_run})",
            "departed": gone,
        }
    )
    for area in found.areas:
        print(f"\n{area.area}")
        current = [version for version in area.restrictions if version.is_shown]
        ended = [version for version in area.restrictions if not version.is_shown]
        shown = "PTS lists" if as_of is None else "shown then"
        facts = {shown: len(current) or "no restriction", "ended": len(ended) or None}
        print_facts({**_reads_of(area), **facts}, indent="  ")
        for version in (*current, *ended):
            _print_version(version)


def _reads_of(area: "AreaStory") -> dict[str, str]:
    """How the area was read at last."""
    facts = {"last read": "no published read of a person on the roster"}
    if area.is_stale is not None:
        age = "" if area.age_s is None else f", {span(area.age_s)} ago"
        held = f"{counted(area.records or 0, 'record')} on {counted(area.pages or 0, 'page')}"
        stale = ", STALE" if area.is_stale else ""
        facts["last read"] = f"{instant(area.last_confirmed_at)}{age} ({held}){stale}"
    if first := area.first_read:
        facts["confirmed"] = f"by that read; the first was {instant(first.read_at)}"
    if failure := area.failure:
        since = f"since {instant(failure.first_at)}, {counted(failure.runs, 'run')}"
        facts["failure"] = f"{failure.kind}: {failure.reason}, {since}"
    return facts


def _print_version(version: "Version") -> None:
    closed = f" (run {version.closed_run})" if version.closed_run else ""
    print(f"    {version.restriction_id}")
    print(
        f"      from {instant(version.valid_from)} (run {version.opened_run}) "
        f"to {instant(version.valid_to, missing='now')}{closed}"
    )
    print_facts(version.columns, indent="      ")
