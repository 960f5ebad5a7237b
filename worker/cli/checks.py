"""``doctor``: a list of checks, with one function for each.

A check returns the text of its line, or raises the error that its line shows.
"""

import math
import stat
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import aclosing, asynccontextmanager, suppress
from datetime import timedelta
from functools import partial
from typing import Final, NamedTuple, TypeAlias

import msgspec

from worker.app import App
from worker.cli.options import Cli
from worker.cli.output import fitted
from worker.config.needs import required, unmet
from worker.core.contract import fingerprint
from worker.core.display import counted, visible_lines
from worker.core.hosts import ENVIRONMENTS, service_of
from worker.core.identity import NationalId, is_h_number
from worker.core.model import Person, RosterLineError
from worker.core.retry import RetryPolicy
from worker.core.run import add_place
from worker.core.times import format_duration
from worker.core.verdict import error_of_only_request
from worker.errors import AreaError, ConfigurationError, ExitCode, UnavailableError, WorkerError
from worker.helseid.client import Discovery, HelseIdClient
from worker.helseid.refusals import CLOCK_HINT, clock_problem
from worker.logs import configure
from worker.masking import masked
from worker.ports import Roster
from worker.roster.csv_file import CsvRoster
from worker.roster.query import QueryRoster
from worker.store import sqlite
from worker.store.identity import record_probe, require_service, stored_identity, verify_identity
from worker.store.schema.upgrade import HEAD, check_schema
from worker.store.status import engine_of

_PATIENCE_S: Final = 5.0
_ROSTER_DAYS_MAX: Final = 7
"""A roster may be delivered weekly. An older file was probably not delivered."""
_OPEN_KEY: Final = "accepted only with the sandbox; run `chmod 0400` on the key of a real client"
_SECRETS: Final = ("helseid.private_jwk_file", "privacy.pseudonym_key_file")
_LEARN_HINT: Final = "`pts-worker contract learn` proposes what to declare"
_DECLARED_HINT: Final = f"look at `pts-worker contract show`; {_LEARN_HINT}"
_PROBE_HINT: Final = (
    "`pts-worker doctor --probe --person -` compares the answers for a synthetic person with "
    "restrictions in every area; docs/first-day.md"
)


class Line(NamedTuple):
    """The result of one check: OK, WARN or FAIL."""

    name: str
    state: str
    text: str
    hint: str = ""
    exit_code: ExitCode = ExitCode.OK


Warnings: TypeAlias = dict[str, str]
"""The warnings of one check, each with its remedy. The check adds to it."""
Check: TypeAlias = Callable[[App, Warnings], Awaitable[str]]
NamedCheck: TypeAlias = tuple[str, Check]


def report_checkup(cli: Cli, probe: NationalId | None) -> ExitCode:
    """Run all checks, print a line for each, and return the exit code of the first failure.

    Changes nothing, except that the store notes a successful probe.

    Args:
        probe: the person to read from PTS, if any.
    """
    app = cli.load(None)
    if app.loaded.origins["log.level"] == "default":
        configure("ERROR", app.settings.log.format)  # lower levels would repeat these lines
    lines = cli.run(lambda: _check_all(app, _checks(probe), is_shown=not cli.as_json))
    code = next((line.exit_code for line in lines if line.exit_code), ExitCode.OK)
    cli.emit({"exit_code": code, "lines": [line._asdict() for line in lines]}, lambda: None)
    return code


async def _check_all(app: App, checks: Iterable[NamedCheck], *, is_shown: bool) -> list[Line]:
    lines, reported = list[Line](), dict[str, str]()
    for name, check in checks:
        lines.append(await _result(name, check, app, reported))
        if is_shown:
            _print(lines[-1])
    return lines


