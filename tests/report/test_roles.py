"""``config/postgresql/roles.sql`` on a real server: its roles read what it says and no more."""

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import anyio
import asyncpg
import pytest
from sqlalchemy import make_url

from tests.support.databases import execute, in_database, migrate, migrate_now
from tests.support.documents import DOCS, ROOT, blocks
from tests.support.report.stores import small_store
from tests.support.store_world import world_on
from worker.report.facts import read_facts
from worker.report.figures import Amount
from worker.views import view_columns

SCRIPT = (ROOT / "config" / "postgresql" / "roles.sql").read_text(encoding="utf-8")
ABOUT_PERSONS = {"person_key", "local_ref", "person_no", "extra", "object_value"}
OVERSEERS = "report_access"
READABLE = {
    "reader": set(view_columns()) - {OVERSEERS},
    "figures": {
        view
        for view, columns in view_columns().items()
        if not ABOUT_PERSONS & {column.name for column in columns}
    }
    - {"report_drift"},  # names of fields as PTS sent them, which nobody has looked at
}

_names = count(1)


@dataclass(frozen=True)
class Granted:
    """A database, and the names of the two roles."""

    server: str
    name: str
    reader: str
    figures: str

    def url(self, role: str | None = None) -> str:
        """As the superuser, unless a role is named."""
        url = make_url(in_database(self.server, self.name))
        return (url.set(username=role) if role else url).render_as_string(hide_password=False)

    async def run(self) -> None:
        """Run the script under these names."""
        await execute(
            self.url(),
            f"SET pts.reader = '{self.reader}'",
            f"SET pts.aggregate_reader = '{self.figures}'",
            SCRIPT,
        )

    @asynccontextmanager
    async def connected(self, role: str | None = None) -> AsyncIterator[Any]:
        connection = await asyncpg.connect(self.url(role))
        try:
            yield connection
        finally:
            await connection.close()

    async def relations(self) -> set[str]:
        """Every table, view and sequence of the program."""
        async with self.connected() as connection:
            rows = await connection.fetch(
                "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace "
                "AND relkind IN ('r', 'v', 'S')"
            )
        return {name for (name,) in rows}


OWNER = "pts_owner"
"""Of the databases and all in them, as the worker's role is. It may not create roles."""


@pytest.fixture(scope="module")
def owned(postgres_url: str) -> str:
    """The name of a migrated database of that owner, to be copied."""
    name = "pts_owned"
    anyio.run(
        execute, postgres_url, f"CREATE ROLE {OWNER} LOGIN", f"CREATE DATABASE {name} OWNER {OWNER}"
    )
    url = make_url(in_database(postgres_url, name)).set(username=OWNER)
    migrate_now(url.render_as_string(hide_password=False))
    return name


@pytest.fixture
def granted(postgres_url: str, owned: str) -> Iterator[Granted]:
    """A copy of it, and the roles in it."""
    number = next(_names)
    database = Granted(
        server=postgres_url,
        name=f"pts_roles_{number}",
        reader=f"pts reader {number}",  # needs quotes
        figures=f"pts_figures_{number}",
    )
    anyio.run(
        execute, postgres_url, f"CREATE DATABASE {database.name} TEMPLATE {owned} OWNER {OWNER}"
    )
    anyio.run(database.run)
    roles = [f'"{name}"' for name in (database.reader, database.figures)]
    anyio.run(execute, postgres_url, *(f"ALTER ROLE {role} LOGIN" for role in roles))
    yield database
    anyio.run(
        execute,
        postgres_url,
        f"DROP DATABASE {database.name} WITH (FORCE)",
        *(f"DROP ROLE {role}" for role in roles),
    )


REFUSED = (
    asyncpg.InsufficientPrivilegeError,
    asyncpg.WrongObjectTypeError,
    asyncpg.ObjectNotInPrerequisiteStateError,  # a view that nobody can write to
)
WRITES = (
    "INSERT INTO {0} DEFAULT VALUES",
    "DELETE FROM {0}",
    "TRUNCATE {0}",
    "DROP VIEW {0}",
    "DROP TABLE {0}",
    "CREATE VIEW public.mine AS SELECT * FROM {0}",
    "LOCK TABLE {0} IN ACCESS EXCLUSIVE MODE",
)


async def test_a_role_reads_its_views_and_nothing_else(granted: Granted):
    """Every table, view and sequence is tried; so is every way to change one of them."""
    async with world_on(granted.url(OWNER)) as world:
        await small_store(world)
    relations = await granted.relations()
    assert {"person", "patient_safety_version", "access_log", OVERSEERS} < relations
    for kind in READABLE:
        await assert_reads_its_views(granted, kind, relations)


