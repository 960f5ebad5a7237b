"""No identifier, token, key or body anywhere but where it belongs, at DEBUG and with faults on."""

import base64
import json
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import anyio
import asyncpg
import pytest
from sqlalchemy import make_url

from tests.support.databases import data_files_of, execute
from tests.support.made_databases import BOTH, fresh_database
from tests.support.secrecy.canaries import CANARY, JWT, OPAQUE, WORD, Place, Secrets, spaced
from tests.support.secrecy.nights import (
    Night,
    database_files,
    killed_in_mid_run,
    prepare,
    scheduled,
)
from tests.support.standin import SAFETY, off_id_of
from tests.support.standin import standin as serve
from tools.docs.command_line import commands

_TOKENS = re.compile(rb"tok\.[\w-]{8}\.|eyJ[\w-]{10,}\.[\w-]{10,}|" + OPAQUE.encode())


# Calls, each with what stands on standard input.

DOCUMENT: Final = Path(__file__).parents[1] / "support/openapi/envelope.json"
"""A description of PTS's interface, as NHN might give one."""


def tokens_in(data: bytes) -> set[bytes]:
    """Access tokens of the stand-in, whatever looks like a JWT, and what looks like nothing."""
    return set(_TOKENS.findall(data))


def spellings(key: bytes) -> Iterator[bytes]:
    """Bytes as they stand, in hexadecimal, in Base64 and as Python writes them."""
    yield key
    yield key.hex().encode()
    yield key.hex().upper().encode()
    yield base64.b64encode(key)
    yield base64.urlsafe_b64encode(key).rstrip(b"=")
    yield repr(key)[2:-1].encode()


def files_below(folder: Path, kind: str, *, but: Iterable[Path] = ()) -> Iterator[Place]:
    """Every file with its name, but for what was planted."""
    planted = set(but)
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path not in planted:
            name = str(path.relative_to(folder))
            yield Place(kind=kind, name=name, data=name.encode() + b"\n" + path.read_bytes())


def refused_words_in(data: bytes) -> bool:
    """Whether the data contain a word of a refused body."""
    return CANARY.encode() in data


async def server_position(url: str) -> tuple[str, int]:
    """The current segment of PostgreSQL's write-ahead log, and the size of its server log.

    The segment is new.
    """
    connection = await asyncpg.connect(url)
    try:
        # Other tests may have written personal values to the segment before.
        await connection.execute("SELECT pg_switch_wal()")
        await connection.execute("SELECT pg_logical_emit_message(false, 'tests', 'begin')")
        name = await connection.fetchval("SELECT pg_walfile_name(pg_current_wal_insert_lsn())")
        folder = Path(await connection.fetchval("SHOW data_directory"))
        return name, (folder / "log").stat().st_size
    finally:
        await connection.close()


async def server_logs_since(url: str, position: tuple[str, int]) -> tuple[bytes, bytes]:
    """PostgreSQL's write-ahead log and server log since a position."""
    first, offset = position
    connection = await asyncpg.connect(url)
    try:
        last = await connection.fetchval("SELECT pg_walfile_name(pg_current_wal_insert_lsn())")
        folder = Path(await connection.fetchval("SHOW data_directory"))
    finally:
        await connection.close()
    ahead = [
        path.read_bytes()
        for path in sorted((folder / "pg_wal").iterdir())
        if path.is_file() and first <= path.name <= last
    ]
    return b"".join(ahead), (folder / "log").read_bytes()[offset:]


def calls_of(night: Night) -> Iterator[tuple[str, str]]:
    """One line and more for each command that ends by itself."""
    known, gone, other = night.healthy[:3]
    failed = next(off_id for off_id, _ in night.plan)
    yield from (
        ("db check", ""),
        ("db upgrade", ""),
        ("init --out new.toml", ""),
        ("config check", ""),
        ("config show", ""),
        ("config show --json", ""),
        ("contract show", ""),
        ("contract show --json", ""),
        (f"contract from-openapi {DOCUMENT}", ""),
        ("contract learn", f"{known}\n{failed}\n"),
        ("keys new --out keys/new.jwk", ""),
        ("keys public", ""),
        ("keys rotate", ""),
        ("keys pseudonym --out keys/new.key", ""),
        ("sync --json", ""),
        ("status", ""),
        ("status --json", ""),
        ("failures list", ""),
        ("failures list --json", ""),
        ("failures show -", f"{failed}\n"),
        ("backfill --failed --log-format console", ""),
        ("explain", f"{known}\n"),
        ("explain --json", f"{failed}\n"),
        ("backfill --person -", f"{known}\n{failed}\n{other[:9]}\n"),
        ("doctor --probe --person - --set log.level=DEBUG", f"{failed}\n"),
        ("doctor --probe --json", ""),
        ("export --out exported/csv", ""),
        ("report --out report.html --min-cell 0", ""),
        ("report --out rapport.html --language nn", ""),
        ("db backup exported/pts.db", ""),
        ("erase --json", f"{gone}\n"),
    )