async def _result(name: str, check: Check, app: App, reported: dict[str, str]) -> Line:
    """Run one check. ``reported`` maps each error so far to the line that shows it."""
    warnings = Warnings()
    try:
        text = "; ".join((await check(app, warnings), *warnings))
    except WorkerError as error:
        # One missing key fails several checks. Only the first of their lines describes it.
        problems = error.problems or (error.advice,)
        reported_by = {reported.setdefault(problem, name) for problem in problems}
        if name not in reported_by:
            return Line(name, "FAIL", f"see {', '.join(reported_by)}", "", error.exit_code)
        return Line(name, "FAIL", error.message, error.hint, error.exit_code)
    hint = "; ".join(dict.fromkeys(warnings.values()))
    return Line(name, "WARN" if warnings else "OK", masked(text), masked(hint))


def _print(line: Line) -> None:
    text = f"{line.state:<4}  {line.name:<19} {line.text}" + (line.hint and f"\n → {line.hint}")
    # 26 is the width of the columns before the text.
    first, *further = visible_lines(text.replace("\n", f"\n{'':<26}")).split("\n")
    fitted_lines = [fitted(first, sys.stdout, hanging=26)]
    fitted_lines += [fitted(part, sys.stdout, hanging=3) for part in further]
    print("\n".join(fitted_lines), flush=True)


async def check_configuration(app: App, warnings: Warnings) -> str:
    """All keys that a sync needs are set, and all configured files can be used."""
    environment = app.settings.api.environment
    app.loaded.raise_if_any([*unmet(app.settings, "sync")], ConfigurationError)
    for load in (app.identity, app.tls, app.proxy):
        load()
    for key, address in ENVIRONMENTS[environment].items() if environment else ():
        if service_of(app.settings.value(key) or "") != service_of(address):
            # With `test`, the report is marked as synthetic, so the two must agree.
            remedy = "remove one of them: the environment decides whether persons are real"
            warnings[f"api.environment is {environment}, but {key} is not its address"] = remedy
    for key in _SECRETS:
        if (path := app.settings.value(key)) and path.stat().st_mode & stat.S_IRWXO:
            warnings[f"{key}: others can access {path}"] = _OPEN_KEY
    if (file := app.settings.telemetry.textfile) and not file.parent.is_dir():
        remedy = "create it for the metrics"
        warnings[f"telemetry.textfile: there is no folder {file.parent}"] = remedy
    return f"{app.loaded.config_file or 'no file'} read"


async def check_key(app: App, _warnings: Warnings) -> str:
    """The client's key can be read, and has a type that HelseID accepts."""
    app.loaded.raise_if_any([*unmet(app.settings, "helseid")], ConfigurationError)
    return app.client_key().describe()


@asynccontextmanager
async def _discovery(app: App) -> AsyncIterator[tuple[Discovery, HelseIdClient]]:
    issuer = required(app.settings, "helseid.issuer")
    async with app.helseid_http() as http:
        client = HelseIdClient(http, app.runtime, RetryPolicy(attempts_max=2))
        yield Discovery(issuer, client, app.runtime), client


async def check_discovery(app: App, _warnings: Warnings) -> str:
    """HelseID's metadata can be read, and contains the configured issuer."""
    async with _discovery(app) as (discovery, _):
        metadata = await discovery.metadata()
    return f"{metadata.issuer} answers, and names itself as the issuer"


async def check_clock(app: App, warnings: Warnings) -> str:
    """This machine's clock agrees with HelseID's ``Date`` header, within a few seconds."""
    # With a wrong clock HelseID rejects the client, and its error does not mention the time.
    async with _discovery(app) as (discovery, client):
        date = await client.call(discovery.request, lambda answer: answer.headers.get("date"))
    if problem := clock_problem(date, app.runtime.now(), whose="HelseID's"):
        raise ConfigurationError(problem, hint=CLOCK_HINT)
    if not date:
        warnings["HelseID sent no time"] = "check the clock by hand"
    return "agrees with HelseID's" if date else "not compared"


async def check_token(app: App, _warnings: Warnings) -> str:
    """HelseID issues a token with the requested scopes."""
    app.loaded.raise_if_any([*unmet(app.settings, "helseid")], ConfigurationError)
    async with app.helseid() as helseid:
        token = await helseid.tokens.token()
    client = app.settings.helseid
    return f"{client.sender_constraint}, valid for {token.expires_in_s:.0f} s, {client.scope}"


