"""A store as an earlier program left it: four runs, by hand, in the columns of revision 0001.

| run | day | what |
|---|---|---|
| 1 | 1 | sync, published: ``a`` has x and k, ``b`` has y, ``c`` has z |
| 2 | 2 | sync, published with gaps: x has changed; ``b`` has left; ``c`` failed, of safety |
| 3 | 3 | backfill, published: ``a`` has w, too |
| 4 | 4 | sync, interrupted: it has read ``c``, with q |

Hashes and digests stand here as they were then: a program that makes others would take everything
for changed.
"""

from typing import Any, Final

from alembic import command
from sqlalchemy import Connection, inspect, text

from worker.store.schema.upgrade import alembic_config

SAFETY, PRIVACY = "patient-safety", "patient-privacy"
AREAS = f'["{SAFETY}","{PRIVACY}"]'
A, B, C = "a" * 64, "b" * 64, "c" * 64

PAYLOADS: Final = {
    "x": ('{"confidentialityCode":"NORU","id":"x"}', "c7d9759ef8478b69a73c4f4c190ea57b"),
    "x=N": ('{"confidentialityCode":"N","id":"x"}', "3bed3bd6941406040157bb3536f8449d"),
    "y": ('{"confidentialityCode":"NORU","id":"y"}', "6ce82d0e794234d0202211b8f5e09c45"),
    "z": ('{"confidentialityCode":"NORS","id":"z"}', "06f90325d7a857fff98e8d851d1db7a7"),
    "w": ('{"confidentialityCode":"NORU","id":"w"}', "9f8d7d670b30c2ec286856a25fa38c6c"),
    "q": ('{"confidentialityCode":"NORU","id":"q"}', "0123456789abcdef0123456789abcdef"),
    "k": ('{"id":"k","privacyLevel":"high"}', "7cfa8c5477b44b12f47efe92c7c96e8d"),
}
"""Payload and content hash."""
EMPTY = "cae66941d9efbd404e4d88758ea67670"
Y = "7db207f02e0739a80c5c2d28cda32ccf"
Z = "f4c36f7d5df634cd98840eea88adcd95"
X_AND_W = "15cd000228e425a183fc5f69d2b51c5b"
X_CHANGED = "0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d"
K = "5c4cb029440af181d8ee632862156765"
Q_AND_Z = "0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e"


def at(day: int, hour: int = 1) -> str:
    """An instant, as SQLite holds it and PostgreSQL reads it."""
    return f"2026-03-{day:02}T{hour:02}:30:00.000000+00:00"


def _run(number: int, kind: str, status: str, code: int, **more: Any) -> dict[str, Any]:
    row = {
        "run_id": number,
        "tenant_id": 1,
        "kind": kind,
        "status": status,
        "areas": AREAS,
        "started_at": at(number),
        "finished_at": at(number, 2),
        "exit_code": code,
        "worker_version": "0.1.0",
    }
    if status == "published":
        row |= {"published_at": at(number, 2), "publication_no": number}
    return row | more


def _version(
    number: int, person: int, key: str, opened: int, closed: int | None = None
) -> dict[str, Any]:
    payload, content_hash = PAYLOADS[key]
    return {
        "version_id": number,
        "person_id": person,
        "restriction_id": key[0],
        "opened_run": opened,
        "closed_run": closed,
        "first_seen_at": at(opened),
        "observed_at": at(opened),
        "content_hash": bytes.fromhex(content_hash),
        "payload": payload,
    }


def _safety(number: int, person: int, key: str, *runs: int) -> dict[str, Any]:
    code = PAYLOADS[key][0].split('"')[3]
    return _version(number, person, key, *runs) | {"confidentiality_code": code}


def _read(run: int, confirmed: int, count: int, digest: str, *, ok: bool = True) -> tuple[Any, ...]:
    return run, ok, at(confirmed), 1, count, digest


def _proof(
    person: int, area: str, now: tuple[Any, ...], before: tuple[Any, ...] | None = None
) -> dict[str, Any]:
    names = ("run_id", "is_complete", "confirmed_at", "pages", "record_count", "digest")
    row = {"person_id": person, "area": area, "attempt_id": now[0]}
    row |= dict(zip(names, now, strict=True))
    if before is not None:
        row |= {f"prev_{name}": value for name, value in zip(names, before, strict=True)}
    return row