def wrong_calls_of(night: Night) -> Iterator[tuple[str, str]]:
    """Calls that give an identifier, or what is nearly one, where it must not stand."""
    off_id = night.healthy[0]
    grouped = f"{off_id[:6]} {off_id[6:]}"
    for command in ("explain", "erase", "backfill --person", "failures show"):
        yield f"{command} {off_id}", ""
    yield f"explain {grouped} --json", ""
    yield f"sync --{off_id}", ""
    yield off_id, ""
    yield "explain", f"{off_id}7\n"
    yield "erase --json", f"{off_id}\n{grouped}\n"


# Bugs with an identifier, a token and a body at hand.

CRASHES: Final[Mapping[str, tuple[str, str, str]]] = {
    "page": (
        "worker.pts.reader",
        "read_answer",
        "lambda status, headers, body, contract, off_id: (off_id, body)",
    ),
    "request": (
        "worker.http.transport",
        "Transport.post",
        "lambda self, url, headers, body, **more: (headers, body)",
    ),
    "batch": (
        "worker.store.runs.run_store",
        "RunStore.write_reads",
        "lambda self, reads, **_: [(read.person.off_id.reveal(), read.areas) for read in reads]",
    ),
    "pseudonym": (
        "worker.core.identity",
        "PseudonymKey.pseudonym",
        "lambda self, off_id: off_id.reveal()",
    ),
}
"""Where the program is broken: module, function, and what its exception's text is made of."""

_BREAK: Final = """
import importlib, inspect
owner = importlib.import_module({module!r})
*path, name = {path!r}.split(".")
for part in path:
    owner = getattr(owner, part)
real, speak = getattr(owner, name), {speak}

def fail(*given, **named):
    text = str(speak(*given, **named))
    with open("tmp/reported", "w") as reported:
        reported.write(text)
    raise RuntimeError(text)

async def fail_later(*given, **named):
    fail(*given, **named)

setattr(owner, name, fail_later if inspect.iscoroutinefunction(real) else fail)
"""

_REFUSE: Final = {
    "sqlite": """
        CREATE TRIGGER refusing BEFORE INSERT ON patient_safety_version
        WHEN NEW.cause LIKE '%refuse%' BEGIN SELECT RAISE(ABORT, 'refused'); END
        """,
    "postgresql": """
        ALTER TABLE patient_safety_version ADD CONSTRAINT refusing
        CHECK (cause NOT LIKE '%refuse%') NOT VALID
        """,
}
"""Lets the database refuse a row, and say so with the row's values."""

_ALLOW: Final = {
    "sqlite": "DROP TRIGGER refusing",
    "postgresql": "ALTER TABLE patient_safety_version DROP CONSTRAINT refusing",
}


def broken(name: str) -> str:
    """Code that breaks the program at one place."""
    module, path, speak = CRASHES[name]
    return _BREAK.format(module=module, path=path, speak=speak)


def crash(night: Night) -> None:
    """One bug after the other; a row that the database refuses; a ledger that makes no sense.

    PTS answers well meanwhile, so that each bug is met.
    """
    night.made.script.clear()
    somebody = night.healthy[0]
    for name, command, stdin in (
        *((name, "sync", "") for name in CRASHES),
        ("pseudonym", "explain", f"{somebody}\n"),
        ("pseudonym", "erase --json", f"{somebody}\n"),
    ):
        night.call(command, stdin, label=f"({name}) ", before=broken(name))
        reported = night.worker.folder / "tmp" / "reported"
        night.crashes[f"({name}) {command}"] = reported.read_text() if reported.exists() else ""
        reported.unlink(missing_ok=True)

    night.call("sync", label="(mended) ")
    store = night.worker.store
    dialect = "sqlite" if store.is_sqlite else "postgresql"
    store.rows(_REFUSE[dialect])
    night.made.people[night.healthy[3]][SAFETY][0]["cause"] = f"refuse {WORD}"
    night.call("sync", label="(row) ")
    night.crashes["(row) sync"] = WORD
    store.rows(_ALLOW[dialect])

    store.rows("UPDATE run SET areas = 'no json' WHERE published_at IS NULL")
    night.call("sync", label="(ledger) ")
    night.crashes["(ledger) sync"] = ""


# What is left behind.

_COMMANDS: Final = frozenset(commands())
LEAVES: Final = {
    words
    for words in _COMMANDS
    if not any(other[: len(words)] == words and other != words for other in _COMMANDS)
} - {("sandbox",)}
"""The commands that have something to do with persons."""