async def check_reach(app: App, _warnings: Warnings) -> str:
    """PTS answers a request without authorization, with any status."""
    # No token and no person: this separates a network problem from one of access.
    url = app.base_url()
    try:
        async with app.transport() as transport:
            status = (await transport.post(url, headers={}, body=b"")).status
    except AreaError as error:
        hint = error.hint or "check DNS, the firewall and api.base_url"
        raise UnavailableError(f"{url}: {error.message}", hint=hint) from None
    return f"{url} answers (HTTP {status} without a token)"


async def check_probe(app: App, warnings: Warnings, off_id: NationalId) -> str:
    """PTS answers for one person as the contract declares.

    If a record of every area was read, the contract is proven, and the store notes it.
    """
    app.loaded.raise_if_any([*unmet(app.settings, "read-pts")], ConfigurationError)
    counts = dict[str, int]()
    if is_h_number(off_id.reveal()) and not app.sends_h_numbers:
        raise ConfigurationError("an H-number is not sent to PTS (roster.send_h_numbers)")
    person = Person(off_id=off_id, person_key="probe")
    async with app.reader(app.pace(), attempts_max=2) as reader:
        for area in app.areas():
            try:
                read = await reader.read(person, area.name)
            except AreaError as error:
                final = error_of_only_request(error)
                final.message = f"{area.name} at {app.base_url()}: {error.message}"
                if final.exit_code == ExitCode.DATA_CONTRACT:
                    final.hint = error.hint or _DECLARED_HINT
                raise final from None
            counts[area.name] = len(read.records)
            # A declared column without any value suggests a wrong path in the contract.
            declared = app.contract()[area.name].columns
            empty = [
                column.name
                for index, column in enumerate(area.columns)
                if read.records
                and column.name in declared
                and all(record.columns[index] is None for record in read.records)
            ]
            for finding, names in (("undeclared", [*read.drift]), ("empty columns", empty)):
                if names:
                    warnings[f"{area.name}: {finding}: {', '.join(names)}"] = _LEARN_HINT
    if all(counts.values()):
        with suppress(WorkerError):  # the database check reports it
            async with app.database(patience_s_max=_PATIENCE_S) as store:
                await record_probe(store, app.contract_fingerprints())
    for name in [name for name, count in counts.items() if not count]:
        warnings[f"{name}: no record was read, so its shape is unknown"] = _PROBE_HINT
    return ", ".join(f"{name} {counted(count, 'record')}" for name, count in counts.items())


async def check_contract(app: App, warnings: Warnings) -> str:
    """The contract can be read, and a probe has proven it."""
    contract = app.contract()
    marks = [f"{name} {fingerprint(contract[name])}" for name in app.settings.sync.areas]
    origin = app.settings.api.contract_file or "the one that comes with the program"
    for name in app.settings.sync.areas:
        if not contract[name].person:
            remedy = "declare `person`: without it, an answer about another person is not noticed"
            warnings[f"{name}: records name no person (person = [])"] = remedy
    async with app.database(patience_s_max=_PATIENCE_S) as store:
        stored = await store.read(stored_identity)
        if stored.probed_contract != app.contract_fingerprints():
            warnings["not yet proven by a probe"] = _PROBE_HINT
    return f"{origin}: {', '.join(marks)}"


async def check_database(app: App, warnings: Warnings) -> str:
    """The store is reachable, and has the configured schema, pseudonym key and PTS."""
    async with app.database(checked=False, patience_s_max=_PATIENCE_S) as database:
        if file := sqlite.file_of(database.engine.url):
            sqlite.require_file(database.engine.url, note=app.loaded.missing)
            sqlite.require_writable(file)
            if problem := sqlite.disk_space_problem(file):
                warnings[problem] = "free some space on that disk"
        engine = await engine_of(database)
        await check_schema(database)
        await verify_identity(database, app.identity())
        if app.settings.api.base_url:
            await database.read(require_service, service_of(app.base_url()))
    return f"{engine}, schema {HEAD}"


