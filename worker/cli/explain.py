"""``explain``: everything that the store knows of one person."""

from datetime import datetime

from worker.cli import options
from worker.cli.base import Cli
from worker.cli.showing import instant, read_identifier, span
from worker.core.plurals import counted
from worker.store.queries.person import AreaStory, Version
from worker.use_cases.explain import Explanation, UnknownPerson, explain


def run(cli: Cli, *, as_of: str | None, purpose: str | None) -> None:
    """Run ``pts-worker explain``."""
    at = None if as_of is None else options.parse_as_of(as_of)
    app = cli.load("person")
    app.identity()  # an error of the configuration comes before the question
    off_id = read_identifier()
    found = cli.run(lambda: explain(app, off_id, as_of=at, purpose=purpose))
    cli.emit(found, lambda: _print(found))


def _print(found: Explanation) -> None:
    publication = found.publication
    if found.as_of is not None:
        seen = (
            f"run {publication.run_id}, published {instant(publication.published_at)}"
            if publication
            else "nothing was published by then"
        )
        print(f"as of       {instant(found.as_of)}: {seen}")
    if isinstance(found, UnknownPerson):
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
        _print_area(area, is_past=found.as_of is not None)


def _print_area(area: AreaStory, *, is_past: bool) -> None:
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
    print(f"  {'shown then' if is_past else 'in force  '}  {len(current) or 'no restriction'}")
    for version in current:
        _print_version(version)
    if ended:
        print(f"  ended       {len(ended)}")
    for version in ended:
        _print_version(version)


def _print_version(version: Version) -> None:
    print(f"    {version.restriction_id}")
    print(
        f"      from {instant(version.valid_from)} (run {version.opened_run}) "
        f"to {instant(version.valid_to, missing='now')}"
        + (f" (run {version.closed_run})" if version.closed_run else "")
    )
    for name, value in version.columns.items():
        shown = instant(value) if isinstance(value, datetime) else value
        print(f"      {name} = {shown}")
