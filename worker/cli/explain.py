"""``explain``: everything that the store knows of one person."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

import click

from worker.app import App
from worker.cli import options
from worker.cli.access import purpose_option
from worker.cli.base import Cli, subcommand
from worker.cli.showing import instant, read_identifier, span
from worker.core.identity import Identity, NationalId
from worker.core.times import parse_time
from worker.errors import ExitCode, UsageError
from worker.store.identity import see_identity
from worker.store.queries.person import (
    AreaStory,
    PersonStory,
    Version,
    person_story,
    publication_at,
)
from worker.store.runs.ledger import DEFAULT_TENANT
from worker.use_cases.access import log_access
from worker.use_cases.failures import failure_line
from worker.use_cases.reading_store import store_to_read

HELP = """Tell everything known of one person.

The identifier stands on standard input, on one line, and is never printed.

By area: the last complete read and, where it had to confirm another, that first one; whether what
is shown is stale, an open failure, the restrictions in force and those that were. With `--as-of`
the restrictions that readers saw at that time (a date alone is its midnight in UTC); proofs and
failures are kept for the last read only.

The access is logged, with the purpose that `--purpose` gives: see the view `report_access`.

`--json`: is_known, person_key, local_ref, first_run, first_run_at, departed_at, as_of, publication
(run_id, kind, published_at), areas (area, last_confirmed_at, age_s, pages, records, digest,
first_read: read_at, records, digest; is_stale, failure, restrictions: restriction_id, columns,
first_seen_at, valid_from, valid_to, opened_run, closed_run, is_shown).

