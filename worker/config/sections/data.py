"""The roster, the database, and how personal data is stored."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from worker.config.values import (
    DATABASE_URL,
    FILE_OR_STDIN,
    NONEMPTY_TEXT,
    STORE_URL,
    Example,
    Secret,
    Section,
    duration_or_none,
    number,
)

IdentityMode: TypeAlias = Literal["pseudonym", "plain"]
Encoding: TypeAlias = Literal["utf-8", "windows-1252", "iso-8859-1", "iso-8859-15"]
AccessLog: TypeAlias = Literal["required", "if-possible"]


class Roster(Section, frozen=True, kw_only=True):
    """The persons to read: a file or a query."""

    path: Annotated[
        str | None,
        FILE_OR_STDIN,
        "CSV file with a header that names `off_id` and (optional) `local_ref` and `cohort`, or a "
        "file with one identifier per line; `-` is standard input.",
        Example("/var/lib/pts-worker/roster.csv"),
    ] = None
    encoding: Annotated[
        Encoding,
        "Encoding of the roster file. `windows-1252` is what Excel's plain CSV has.",
    ] = "utf-8"
    url: Annotated[
        Secret | None,
        DATABASE_URL,
        "SQLAlchemy URL of the database for `roster.query`. For PostgreSQL, `sslmode` and "
        "`sslrootcert` work as in `database.url`.",
        Example("postgresql://reader@ehr.example/ehr"),
    ] = None
    password_file: Annotated[
        Path | None,
        "File with the password of `roster.url`.",
        Example("/run/secrets/roster-password"),
    ] = None
    query: Annotated[
        str | None,
        NONEMPTY_TEXT,
        "Query that returns `off_id[, local_ref[, cohort]]`; streamed, never committed.",
        Example("select off_id, local_ref, clinic as cohort from patient"),
    ] = None
    send_h_numbers: Annotated[
        bool,
        "Send H-numbers (day 01 to 31, month 41 to 52) to any PTS. They are unique within one "
        "organisation only, so by default they are sent only to a test environment or to a PTS on "
        "this machine.",
    ] = False


class Database(Section, frozen=True, kw_only=True):
    """The database of the worker."""

    url: Annotated[
        Secret,
        STORE_URL,
        "SQLAlchemy URL without a driver: `sqlite:///file` or `postgresql://…`. In a file name, "
        "write `?` as `%3F`, and `%` before two hexadecimal digits as `%25`. "
        "Connections to PostgreSQL on another machine use verified TLS; libpq's `sslmode` and "
        "`sslrootcert` are supported. "
        "A password in the URL is never shown, but `database.password_file` is safer.",
    ] = Secret("sqlite:///pts.db")
    password_file: Annotated[
        Path | None,
        "File with the password of `database.url`.",
        Example("/run/secrets/database-password"),
    ] = None
    group_readable: Annotated[
        bool,
        "Let the group of a SQLite file read it (mode 0640), and accept a file that the group can "
        "write. By default, only the owner can access the file and SQLite's files next to it.",
    ] = False
    patience_s: Annotated[
        float,
        number(3600, minimum=1),
        "Total seconds to wait for a database that is unavailable, does not respond or is locked. "
        "Then the command ends with exit code 69. `doctor` waits at most 5 s.",
    ] = 60.0


class Privacy(Section, frozen=True, kw_only=True):
    """How personal data is stored."""

    identity: Annotated[
        IdentityMode,
        "`pseudonym` stores a keyed HMAC of the identifier, `plain` the identifier itself.",
    ] = "pseudonym"
    pseudonym_key_file: Annotated[
        Path | None,
        "File with the pseudonym key: at least 32 random bytes, raw or as Base64 or hexadecimal. "
        "Other text and simple patterns are refused for a new database. Every byte of the file "
        "counts, including a line break at its end. Without the key, rows cannot be matched to "
        "persons.",
        Example("/run/secrets/pseudonym.key"),
    ] = None
    access_log: Annotated[
        AccessLog,
        "`required`: `explain`, `erase`, `export`, `report` and `failures show` fail if they "
        "cannot write to the access log; `if-possible`: they log a warning and continue.",
    ] = "required"


class Retention(Section, frozen=True, kw_only=True):
    """How long history is kept. Current data is never deleted."""

    versions: Annotated[
        timedelta | None,
        duration_or_none(minimum=timedelta(days=1)),
        "Versions of restrictions that ended longer ago are deleted after a published "
        "sync, which limits history and `--as-of`. `none` keeps them.",
        Example("1825d"),
    ] = None
    runs: Annotated[
        timedelta | None,
        duration_or_none(minimum=timedelta(days=1)),
        "Runs that ended longer ago are deleted after a published sync when no row refers to "
        "them. `none` keeps them.",
        Example("1825d"),
    ] = None
    access_log: Annotated[
        timedelta | None,
        duration_or_none(minimum=timedelta(days=90)),
        "Older rows of the access log are deleted after a published sync; at least `90d`, which "
        "the database enforces. `none` keeps them.",
    ] = timedelta(days=730)