@dataclass(frozen=True, kw_only=True)
class Traces:
    """All that a night has left behind, and what must not be in it.

    Attributes:
        leaves: the commands that were called.
        spawned: processes that the program started.
        written: files that it opened for writing.
    """

    night: Night
    secrets: Secrets
    leaves: set[tuple[str, ...]]
    spawned: list[str]
    written: list[Path]

    @property
    def places(self) -> list[Place]:
        return self.night.places

    def all_of(self, kind: str, name: str = "") -> bytes:
        """Everything of a kind, or of those whose name holds some words."""
        data = [place.data for place in self.places if place.kind == kind and name in place.name]
        return b"\n".join(data)


def leaf_of(line: str) -> tuple[str, ...]:
    """The command that a line calls."""
    words = tuple(shlex.split(line))
    return next((words[:n] for n in (1, 2) if words[:n] in LEAVES), ())


def live(night: Night) -> Iterator[str]:
    """Everything in one process, after another one has died; the lines that were called."""
    night.made.script.clear()
    night.call("sync", label="(good) ")
    night.made.script.update(night.plan)
    for line, stdin in calls_of(night):
        night.call(line, stdin)
        yield line
    for line, stdin in wrong_calls_of(night):
        night.call(line, stdin, label="(wrong) ")
    scheduled(night)
    yield "schedule"
    crash(night)


def gather(night: Night, lines: list[str]) -> Traces:
    """All that is left, but for what was planted."""
    folder, store, spawned = night.worker.folder, night.worker.store, night.seen("spawned")
    jwks = [folder / "keys" / "new.jwk", *folder.rglob("client-key.json")]
    jwks += [folder / "client.jwk", folder / "client.jwk.new"]
    keys = [json.loads(path.read_bytes())["d"].encode() for path in jwks]
    for path in folder.rglob("*.key"):
        keys += spellings(path.read_bytes())
    night.places += [
        Place(kind="arguments", name=line, data=line.encode()) for line in (*lines, *spawned)
    ]
    night.places += [
        Place(kind="database", name=table, data=repr(rows).encode())
        for table, rows in store.everything().items()
    ]
    night.places += [Place(kind="metrics", name="pushed", data=body) for body in night.made.pushed]
    exported = folder / "exported"
    night.places += files_below(exported, "export")
    planted = {*exported.rglob("*"), *folder.rglob("roster.csv"), *folder.rglob("*.key"), *jwks}
    planted |= {*folder.glob("in-*.txt"), *folder.glob("out-*.txt")}  # the latter were kept
    night.places += files_below(folder, "file", but=planted)
    return Traces(
        night=night,
        secrets=Secrets(identifiers=night.identifiers, keys=tuple(keys)),
        leaves={leaf_of(line) for line in lines},
        spawned=spawned,
        written=[Path(name) for name in night.seen("written")],
    )


def server_files(url: str, position: tuple[str, int]) -> Iterator[Place]:
    """The files of a PostgreSQL server: tables, write-ahead log and server log."""
    yield Place(kind="database", name="data files", data=anyio.run(data_files_of, url))
    write_ahead_log, server_log = anyio.run(server_logs_since, url, position)
    yield Place(kind="database", name="write-ahead log", data=write_ahead_log)
    yield Place(kind="database", name="the server's log", data=server_log)


async def log_statements(url: str) -> tuple[str, int]:
    """Let the server log every statement with its parameters: even there nobody is named."""
    await execute(url, f"ALTER DATABASE {make_url(url).database} SET log_statement = 'all'")
    return await server_position(url)


pytestmark = pytest.mark.promise("8")

EVERY = 3
"""So manieth kind of bad answer is in the quick run; the nightly one has all of them."""
MAY_HOLD_TEXTS = ("database", "export", "explained")