Example: `pts-worker explain --as-of 2026-01-31T12:00:00Z < identifier.txt`
"""
_MASK = "***"


@subcommand("explain", HELP)
@click.option("--as-of", metavar="INSTANT", help="ISO 8601; UTC if it names no zone.")
@purpose_option
@options.database
def command(cli: Cli, *, as_of: str | None, purpose: str | None) -> int:
    """See ``HELP``."""
    at = None if as_of is None else _instant(as_of)
    app = cli.load("person")
    identity = app.identity()
    off_id = read_identifier()
    document = cli.run(lambda: _look(app, identity, off_id, at, purpose))
    cli.emit(document, lambda: _print(document))
    return ExitCode.OK


def _instant(text: str) -> datetime:
    try:
        return parse_time(text.strip()).at
    except ValueError as error:
        raise UsageError(f"--as-of: {error}", hint="for example 2026-01-31T12:00:00Z") from None


async def _look(
    app: App, identity: Identity, off_id: NationalId, at: datetime | None, why: str | None
) -> dict[str, Any]:
    async with store_to_read(app) as store:
        identity = await see_identity(store, DEFAULT_TENANT, identity)
        key = identity.person_key(off_id)
        await log_access(app, store, "explain", why, person_key=key)
        now = app.runtime.now()
        publication = await publication_at(store, DEFAULT_TENANT, at or now)
        story = await person_story(store, DEFAULT_TENANT, key)
    document = _document(story, at=at, now=now, is_plain=identity.mode == "plain")
    document["publication"] = publication and {
        "run_id": publication.run_id,
        "kind": publication.kind,
        "published_at": publication.published_at,
    }
    masked: dict[str, Any] = _masked(document, off_id.reveal())
    return masked


def _document(
    story: PersonStory | None, *, at: datetime | None, now: datetime, is_plain: bool
) -> dict[str, Any]:
    if story is None:
        return {"is_known": False, "as_of": at}
    return {
        "is_known": True,
        "person_key": None if is_plain else story.person_key,
        "local_ref": story.local_ref,
        "first_run": story.first_run,
        "first_run_at": story.first_run_at,
        "departed_at": story.departed_at,
        "as_of": at,
        "areas": [_area(one, at=at, now=now, is_plain=is_plain) for one in story.areas],
    }


def _area(story: AreaStory, *, at: datetime | None, now: datetime, is_plain: bool) -> Any:
    proof, failure = story.proof, story.failure
    first = proof and proof.first_read
    shown = [one for one in story.versions if at is None or one.shown_at(at)]
    return {
        "area": story.area,
        "last_confirmed_at": proof and proof.confirmed_at,
        "age_s": _age_s(proof.confirmed_at if proof else None, now),
        "pages": proof and proof.pages,
        "records": proof and proof.records,
        "digest": proof and proof.digest,
        "first_read": first
        and {"read_at": first.read_at, "records": first.records, "digest": first.digest},
        "is_stale": proof and proof.is_stale,
        "failure": failure and asdict(failure_line(failure, is_plain=is_plain)),
        "restrictions": [_version(one, at or now) for one in shown],
    }


def _age_s(confirmed_at: datetime | None, now: datetime) -> float | None:
    return None if confirmed_at is None else max((now - confirmed_at).total_seconds(), 0.0)


def _version(version: Version, at: datetime) -> dict[str, Any]:
    return {
        "restriction_id": version.restriction_id,
        "columns": dict(version.columns),
        "first_seen_at": version.first_seen_at,
        "valid_from": version.valid_from,
        "valid_to": version.valid_to,
        "opened_run": version.opened_run,
        "closed_run": version.closed_run,
        "is_shown": version.shown_at(at),
    }


def _masked(value: Any, digits: str) -> Any:
    """The value with the identifier masked wherever it stands: a store may hold it in plain."""
    if isinstance(value, str):
        return value.replace(digits, _MASK)
    if isinstance(value, Mapping):
        return {name: _masked(item, digits) for name, item in value.items()}
    if isinstance(value, Sequence):
        return [_masked(item, digits) for item in value]
    return value


def _print(document: dict[str, Any]) -> None:
    publication = document["publication"]
    if document["as_of"] is not None:
        seen = (
            f"run {publication['run_id']}, published {instant(publication['published_at'])}"
            if publication
            else "nothing was published by then"
        )
        print(f"as of       {instant(document['as_of'])}: {seen}")
    if not document["is_known"]:
        print("this person is not known here: never read, or the roster has never named them")
        return
    if document["person_key"]:
        print(f"person      {document['person_key']}")
    if document["local_ref"]:
        print(f"local ref   {document['local_ref']}")
    print(f"first read  {instant(document['first_run_at'])} (run {document['first_run']})")
    if document["departed_at"]:
        print(f"departed    {instant(document['departed_at'])}: no longer on the roster")
    for area in document["areas"]:
        _print_area(area, is_past=document["as_of"] is not None)


def _print_area(area: dict[str, Any], *, is_past: bool) -> None:
    print(f"\n{area['area']}")
    if area["is_stale"] is None:
        print("  last read   no published read of a person on the roster")
    else:
        stale = ", STALE" if area["is_stale"] else ""
        age = "" if area["age_s"] is None else f", {span(area['age_s'])} ago"
        print(
            f"  last read   {instant(area['last_confirmed_at'])}{age}"
            f" ({area['records'] or 0} records on {area['pages'] or 0} pages){stale}"
        )
    if area["first_read"]:
        first = area["first_read"]
        same = "the same content" if first["digest"] == area["digest"] else "other content"
        print(
            f"  confirmed   by that read; the first was {instant(first['read_at'])} "
            f"({first['records']} records, {same})"
        )
    if area["failure"]:
        failure = area["failure"]
        print(
            f"  failure     {failure['kind']}: {failure['reason']}, since "
            f"{instant(failure['first_at'])}, {failure['runs']} runs"
        )
    current = [one for one in area["restrictions"] if one["is_shown"]]
    ended = [one for one in area["restrictions"] if not one["is_shown"]]
    print(f"  {'shown then' if is_past else 'in force  '}  {len(current) or 'no restriction'}")
    for one in current:
        _print_version(one)
    if ended:
        print(f"  ended       {len(ended)}")
    for one in ended:
        _print_version(one)


def _print_version(version: dict[str, Any]) -> None:
    print(f"    {version['restriction_id']}")
    print(
        f"      from {instant(version['valid_from'])} (run {version['opened_run']}) "
        f"to {instant(version['valid_to'], missing='now')}"
        + (f" (run {version['closed_run']})" if version["closed_run"] else "")
    )
    for name, value in version["columns"].items():
        shown = instant(value) if isinstance(value, datetime) else value
        print(f"      {name} = {shown}")
