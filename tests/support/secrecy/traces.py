"""What a bad night leaves behind, and the search through it."""

import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import anyio
from sqlalchemy import make_url

from tests.support.databases import data_files_of, execute, server_logs_since, server_position
from tests.support.secrecy.canaries import Place, Secrets, files_below, spellings
from tests.support.secrecy.crashes import crash
from tests.support.secrecy.every_command import calls_of, wrong_calls_of
from tests.support.secrecy.nights import Night, scheduled
from tools.docs.command_line import commands

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