ROWS: Final[dict[str, list[dict[str, Any]]]] = {
    "lease": [{"tenant_id": 1, "name": "run", "fencing_token": 7}],
    "run": [
        _run(1, "sync", "published", 0, persons_total=3, persons_complete=3, rows_opened=4),
        _run(2, "sync", "published", 3, persons_total=3, persons_stale=1, rows_changed=1),
        _run(3, "backfill", "published", 0, persons_total=1, rows_opened=1),
        _run(4, "sync", "interrupted", 75, reason="stopped on request"),
    ],
    "run_attempt": [
        {"attempt_id": n, "run_id": n, "host": "old", "started_at": at(n)} for n in range(1, 5)
    ],
    "area_key": [
        {"tenant_id": 1, "area": area, "key_path": "id", "since_run": 1}
        for area in (SAFETY, PRIVACY)
    ],
    "drift": [
        {
            "tenant_id": 1,
            "area": SAFETY,
            "field": "newField",
            "kind": "text",
            "first_run": 2,
            "first_seen_at": at(2),
        }
    ],
    "person": [
        {
            "person_id": 1,
            "person_key": A,
            "first_run": 1,
            "local_ref": "R2",
            "local_ref_run": 2,
            "prev_local_ref": "R1",
        },
        {"person_id": 2, "person_key": B, "first_run": 1, "departed_run": 2, "local_ref_run": 1},
        {
            "person_id": 3,
            "person_key": C,
            "first_run": 1,
            "local_ref": "new",
            "local_ref_run": 4,
            "prev_local_ref": "C1",
        },
    ],
    "failure": [
        {
            "person_id": 3,
            "area": SAFETY,
            "kind": "transient",
            "status": 503,
            "reason": "status 503",
            "attempts": 5,
            "runs": 1,
            "first_at": at(2),
            "last_at": at(2),
            "first_run": 2,
            "last_run": 2,
        }
    ],
    "patient_safety_version": [
        _safety(1, 1, "x", 1, 2),
        _safety(2, 1, "x=N", 2) | {"first_seen_at": at(1)},
        _safety(3, 2, "y", 1, 2),
        _safety(4, 3, "z", 1) | {"cause": "Manual"},
        _safety(5, 1, "w", 3),
        _safety(6, 3, "q", 4),
    ],
    "patient_privacy_version": [_version(1, 1, "k", 1) | {"privacy_level": "high"}],
    "person_area": [
        _proof(1, SAFETY, _read(3, 3, 2, X_AND_W), _read(2, 2, 1, X_CHANGED)),
        _proof(1, PRIVACY, _read(3, 3, 1, K), _read(2, 2, 1, K)),
        _proof(2, SAFETY, _read(1, 1, 1, Y)),
        _proof(2, PRIVACY, _read(1, 1, 0, EMPTY)),
        _proof(3, SAFETY, _read(4, 4, 2, Q_AND_Z), _read(2, 1, 1, Z, ok=False)),
        _proof(3, PRIVACY, _read(2, 2, 0, EMPTY), _read(1, 1, 0, EMPTY)),
    ],
}
"""By table, in the order in which foreign keys allow them."""


def make_old(connection: Connection, revision: str) -> None:
    """What the program of that revision left behind, in an empty database."""
    command.upgrade(alembic_config(connection=connection), revision)
    is_sqlite = connection.dialect.name == "sqlite"
    for table, rows in ROWS.items():
        columns = {column["name"] for column in inspect(connection).get_columns(table)}
        for row in rows:
            values = {"tenant_id": 1, **row} if table == "person" else dict(row)
            if "tenant_id" not in columns:
                values.pop("tenant_id", None)
            assert values.keys() <= columns, table
            literals = ", ".join(_literal(value, is_sqlite=is_sqlite) for value in values.values())
            connection.exec_driver_sql(
                f"INSERT INTO {table} ({', '.join(values)}) VALUES ({literals})"
            )
        if not is_sqlite:
            _advance(connection, table, next(name for name in rows[0] if name in columns))


def _literal(value: Any, *, is_sqlite: bool) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, bytes):
        return f"X'{value.hex()}'" if is_sqlite else f"'\\x{value.hex()}'"
    return str(value) if isinstance(value, int) else f"'{value}'"


def _advance(connection: Connection, table: str, key: str) -> None:
    """A sequence goes on behind the rows that it would have numbered."""
    sequence = connection.execute(
        text("SELECT pg_get_serial_sequence(:table, :key)"), {"table": table, "key": key}
    ).scalar_one()
    if sequence is not None:
        connection.exec_driver_sql(f"SELECT setval('{sequence}', (SELECT max({key}) FROM {table}))")