async def assert_reads_its_views(granted: Granted, kind: str, relations: set[str]) -> None:
    """A role reads what ``READABLE`` says of these relations, and changes none."""
    assert READABLE[kind] < relations
    readable = set()
    async with granted.connected(getattr(granted, kind)) as connection:
        for name in sorted(relations):
            try:
                rows = await connection.fetch(f"SELECT * FROM {name}")
            except asyncpg.InsufficientPrivilegeError:
                continue
            readable.add(name)
            assert rows or name == "report_drift", name
        assert readable == READABLE[kind]
        for name in sorted(relations):
            for statement in WRITES:
                with pytest.raises(REFUSED):
                    async with connection.transaction():
                        await connection.execute(statement.format(name))


async def test_a_role_can_ask_what_the_page_asks(granted: Granted):
    """The reader every question of docs/reporting.md; the other one those about figures."""
    asked = blocks((DOCS / "reporting.md").read_text(encoding="utf-8"), "(?:sql|postgresql)")
    refused = dict.fromkeys(READABLE, 0)
    for kind, readable in READABLE.items():
        async with granted.connected(getattr(granted, kind)) as connection:
            for sql in asked:
                if set(re.findall(r"\breport_\w+", sql)) <= readable:
                    await connection.fetch(sql)
                    continue
                refused[kind] += 1
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await connection.fetch(sql)
    assert refused == {"reader": 0, "figures": 6}


async def test_the_report_needs_figures_alone(granted: Granted):
    """What it reads names no person: so it takes as long for many of them as for few."""
    async with world_on(granted.url(OWNER), our_clock=True) as world:
        await small_store(world)
        now = world.fake.now()
        expected = await read_facts(world.database.read, now=now)
    async with world_on(granted.url(granted.figures)) as world:
        assert await read_facts(world.database.read, now=now) == expected
    assert expected.last.total == Amount(11, 9)


@pytest.mark.promise("8")
async def test_no_role_can_pass_its_privileges_on(granted: Granted):
    """The script takes back what a role was given by hand; its roles are no accounts."""
    can_grant = "SELECT has_table_privilege($1, 'report_code', 'SELECT WITH GRANT OPTION')"
    grant = f'GRANT SELECT ON report_code TO "{granted.reader}" WITH GRANT OPTION'
    by_hand = f'GRANT SELECT, DELETE ON report_access TO "{granted.reader}"'
    await execute(granted.url(OWNER), grant, by_hand)
    await execute(granted.url(), "REVOKE USAGE ON SCHEMA public FROM PUBLIC")
    async with granted.connected() as connection:
        assert await connection.fetchval(can_grant, granted.reader)
        await granted.run()
        assert not await connection.fetchval(can_grant, granted.reader)
    async with granted.connected(granted.reader) as connection:
        assert await connection.fetch("SELECT * FROM report_code")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.fetch("SELECT * FROM report_access")
    fresh = replace(granted, reader="pts_fresh_reader", figures="pts_fresh_figures")
    await fresh.run()
    roles = (
        "SELECT rolcanlogin, rolsuper, rolinherit FROM pg_roles WHERE rolname LIKE 'pts_fresh_%'"
    )
    async with granted.connected() as connection:
        assert [tuple(row) for row in await connection.fetch(roles)] == [(False, False, True)] * 2
        for name in (fresh.reader, fresh.figures):
            await connection.execute(f"DROP OWNED BY {name}")
            await connection.execute(f"DROP ROLE {name}")


async def test_an_upgrade_keeps_what_was_granted(granted: Granted):
    """It makes the views anew; everybody else's privileges on them stay, too."""
    await execute(
        granted.url(OWNER),
        f'GRANT SELECT ON report_access TO "{granted.reader}" WITH GRANT OPTION',
        "GRANT SELECT (code, name_nb) ON report_code TO PUBLIC",
    )
    sql = (
        "SELECT c.relname, c.relacl, a.attacl FROM pg_class c JOIN pg_attribute a "
        "ON a.attrelid = c.oid WHERE c.relname LIKE 'report_%' ORDER BY c.relname, a.attnum"
    )
    async with granted.connected() as connection:
        before = [tuple(row) for row in await connection.fetch(sql)]
        await migrate(granted.url(OWNER))
        assert [tuple(row) for row in await connection.fetch(sql)] == before
    assert any(acl and "pts reader" in str(acl) for _, acl, _ in before)


RIGHTS_TO_CHANGE = ("INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER")


@pytest.mark.promise("8")
@pytest.mark.parametrize(
    "grant",
    [
        "GRANT SELECT (person_key) ON person TO PUBLIC",
        "GRANT SELECT (os_user) ON report_access TO PUBLIC",
        *(f"GRANT {right} ON report_code TO PUBLIC" for right in RIGHTS_TO_CHANGE),
        "GRANT CREATE ON SCHEMA public TO PUBLIC",
    ],
)
async def test_a_privilege_of_everybody_is_refused(granted: Granted, grant: str):
    """A single column is enough: the script names it, and changes nothing."""
    await execute(granted.url(), grant)
    with pytest.raises(asyncpg.RaiseError, match=r"privileges of its own|may create tables"):
        await granted.run()