async def check_roster(app: App, warnings: Warnings) -> str:
    """The roster can be read. Counts its persons, and the requests of one run.

    The estimate is one request for each area of a person. Further pages and retries add to it.
    """
    sync = app.settings.sync
    if app.settings.roster.path == "-":
        return "standard input"  # it can be read only once, and the run needs it
    roster = app.roster()
    counts = await _count(roster, sends_h_numbers=app.sends_h_numbers)
    _warn_of_lines(counts, warnings)
    requests = (counts.persons - counts.not_sent) * len(sync.areas)
    duration = timedelta(minutes=math.ceil(requests / sync.requests_per_second / 60))
    text = (
        f"{counted(counts.persons, 'person')}, {counted(requests, 'request')}, about "
        f"{format_duration(duration)} at {sync.requests_per_second:g} requests a second"
    )
    if counts.not_sent:
        text += f", {counted(counts.not_sent, 'H-number')} not sent (roster.send_h_numbers)"
    if isinstance(roster, QueryRoster) and roster.connection:
        text += f" ({roster.connection})"
    if isinstance(roster, CsvRoster):
        days = (app.runtime.now() - roster.written_at()).days
        if days > _ROSTER_DAYS_MAX:
            remedy = "check the job that delivers it"
            warnings[f"{app.settings.roster.path} was written {days} days ago"] = remedy
    return text


class _Counts(msgspec.Struct):
    """Counts of a roster: persons, those that are not sent, and lines that need attention."""

    persons: int = 0
    not_sent: int = 0
    errors: int = 0
    first_error: str = ""
    contradictions: int = 0
    first_contradiction: str = ""
    wrong_digits: int = 0
    first_wrong_digits: list[str] = []


def _warn_of_lines(counts: _Counts, warnings: Warnings) -> None:
    """Add a warning for each kind of line that needs attention."""
    if counts.errors:
        remedy = f"each counts as a failure; the first: {counts.first_error}"
        warnings[f"{counted(counts.errors, 'line')} that cannot be read"] = remedy
    if counts.contradictions:
        repeated = counted(counts.contradictions, "line")
        remedy = (
            "each person is read once, with the local_ref and cohort of the first line; see "
            f"{counts.first_contradiction}"
        )
        warnings[f"{repeated} of a repeated person with another local_ref or cohort"] = remedy
    if counts.wrong_digits:
        lines = ", ".join(counts.first_wrong_digits)
        remedy = f"a mistyped identifier asks about another person: correct {lines}"
        warnings[f"{counted(counts.wrong_digits, 'identifier')} with wrong check digits"] = remedy


async def _count(roster: Roster, *, sends_h_numbers: bool) -> _Counts:
    # Hashes are smaller than identifiers, and keep the identifiers out of memory.
    counts, labels = _Counts(), dict[int, int]()
    async with aclosing(roster.entries()) as lines:
        async for entry in lines:
            if isinstance(entry, RosterLineError):
                counts.errors += 1
                counts.first_error = counts.first_error or f"{entry.where}: {entry.problem}"
                continue
            label = hash((entry.local_ref, entry.cohort))
            person = hash(entry.off_id.reveal())
            is_new = person not in labels
            counts.persons += is_new
            if entry.is_h_number and not sends_h_numbers:
                # No warnings: neither its digits nor its labels reach PTS or a reader.
                counts.not_sent += is_new
                labels.setdefault(person, label)
                continue
            if not entry.checksum_ok:
                counts.wrong_digits += 1
                add_place(counts.first_wrong_digits, entry.where)
            if labels.setdefault(person, label) != label:
                counts.contradictions += 1
                counts.first_contradiction = counts.first_contradiction or entry.where
    return counts


def _checks(probe: NationalId | None) -> Iterator[NamedCheck]:
    """Ordered by dependency: a failure often causes the failures below it."""
    yield "configuration", check_configuration
    yield "key", check_key
    yield "discovery", check_discovery
    yield "clock", check_clock
    yield "token", check_token
    yield "database", check_database
    yield "PTS", check_reach
    if probe is not None:
        yield "PTS probe", partial(check_probe, off_id=probe)
    yield "contract", check_contract
    yield "roster", check_roster
