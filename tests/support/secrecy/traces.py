"""Every command among bad answers and bugs, what it leaves behind, and the search through it."""

import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import anyio
from sqlalchemy import make_url

from tests.support.databases import data_files_of, execute, server_logs_since, server_position
from tests.support.secrecy.canaries import WORD, Place, Secrets, files_below, spellings
from tests.support.secrecy.nights import Night, scheduled
from tests.support.standin import SAFETY
from tools.docs.command_line import commands

# Calls, each with what stands on standard input.

DOCUMENT: Final = Path(__file__).parents[1] / "openapi" / "envelope.json"
"""A description of PTS's interface, as NHN might give one."""


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
        "RunStore.apply",
        "lambda self, reads, **_: [(one.person.off_id.reveal(), one.areas) for one in reads]",
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
    for name, command, given in (
        *((name, "sync", "") for name in CRASHES),
        ("pseudonym", "explain", f"{somebody}\n"),
        ("pseudonym", "erase --json", f"{somebody}\n"),
    ):
        night.call(command, given, label=f"({name}) ", before=broken(name))
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
        chosen = [one.data for one in self.places if one.kind == kind and name in one.name]
        return b"\n".join(chosen)


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
    night.places += [Place(kind="metrics", name="pushed", data=one) for one in night.made.pushed]
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
    """What a PostgreSQL holds on disk: its tables' files, its write-ahead log, its own log."""
    yield Place(kind="database", name="data files", data=anyio.run(data_files_of, url))
    ahead, said = anyio.run(server_logs_since, url, position)
    yield Place(kind="database", name="write-ahead log", data=ahead)
    yield Place(kind="database", name="the server's log", data=said)


async def log_statements(url: str) -> tuple[str, int]:
    """Let the server log every statement with its parameters: even there nobody is named."""
    await execute(url, f"ALTER DATABASE {make_url(url).database} SET log_statement = 'all'")
    return await server_position(url)
