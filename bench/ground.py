"""What a measured program stands on.

A folder with keys, configuration and rosters; stand-ins for PTS and HelseID; fresh databases; and
which cores are whose.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import IO, Any, Final, cast

import anyio
import asyncpg

from bench.machine import cores
from bench.measure import FailedError, on_cores
from bench.people import roster_lines
from tests.support.databases import execute, in_database, migrate_now, postgres_server

ROOT: Final = Path(__file__).parents[1]
CONCURRENCY: Final = 64
RATE_MAX: Final = 100_000
"""The highest ``sync.requests_per_second`` that the worker takes."""
LATENCY_MS: Final = 20
SERVER_SETTINGS: Final = ("server_version", "fsync", "synchronous_commit", "shared_buffers")

_CONFIG: Final = f"""\
[helseid]
client_id = "bench"
private_jwk_file = "client.jwk"

[privacy]
pseudonym_key_file = "pseudonym.key"

[sync]
concurrency = {CONCURRENCY}
requests_per_second = {RATE_MAX}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """One folder of work.

    Attributes:
        client_cores: where one measured process runs; empty: anywhere.
        standins: base URLs: ``fast`` and ``late`` run beside the client's core.
        postgres: the server's URL; empty if it was not asked for.
    """

    folder: Path
    client_cores: frozenset[int]
    standins: Mapping[str, str]
    postgres: str
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def env(self, database_url: str) -> dict[str, str]:
        """The environment of a measured program: nothing of the caller's but where programs are."""
        return _environment(self.folder) | {
            "PTS_CONFIG": str(self.folder / "worker.toml"),
            "PTS_DATABASE__URL": database_url,
        }

    def roster(self, persons: int) -> Path:
        """A roster of so many persons, written once."""
        path = self.folder / f"roster-{persons}.csv"
        if not path.exists():
            with path.open("w", encoding="utf-8") as file:
                file.writelines(roster_lines(persons))
        return path

    def sync(self, persons: int, *, standin: str = "fast", module: str = "worker") -> list[str]:
        """The command of a run over so many persons."""
        base_url = self.standins[standin]
        return [
            *(sys.executable, "-m", module, "sync", "--json"),
            *("--roster", str(self.roster(persons))),
            *("--set", f"api.base_url={base_url}"),
            *("--set", f"helseid.issuer={base_url}/sts"),
        ]

    def bare(self, persons: int, *, standin: str = "fast", loop: str = "asyncio") -> list[str]:
        """The command of the bare loop over so many persons."""
        return [
            *(sys.executable, "-m", "bench.bare", "--base-url", self.standins[standin]),
            *("--roster", str(self.roster(persons)), "--concurrency", str(CONCURRENCY)),
            *("--loop", loop),
        ]

    @contextlib.contextmanager
    def database(self, kind: str) -> Iterator[str]:
        """The URL of a fresh database at the program's schema."""
        name = f"bench_{next(self._numbers)}"
        if kind == "sqlite":
            path = self.folder / f"{name}.db"
            shutil.copy(self.folder / "template.db", path)
            yield f"sqlite:///{path}"
            for file in self.folder.glob(f"{name}.db*"):
                file.unlink()
            return
        anyio.run(execute, self.postgres, "CHECKPOINT", f"CREATE DATABASE {name} TEMPLATE bench")
        yield in_database(self.postgres, name)
        anyio.run(execute, self.postgres, f"DROP DATABASE {name} WITH (FORCE)")


@contextlib.contextmanager
def ground(folder: Path | None, *, with_postgres: bool) -> Iterator[Ground]:
    """Prepare everything, and remove it in the end.

    Args:
        folder: where the work's folder is made; None: where temporary files go.
        with_postgres: start a server.
    """
    ours = cores()
    client = frozenset(ours[-1:]) if len(ours) > 1 else frozenset()
    others = frozenset(ours) - client if client else frozenset()
    with contextlib.ExitStack() as stack:
        made = stack.enter_context(tempfile.TemporaryDirectory(prefix="pts-bench-", dir=folder))
        path = Path(made)
        (path / "worker.toml").write_text(_CONFIG, encoding="utf-8")
        for name, out in (("new", "client.jwk"), ("pseudonym", "pseudonym.key")):
            command = [sys.executable, "-m", "worker", "keys", name, "--out", out]
            subprocess.run(
                command, cwd=path, env=_environment(path), check=True, capture_output=True
            )
        migrate_now(f"sqlite:///{path / 'template.db'}")
        postgres = ""
        if with_postgres:
            postgres = stack.enter_context(postgres_server())
            anyio.run(execute, postgres, "CREATE DATABASE bench")
            migrate_now(in_database(postgres, "bench"))
        standins = {
            "fast": stack.enter_context(standin(path, others)),
            "late": stack.enter_context(standin(path, others, latency_ms=LATENCY_MS)),
        }
        yield Ground(folder=path, client_cores=client, standins=standins, postgres=postgres)


@contextlib.contextmanager
def standin(folder: Path, on: frozenset[int], *, latency_ms: int = 0) -> Iterator[str]:
    """A stand-in in a process of its own; its base URL.

    Raises:
        FailedError: it did not start.
    """
    command = [sys.executable, "-m", "bench.standin", "--latency-ms", str(latency_ms)]
    with on_cores(on):
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=_environment(folder),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
    given, described = cast("IO[bytes]", process.stdin), cast("IO[bytes]", process.stdout)
    try:
        port = described.readline().decode("ascii").strip()
        if not port:
            raise FailedError("the stand-in did not start")
        yield f"http://127.0.0.1:{port}"
    finally:
        given.close()
        described.close()
        process.wait(30)


def _environment(folder: Path) -> dict[str, str]:
    """As an installed program has it: its byte code is there, and nothing else of ours."""
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "PYTHONPYCACHEPREFIX": str(folder / "bytecode"),
        "LANG": "C.UTF-8",
    }


def server_settings(server_url: str) -> str:
    """The settings of a PostgreSQL that its speed depends on."""
    return ", ".join(f"{name} {fetch(server_url, f'SHOW {name}')}" for name in SERVER_SETTINGS)


def fetch(url: str, statement: str) -> Any:
    """The single value of a statement on PostgreSQL."""

    async def ask() -> Any:
        connection = await asyncpg.connect(url)
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()

    return anyio.run(ask)
