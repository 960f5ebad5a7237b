"""``failures``: what could not be read, one by one."""

from collections.abc import Sequence

from worker.cli.base import Cli
from worker.cli.showing import columns, instant, read_identifier
from worker.core.identity import short_key
from worker.core.plurals import counted
from worker.errors import UsageError
from worker.store.queries.failures import OpenFailure
from worker.use_cases.failures import (
    failures_of_key,
    failures_of_person,
    open_failures,
)

_PREFIX_DIGITS_MIN = 4
_IDENTIFIER_DIGITS = 11


def list(  # noqa: A001 - the command's name
    cli: Cli, *, kind: str | None, area: tuple[str, ...], limit: int
) -> None:
    """Run ``pts-worker failures list``."""
    app = cli.load("report")

    found = cli.run(lambda: open_failures(app, kind=kind, areas=area, limit=limit))
    cli.emit({"failures": found}, lambda: _print_list(found))


def show(cli: Cli, *, person: str, purpose: str | None) -> None:
    """Run ``pts-worker failures show``."""
    key = _prefix(person)
    app = cli.load("report" if key else "person")
    if key:
        found = cli.run(lambda: failures_of_key(app, key, purpose=purpose))
    else:
        app.identity()  # an error of the configuration comes before the question
        off_id = read_identifier()
        found = cli.run(lambda: failures_of_person(app, off_id, purpose=purpose))
    cli.emit({"failures": found}, lambda: _print_person(found))


def _prefix(person: str) -> str:
    """The beginning of a key; empty for ``-``.

    Raises:
        UsageError: it is no beginning of a key, or looks like an identifier. Not repeated.
    """
    if person == "-":
        return ""
    key = person.strip().lower().removeprefix("p-").removesuffix("…")
    if len(key) == _IDENTIFIER_DIGITS and key.isdigit():
        raise UsageError(
            "this looks like an identifier, which every process of the machine can read here",
            hint="give - and the identifier on standard input (or one digit of the key more)",
        )
    if len(key) < _PREFIX_DIGITS_MIN or set(key) - set("0123456789abcdef"):
        raise UsageError(
            f"a person's key begins with at least {_PREFIX_DIGITS_MIN} digits 0-9, a-f",
            hint="`pts-worker failures list` gives the keys",
        )
    return key


def _who(failure: OpenFailure) -> str:
    if failure.person_key is None:
        return f"row {failure.person_id}"
    return short_key(failure.person_key)


def _print_list(found: Sequence[OpenFailure]) -> None:
    if not found:
        print("no open failures")
        return
    columns(
        ("person", "local ref", "area", "kind", "runs", "since UTC"),
        [
            (
                _who(failure),
                failure.local_ref,
                failure.area,
                failure.kind,
                failure.runs,
                f"{failure.first_at:%Y-%m-%d %H:%M}",
            )
            for failure in found
        ],
        notes=[
            f"{failure.reason} (last at {failure.last_at:%Y-%m-%d %H:%M}, "
            f"{counted(failure.attempts, 'attempt')})"
            for failure in found
        ],
    )


def _print_person(found: Sequence[OpenFailure]) -> None:
    if not found:
        print("no open failures of this person")
    for failure in found:
        first, last = instant(failure.first_at), instant(failure.last_at)
        print(f"{_who(failure)}  {failure.area}: {failure.kind}")
        print(f"  reason    {failure.reason}")
        if failure.status is not None:
            print(f"  status    {failure.status}")
        print(f"  since     {first}, {counted(failure.runs, 'run')}")
        print(f"  last      {last}, {counted(failure.attempts, 'attempt')}")
