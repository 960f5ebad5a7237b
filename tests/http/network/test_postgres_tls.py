"""PostgreSQL off loopback: which server is trusted, and what it is sent."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

import anyio
import pytest
from sqlalchemy import text

from tests.support.certificates import Authority, make_authority, server_context
from tests.support.clock import FakeRuntime
from tests.support.made_databases import MakeDatabase
from tests.support.network.postgres_front import HOST, Front, front
from tests.support.program import Installation, Sandbox, sandbox
from worker.errors import ConfigurationError, WorkerError
from worker.roster.query import QueryRoster
from worker.store.database import open_database

pytestmark = pytest.mark.promise("8")

LIES = {
    "no TLS": "does not offer TLS, or an attacker",
    "authority": "unable to get local issuer certificate",
    "age": "certificate has expired",
    "host": "IP address mismatch",
}
"""How somebody in the middle answers, and what is said of it."""
PATIENCE_S = 1.0
QUERY = "SELECT '16858399649' AS off_id"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The CA that the hospital trusts."""
    return make_authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A sandbox for whole runs."""
    with sandbox(tmp_path_factory.mktemp("served"), "--persons", "12") as made:
        yield made


@contextmanager
def liar(
    lie: str, authority: Authority, folder: Path, server: str | None = None
) -> Iterator[Front]:
    """Somebody in the middle who lies so; before a server, or a thief."""
    folder.mkdir(parents=True, exist_ok=True)
    tls = None
    if lie != "no TLS":
        signer = make_authority(folder) if lie == "authority" else authority
        host = "192.0.2.1" if lie == "host" else HOST
        tls = server_context(signer, host, days=-1 if lie == "age" else 1)
    with front(server, tls=tls) as made:
        yield made


async def use_store(url: str, ca_file: Path) -> None:
    """Ask the store's database for one thing."""
    runtime = FakeRuntime().runtime
    async with open_database(url, runtime, ca_file=ca_file, patience_s=PATIENCE_S) as database:
        await database.read(lambda connection: connection.execute(text("SELECT 1")))


async def use_roster(url: str, ca_file: Path) -> None:
    """Read a roster of one person."""
    async for _ in QueryRoster(url, QUERY, ca_file=ca_file).entries():
        pass


def test_no_password_for_a_man_in_the_middle(authority: Authority, tmp_path: Path):
    """Of store and roster, for each lie and each way to ask for verified TLS: not one password."""
    root = f"sslrootcert={authority.file}"
    queries = ["", "?sslmode=verify-full", f"?{root}", f"?sslmode=verify-ca&{root}"]
    attempts = passwords = 0
    for lie, use in product(LIES, (use_store, use_roster)):
        with liar(lie, authority, tmp_path / f"{attempts}") as thief:
            # Whose certificate is good but for the name, verify-ca takes: that is what it means.
            asked = [query for query in queries if lie != "host" or "verify-ca" not in query]
            for query in asked:
                with pytest.raises(ConfigurationError) as caught:
                    anyio.run(use, thief.url(query=query), authority.file)
                message = caught.value.message
                assert f"{HOST}:{thief.port}" in message
                assert LIES[lie] in message
                assert "no password was sent" in message
                assert caught.value.hint
                assert "hemmelig" not in message + caught.value.hint
            assert thief.connections == len(asked)  # once each: it is not tried again
            attempts += thief.connections
            passwords += len(thief.passwords)
    assert (passwords, attempts) == (0, 30)


@pytest.mark.parametrize("use", [use_store, use_roster])
@pytest.mark.parametrize("query", ["", "?sslmode=verify-full", "?sslmode=disable"])
def test_who_is_believed_gets_it(authority: Authority, tmp_path: Path, use: Any, query: str):
    """The thief above can read: with a certificate that is believed, or where none is asked for."""
    tls = None if "disable" in query else server_context(authority, HOST)
    with front(tls=tls) as thief:
        with pytest.raises(WorkerError):
            anyio.run(use, thief.url(query=query), authority.file)
        assert thief.passwords[:1] == [b"hemmelig\0"]


def test_the_program_refuses(
    served: Sandbox, authority: Authority, tmp_path: Path, make_postgres: MakeDatabase
):
    """Exit code 78 at once, with the place and what to do; nothing is read or written."""
    url = make_postgres()
    with liar("authority", authority, tmp_path / "liar", url) as between:
        worker = served.install(tmp_path / "worker", between.url())
        worker.configure(tls={"ca_file": str(authority.file)})
        ended = worker.sync()
    assert ended.code == 78, ended.story()
    assert LIES["authority"] in ended.message
    assert f"{HOST}:{between.port}" in ended.message
    assert "hemmelig" not in ended.out + ended.err
    store = Installation(folder=tmp_path, database_url=url).store
    assert store.one("SELECT count(*) FROM run") == 0


def test_the_right_authority_passes(
    served: Sandbox, authority: Authority, tmp_path: Path, make_postgres: MakeDatabase
):
    """A whole run, store and roster over verified TLS; ``doctor`` says which and how."""
    with front(make_postgres(), tls=server_context(authority, HOST)) as between:
        worker = served.install(tmp_path / "worker", between.url())
        worker.configure(
            roster={"path": None, "url": between.url(), "query": _query(served)},
            tls={"ca_file": str(authority.file)},
        )
        ended = worker.sync()
        assert ended.code == 0, ended.story()
        assert ended.run["totals"]["persons_complete"] == 12
        assert "database.not_encrypted" not in ended.err
        lines = _lines(worker)
        assert between.secured == between.connections > 2
    says = "TLSv1.3, certificate and host name verified"
    for name in ("database", "roster"):
        assert f"({says})" in lines[name]["text"]


def test_disable_is_warned_of_at_each_start(
    served: Sandbox, tmp_path: Path, make_postgres: MakeDatabase
):
    """Switched off by name it runs, and says so each time; ``doctor`` does, too."""
    with front(make_postgres()) as between:
        url = between.url(query="?sslmode=disable")
        worker = served.install(tmp_path / "worker", url)
        worker.configure(roster={"path": None, "url": url, "query": _query(served)})
        ended = worker.sync()
        assert ended.code == 0, ended.story()
        warned = ended.events("database.not_encrypted")
        assert {one["key"] for one in warned} == {"database.url", "roster.url"}
        assert {one["server"] for one in warned} == {f"{HOST}:{between.port}"}
        assert {one["level"] for one in warned} == {"warning"}
        lines = _lines(worker)
    for name in ("database", "roster"):
        assert "(not encrypted)" in lines[name]["text"]


@pytest.mark.parametrize("variable", ["PGSSLMODE=disable", "PGHOST=x"])
def test_the_environment_decides_nothing(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
):
    """Variables of libpq's, which the driver reads if nothing is set."""
    monkeypatch.setenv(*variable.split("="))
    with liar("authority", authority, tmp_path) as thief:
        with pytest.raises(WorkerError):
            anyio.run(use_store, thief.url(), authority.file)
        assert (thief.connections, thief.passwords) == (1, [])


def _lines(worker: Installation) -> dict[str, Any]:
    """What ``doctor`` says, by name."""
    ended = worker.run("doctor")
    assert ended.code == 0, ended.story()
    return {line["name"]: line for line in ended.document["lines"]}


def _query(served: Sandbox) -> str:
    """The sandbox's roster as a query."""
    rows = (line.split(",") for line in served.lines())
    values = ", ".join(f"('{off_id}', '{ref}')" for off_id, ref, *_ in rows)
    return f"SELECT off_id, local_ref FROM (VALUES {values}) AS roster (off_id, local_ref)"
