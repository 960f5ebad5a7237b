"""``explain``: everything that the store knows of one person."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from worker.cli import options
from worker.cli.access import purpose_option
from worker.cli.base import Cli
from worker.cli.output import instant, span
from worker.core.plurals import counted
from worker.errors import UsageError

if TYPE_CHECKING:
    from worker.app import App
    from worker.core.identity import NationalId
    from worker.store.queries.person import AreaStory, PersonStory, Version
    from worker.store.queries.status import Publication

_MASK = "***"


@click.command("explain", cls=options.Command)
@click.option("--as-of", metavar="INSTANT", help="ISO 8601; UTC if it names no zone.")
@purpose_option
@options.database
@click.pass_obj
def command(cli: Cli, *, as_of: str | None, purpose: str | None) -> None:
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
    from worker.cli.identifiers import read_identifier

    at = None if as_of is None else _time(as_of)
    app = cli.load("person")
    app.identity()  # an error of the configuration comes before the question
    off_id = read_identifier()
    found, publication = cli.run(lambda: _read(app, off_id, as_of=at, purpose=purpose))
    unknown = {"is_known": False, "as_of": at, "publication": publication}
    cli.emit(found or unknown, lambda: _print(found, publication, at))


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
    """The person's story, None of somebody who is not known, and what readers saw then.

    The identifier is masked wherever it occurs: a store may hold it in plain text.
    """
    from msgspec.structs import replace

    from worker.cli.access import log_access
    from worker.cli.commands.failures import shown
    from worker.store.identity import see_identity
    from worker.store.queries.person import PersonStory, person_story
    from worker.store.queries.status import publication_at

    async with app.database() as store:
        identity = await see_identity(store, app.identity())
        key = identity.person_key(off_id)
        await log_access(store, "explain", purpose, person_key=key)
        now = await store.read(store.now)
        story = await store.read(person_story, key, now=now, as_of=as_of)
        if story is None:
            return None, await store.read(publication_at, as_of)
    if identity.mode == "plain":  # a person's key is the identifier
        areas = [
            replace(area, failure=shown(area.failure, is_plain=True)) if area.failure else area
            for area in story.areas
        ]
        story = replace(story, person_key=None, areas=areas)
    masked: PersonStory = _masked(story, off_id.reveal())
    return masked, masked.publication


def _masked(value: Any, digits: str) -> Any:
    """The value with every occurrence of the identifier masked."""
    if isinstance(value, str):
        return value.replace(digits, _MASK)
    if isinstance(value, Mapping):
        return {name: _masked(item, digits) for name, item in value.items()}
    if isinstance(value, Sequence):
        return [_masked(item, digits) for item in value]
    if names := getattr(value, "__struct_fields__", ()):
        return type(value)(**{name: _masked(getattr(value, name), digits) for name in names})
    return value


def _print(
    found: "PersonStory | None", publication: "Publication | None", as_of: datetime | None
) -> None:
    if as_of is not None:
        seen = (
            f"run {publication.run_id}, published {instant(publication.published_at)}"
            if publication
            else "nothing was published by then"
        )
        print(f"as of       {instant(as_of)}: {seen}")
    if found is None:
        print("this person is not known here: never read, or the roster has never named them")
        return
    if found.person_key:
        print(f"person      {found.person_key}")
    if found.local_ref:
        print(f"local ref   {found.local_ref}")
    if found.cohort:
        print(f"cohort      {found.cohort}")
    print(f"first read  {instant(found.first_run_at)} (run {found.first_run})")
    if found.departed_at:
        print(f"departed    {instant(found.departed_at)}: no longer on the roster")
    for area in found.areas:
        _print_area(area, is_past=as_of is not None)


def _print_area(area: "AreaStory", *, is_past: bool) -> None:
    print(f"\n{area.area}")
    if area.is_stale is None:
        print("  last read   no published read of a person on the roster")
    else:
        stale = ", STALE" if area.is_stale else ""
        age = "" if area.age_s is None else f", {span(area.age_s)} ago"
        print(
            f"  last read   {instant(area.last_confirmed_at)}{age}"
            f" ({counted(area.records or 0, 'record')} on"
            f" {counted(area.pages or 0, 'page')}){stale}"
        )
    if first := area.first_read:
        print(f"  confirmed   by that read; the first was {instant(first.read_at)}")
    if failure := area.failure:
        print(
            f"  failure     {failure.kind}: {failure.reason}, since "
            f"{instant(failure.first_at)}, {failure.runs} runs"
        )
    current = [version for version in area.restrictions if version.is_shown]
    ended = [version for version in area.restrictions if not version.is_shown]
    print(f"  {'shown then' if is_past else 'PTS lists '}  {len(current) or 'no restriction'}")
    for version in current:
        _print_version(version)
    if ended:
        print(f"  ended       {len(ended)}")
    for version in ended:
        _print_version(version)


def _print_version(version: "Version") -> None:
    print(f"    {version.restriction_id}")
    print(
        f"      from {instant(version.valid_from)} (run {version.opened_run}) "
        f"to {instant(version.valid_to, missing='now')}"
        + (f" (run {version.closed_run})" if version.closed_run else "")
    )
    for name, value in version.columns.items():
        shown = instant(value) if isinstance(value, datetime) else value
        print(f"      {name} = {shown}")
