"""The roster, the database, and how personal data is stored."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from worker.config.sections.base import Section
from worker.config.values import (
    DATABASE_URL,
    FILE,
    FLAG,
    SOME_TEXT,
    STORE_URL,
    Example,
    Secret,
    duration_or_none,
    number,
    one_of,
)

IdentityMode: TypeAlias = Literal["pseudonym", "plain"]
AccessLog: TypeAlias = Literal["required", "if-possible"]


class Roster(Section, frozen=True, kw_only=True):
    """Whose restrictions to read: a file, or a query."""

    path: Annotated[
        str | None,
        SOME_TEXT,
        "CSV whose header names `off_id` (and, if wanted, `local_ref`), or one "
        "identifier a line; `-` is standard input.",
        Example("/var/lib/pts-worker/roster.csv"),
    ] = None
    url: Annotated[
        Secret | None,
        DATABASE_URL,
        "SQLAlchemy URL of the database that `roster.query` reads. For PostgreSQL `sslmode` and "
        "`sslrootcert` count as in `database.url`.",
        Example("postgresql://reader@ehr.example/ehr"),
    ] = None
    password_file: Annotated[
        Path | None,
        FILE,
        "File with the password of `roster.url`.",
        Example("/run/secrets/roster-password"),
    ] = None
    query: Annotated[
        str | None,
        SOME_TEXT,
        "Query that gives `off_id[, local_ref]`; streamed, never committed.",
        Example("select off_id, local_ref from patient"),
    ] = None
    send_h_numbers: Annotated[
        bool,
        FLAG,
        "Send H-numbers (day 01 to 31, month 41 to 52) to PTS wherever it is. They are unique "
        "within one organisation only, so that else only a test environment, or a PTS on this "
        "machine, is sent them.",
    ] = False


class Database(Section, frozen=True, kw_only=True):
    """Where the copy is kept."""

    url: Annotated[
        Secret,
        STORE_URL,
        "SQLAlchemy URL without a driver: `sqlite:///file` or `postgresql://…`; in a file's name "
        "`?` is written `%3F`, and `%` before two hexadecimal digits `%25`. "
        "A PostgreSQL on another machine is spoken to over verified TLS; libpq's `sslmode` and "
        "`sslrootcert` are understood. "
        "A password in it is never shown; `database.password_file` is the better place.",
    ] = Secret("sqlite:///pts.db")
    password_file: Annotated[
        Path | None,
        FILE,
        "File with the password of `database.url`.",
        Example("/run/secrets/database-password"),
    ] = None
    group_readable: Annotated[
        bool,
        FLAG,
        "Let the group of a SQLite file read it (mode 0640), and take one that the group may "
        "write. Else the file and what SQLite keeps beside it are its owner's alone.",
    ] = False
    patience_s: Annotated[
        float,
        number(3600, least=1),
        "Seconds for which a database that is away, silent or locked is waited for in all; then "
        "a command ends with exit code 69. `doctor` waits 5 s at most.",
    ] = 60.0


class Privacy(Section, frozen=True, kw_only=True):
    """How a person stands in the database."""

    identity: Annotated[
        IdentityMode,
        one_of(IdentityMode),
        "`pseudonym` stores a keyed HMAC of the identifier; `plain` the identifier.",
    ] = "pseudonym"
    pseudonym_key_file: Annotated[
        Path | None,
        FILE,
        "File with at least 32 random bytes: the key of the pseudonyms. Text and simple patterns "
        "are refused for a new database. Losing it "
        "loses the tie between persons and rows.",
        Example("/run/secrets/pseudonym.key"),
    ] = None
    keep_names: Annotated[
        bool,
        FLAG,
        "Keep the names of those who made or changed a restriction, in the payload only. Role and "
        "organisation are always kept. A change of it shows as a change of every restriction with "
        "a name.",
    ] = False
    access_log: Annotated[
        AccessLog,
        one_of(AccessLog),
        "`required`: `explain`, `erase`, `export`, `report` and `failures show` refuse where they "
        "cannot write their row of the access log; `if-possible`: they warn and go on.",
    ] = "required"


class Retention(Section, frozen=True, kw_only=True):
    """How long the past is kept. What is current is never touched."""

    versions: Annotated[
        timedelta | None,
        duration_or_none(least=timedelta(days=1)),
        "Versions of restrictions that ended longer ago are deleted after a published "
        "sync; history and `--as-of` then reach no further back. `none` keeps them.",
        Example("1825d"),
    ] = None
    runs: Annotated[
        timedelta | None,
        duration_or_none(least=timedelta(days=1)),
        "Runs that ended longer ago are deleted after a published sync, once no row "
        "refers to them. `none` keeps them.",
        Example("1825d"),
    ] = None
    access_log: Annotated[
        timedelta | None,
        duration_or_none(least=timedelta(days=90)),
        "Rows of the access log that are older are deleted after a published sync. `none` "
        "keeps them.",
    ] = timedelta(days=730)