@pytest.fixture(scope="module", params=BOTH)
def traces(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Traces:
    """What a bad night has left behind, with pseudonyms."""
    url, folder = fresh_database(request), tmp_path_factory.mktemp("secrecy")
    position = None if url.startswith("sqlite") else anyio.run(log_statements, url)
    with serve() as made:
        night = prepare(made, folder, url, every=1 if position else EVERY)
        killed_in_mid_run(night)
        found = gather(night, list(live(night)))
    if position:
        night.places += server_files(url, position)
    else:
        night.places += database_files(night.worker.store, "at the end")
    return found


def test_every_command_is_called(traces: Traces) -> None:
    """There is a call for each command of the program: a new one cannot be forgotten here."""
    assert traces.leaves == LEAVES


def test_every_fault_was_met(traces: Traces) -> None:
    """Each call ended as it had to, and each bad answer was one."""
    ended = traces.night.ended
    assert ended["sync --json"].run["totals"]["areas_failed"] == traces.night.bad_areas
    expected = {
        "(wrong)": {2},
        "(killed)": {-9},
        "(good)": {3},
        "(mended)": {3},
        "sync": {3},
        "db backup": {0, 78},  # PostgreSQL has its own
        "backfill --failed": {3, 5, 65, 69},
        "backfill": {3},
        "doctor --probe --person": {65, 69},
    }
    for line, one in ended.items():
        codes = next((codes for head, codes in expected.items() if line.startswith(head)), {0})
        if line not in traces.night.crashes:
            assert one.code in codes, (line, one.err[-2000:])
    assert traces.night.made.violations == []


def test_a_crash_is_reported_without_values(traces: Traces) -> None:
    """A bug is 70, with its place and class; what its exception said is not repeated."""
    for line, text in traces.night.crashes.items():
        ended = traces.night.ended[line]
        assert text or line == "(ledger) sync", f"{line}: the bug was not met"
        assert ended.code == 70, (line, ended.err[-2000:])
        assert "Traceback (most recent call last):" in ended.err
        assert "this is a bug" in ended.out + ended.err
        assert re.search(r'File ".*worker/\w+/\w+\.py", line \d+, in \w+', ended.err)
        assert re.search(r"^\s*[\w.]*Error\b", ended.err, re.MULTILINE)
        assert [word for word in text.split() if len(word) > 15 and word in ended.err] == []
    everything = " ".join(traces.night.crashes.values()).encode()
    assert traces.secrets.identifiers_in(everything)
    assert tokens_in(everything)
    assert WORD.encode() in everything


def test_there_was_something_to_find(traces: Traces) -> None:
    """Every kind of place holds much, and of what may be kept the word in a text."""
    assert traces.all_of("log").count(b"area.unread") > traces.night.bad_areas
    assert b"debug" in traces.all_of("log")
    assert b"pts_worker_" in traces.all_of("metrics", "/metrics")
    pushed = traces.night.made.pushed
    assert b"pts_worker_" in b"".join(
        one for one in pushed if b"gateway" in one.partition(b"\n")[0]
    )
    assert b"pts_worker_" in traces.all_of("file", "pts.prom")
    assert b"<svg" in traces.all_of("file", "report.html")
    assert WORD.encode() in traces.all_of("export", "csv")
    named = {
        True: ("pts.db killed", "pts.db-wal killed", "pts.db at the end"),
        False: ("data files", "write-ahead log", "the server's log"),
    }
    for name in named[traces.night.worker.store.is_sqlite]:
        assert traces.all_of("database", name), name
        assert name == "pts.db killed" or WORD.encode() in traces.all_of("database", name), name


def test_the_search_finds_an_identifier() -> None:
    """In each form that people and programs write."""
    off_id = off_id_of(28)
    forms = {
        "digits": off_id,
        "short": off_id.lstrip("0"),
        "groups": spaced(off_id),
        "dash": spaced(off_id).replace(" ", "-"),
        "number": json.dumps({"x": int(off_id)}),
        "in more digits": f"99{off_id}11",
    }
    secrets = Secrets(identifiers=frozenset({off_id, off_id_of(29)}), keys=())
    found = {name: secrets.identifiers_in(f"x{text}y".encode()) for name, text in forms.items()}
    assert found == {name: {off_id} for name in forms}
    assert len(tokens_in(f"{JWT} {OPAQUE}".encode())) == 2


def test_no_identifier(traces: Traces) -> None:
    """With pseudonyms no identifier is anywhere, not even in the database and its logs."""
    found = {place.name: traces.secrets.identifiers_in(place.data) for place in traces.places}
    assert {name: sorted(named) for name, named in found.items() if named} == {}


def test_no_token_and_no_key(traces: Traces) -> None:
    """No token, nothing like a signed JWT; no key, old or new, in any spelling."""
    assert [(place, found) for place in traces.places if (found := tokens_in(place.data))] == []
    assert [place for place in traces.places if traces.secrets.keys_in(place.data)] == []


def test_no_body_that_was_refused(traces: Traces) -> None:
    """No word of a body that was not understood is anywhere; it is not stored, either."""
    assert [place for place in traces.places if refused_words_in(place.data)] == []


def test_no_text_but_where_it_is_kept(traces: Traces) -> None:
    """A word of a restriction stands in the database, in exports and in ``explain`` alone."""
    elsewhere = [place for place in traces.places if place.kind not in MAY_HOLD_TEXTS]
    assert [place for place in elsewhere if WORD.encode() in place.data] == []


def test_nothing_is_started_and_nothing_written_elsewhere(traces: Traces) -> None:
    """No process that could show arguments is started; every file written was searched above."""
    assert traces.spawned == []
    folder = traces.night.worker.folder
    assert [
        path
        for path in traces.written
        if not path.is_relative_to(folder) and "__pycache__" not in path.parts
    ] == []
    assert any(folder / "exported" / "csv" in path.parents for path in traces.written)
