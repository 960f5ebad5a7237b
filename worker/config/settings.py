"""Every key of the configuration: its kind, default, limits and meaning.

``config schema``, ``config show``, the README's table and ``config/worker.toml`` are made from this
file. Keys are reached as ``settings.<section>.<key>``; values are immutable.

An annotation holds the type, the kind that reads the value, the meaning, and an example where there
is no default. A Struct checks nothing when it is made: ``worker.config.load`` reads each value by
its kind before.
"""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias

from msgspec import field
from msgspec.structs import asdict

from worker.areas import AREAS
from worker.config.values import (
    CRON,
    DATABASE_URL,
    FILE,
    FLAG,
    HEADERS,
    HTTP_URL,
    LISTEN,
    NAMES,
    ORGANIZATION_NUMBER,
    PROXY_URL,
    SOME_TEXT,
    SOME_TIME,
    STORE_URL,
    TABLE,
    TEXT,
    TEXTS,
    TIME_ZONE,
    WORD_OR_TABLE,
    Example,
    Secret,
    duration_or_none,
    number,
    one_of,
    some_of,
    whole,
)
from worker.core.durations import parse_duration
from worker.core.value import Value

AREA_NAMES: Final = tuple(area.name for area in AREAS)
"""The resource areas whose declarations ``areas.<name>.*`` may override."""

LEASE_TTL_MAX_S: Final = 60
"""A dead holder's lease is taken over after at most this time (issue: one writer)."""

ASSERTION_LIFETIME_MAX_S: Final = 60
"""HelseID takes an assertion that ends at most 60 s ahead (HelseID reference, section 1)."""

SigningAlgorithm: TypeAlias = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"
]
SenderConstraint: TypeAlias = Literal["dpop", "bearer"]
Grant: TypeAlias = Literal["client_credentials", "token_exchange"]
Confirmed: TypeAlias = Literal["removals", "changes"]
Tenancy: TypeAlias = Literal["single-tenant", "multi-tenant"]
Engine: TypeAlias = Literal["httpx", "fast"]
Environment: TypeAlias = Literal["test", "test-internet", "production"]
IdentityMode: TypeAlias = Literal["pseudonym", "plain"]
FileMode: TypeAlias = Literal["0600", "0640", "0644"]
AccessLog: TypeAlias = Literal["required", "if-possible"]
LogLevel: TypeAlias = Literal["DEBUG", "INFO", "WARNING", "ERROR"]
LogFormat: TypeAlias = Literal["auto", "console", "json"]
NotFound: TypeAlias = Literal["failure", "empty"]


class Section(Value, frozen=True, kw_only=True):
    """A section of the file. None is no value: a key without one."""


class HelseId(Section, frozen=True, kw_only=True):
    """The client at HelseID: who we are and how we prove it."""

    issuer: Annotated[
        str | None,
        HTTP_URL,
        "HelseID's issuer, with or without a path; discovery is read from it. "
        "Set by `api.environment`; this key overrides.",
        Example("https://helseid-sts.test.nhn.no"),
    ] = None
    self_service_url: Annotated[
        str | None,
        HTTP_URL,
        "Address of HelseID's self-service API, for `keys rotate`. Set by "
        "`api.environment`; this key overrides.",
        Example("https://api.selvbetjening.test.nhn.no"),
    ] = None
    client_id: Annotated[
        str | None,
        SOME_TEXT,
        "The client's id, as HelseID's self-service gives it.",
        Example("00000000-0000-0000-0000-000000000000"),
    ] = None
    private_jwk_file: Annotated[
        Path | None,
        FILE,
        "File with the client's private key: a JWK, a PEM, or the JSON that HelseID's "
        "self-service gives.",
        Example("/run/secrets/helseid.jwk"),
    ] = None
    private_key_alg: Annotated[
        SigningAlgorithm | None,
        one_of(SigningAlgorithm),
        "Signature algorithm of the key, where the file does not say.",
        Example("PS256"),
    ] = None
    private_key_kid: Annotated[
        str | None,
        SOME_TEXT,
        "Key id registered at HelseID, where the file does not say; else the key's "
        "thumbprint (RFC 7638).",
        Example("my-key-2026"),
    ] = None
    scope: Annotated[str, SOME_TEXT, "Scopes to ask for, separated by spaces."] = "nhn:pts/api"
    sender_constraint: Annotated[
        SenderConstraint,
        one_of(SenderConstraint),
        "`dpop` binds the token to a key of this process; `bearer` does not.",
    ] = "dpop"
    grant: Annotated[
        Grant,
        one_of(Grant),
        "`client_credentials`, or `token_exchange` (RFC 8693) with a signed-in person's token.",
    ] = "client_credentials"
    subject_token_file: Annotated[
        Path | None,
        FILE,
        "File with the person's access token, for `token_exchange`. Never stored.",
        Example("/run/secrets/subject-token"),
    ] = None
    token_endpoint_host: Annotated[
        str | None,
        SOME_TEXT,
        "Host of the token endpoint, where it is not the issuer's.",
        Example("sts.example.no"),
    ] = None
    organization_parent: Annotated[
        str | None,
        ORGANIZATION_NUMBER,
        "Organisation number of the legal entity, for a multi-tenant client.",
        Example("999999999"),
    ] = None
    organization_child: Annotated[
        str | None,
        ORGANIZATION_NUMBER,
        "Organisation number of the unit (virksomhet), if one is to be sent.",
        Example("888888888"),
    ] = None
    tenancy: Annotated[
        Tenancy | None,
        one_of(Tenancy),
        "How the client is registered at HelseID: `single-tenant` or `multi-tenant`. "
        "Unset: multi-tenant if `helseid.organization_parent` is set.",
        Example("multi-tenant"),
    ] = None
    assertion_lifetime_s: Annotated[
        int,
        whole(1, ASSERTION_LIFETIME_MAX_S),
        "Seconds that a client assertion is valid; HelseID takes at most 60.",
    ] = 30


class Api(Section, frozen=True, kw_only=True):
    """Where PTS is."""

    environment: Annotated[
        Environment | None,
        one_of(Environment),
        "Sets `api.base_url` and `helseid.issuer` together. `test` and "
        "`production` are on Helsenett; `test-internet` is the test on the internet.",
        Example("test"),
    ] = None
    base_url: Annotated[
        str | None,
        HTTP_URL,
        "PTS's address. Set by `api.environment`; this key overrides.",
        Example("https://api.test.pts.nhn.no"),
    ] = None
    engine: Annotated[
        Engine,
        one_of(Engine),
        "What carries the calls to PTS: `httpx`, or `fast` for high rates (docs/performance.md); "
        "`fast` knows no proxy.",
    ] = "httpx"


class Network(Section, frozen=True, kw_only=True):
    """The way to other machines. Nothing of it is taken from `HTTP_PROXY` and its like."""

    proxy_url: Annotated[
        str | None,
        PROXY_URL,
        "HTTP proxy for all calls to HelseID, PTS, Pushgateway and OTLP, except to this very "
        "machine. It must let CONNECT through.",
        Example("http://proxy.example:3128"),
    ] = None
    proxy_credentials_file: Annotated[
        Path | None,
        FILE,
        "File with one line, `user:password`, where the proxy asks for it (HTTP Basic).",
        Example("/run/secrets/proxy-credentials"),
    ] = None


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
        "File with at least 32 random bytes, as they are or in Base64 or hexadecimal: the key of "
        "the pseudonyms. Other text and simple patterns are refused for a new database. Every byte "
        "of the file counts, a line break at its end, too. Losing it loses the tie between persons "
        "and rows.",
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


class Sync(Section, frozen=True, kw_only=True):
    """The limits of a run."""

    concurrency: Annotated[
        int, whole(1, 256), "Requests under way at once, at most; adapts downward."
    ] = 16
    requests_per_second: Annotated[
        float,
        number(100_000, above_zero=True),
        "Ceiling on requests to PTS, over all shards of a run.",
    ] = 20.0
    areas: Annotated[
        tuple[str, ...], some_of(AREA_NAMES), "The areas to read, separated by commas."
    ] = AREA_NAMES
    deadline: Annotated[
        timedelta | None,
        duration_or_none(least=timedelta(seconds=1)),
        "Time after which a run stops by itself with exit code 75; `none` for no end.",
        Example("10h"),
    ] = None
    continue_within: Annotated[
        timedelta,
        SOME_TIME,
        "A stopped run is continued by the next one unless it made no progress for this long.",
    ] = parse_duration("12h")
    confirm: Annotated[
        Confirmed,
        one_of(Confirmed),
        "What is read a second time, on a new connection, before it counts: `removals`, a read "
        "that lacks a published restriction; `changes`, one that differs from the published state "
        "in any way.",
    ] = "removals"
    max_removed_share: Annotated[
        float,
        number(1),
        "The guard: a run that would close more than this share of the open "
        "restrictions is withheld (exit 5).",
    ] = 0.10
    min_completeness: Annotated[
        float,
        number(1),
        "The guard: a run that read less than this share of persons and areas is "
        "withheld (exit 5).",
    ] = 0.50
    retry_attempts: Annotated[int, whole(1, 20), "Attempts at one request, the first included."] = 5
    retry_after_max: Annotated[
        timedelta,
        SOME_TIME,
        "Longest pause by `Retry-After` that a run makes. A longer one ends it with exit code 69, "
        "unless PTS goes on answering for others: then it is that person's failure.",
    ] = parse_duration("15m")
    request_timeout_s: Annotated[
        float,
        number(600, above_zero=True),
        "Seconds that one request to PTS or HelseID may take, its answer included.",
    ] = 30.0
    max_pages: Annotated[
        int, whole(1, 100_000), "Pages of one person's area; more is taken for a loop."
    ] = 1_000
    batch_persons: Annotated[
        int, whole(1, 5_000), "Persons written in one transaction, at most."
    ] = 250


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
        "Rows of the access log that are older are deleted after a published sync; at least `90d`, "
        "which the database enforces. `none` keeps them.",
    ] = timedelta(days=730)


class Lease(Section, frozen=True, kw_only=True):
    """One writer at a time."""

    ttl_s: Annotated[
        int,
        whole(5, LEASE_TTL_MAX_S),
        "Seconds after which a holder that gives no sign of life loses the lease.",
    ] = 50


class Tls(Section, frozen=True, kw_only=True):
    """Trust. Verification cannot be turned off."""

    ca_file: Annotated[
        Path | None,
        FILE,
        "PEM file with a private CA to trust besides the usual ones: for HelseID, PTS, telemetry "
        "and PostgreSQL.",
        Example("/etc/ssl/private-ca.pem"),
    ] = None


class Log(Section, frozen=True, kw_only=True):
    """What is told on standard error."""

    level: Annotated[LogLevel, one_of(LogLevel), "The least severity that is logged."] = "INFO"
    format: Annotated[
        LogFormat,
        one_of(LogFormat),
        "`console`, `json`, or `auto`: console on a terminal, else JSON.",
    ] = "auto"


class Schedule(Section, frozen=True, kw_only=True):
    """When ``schedule`` runs a sync."""

    cron: Annotated[
        str, CRON, "Cron expression as in cron(8): minute, hour, day, month, day of the week."
    ] = "30 3 * * *"
    timezone: Annotated[str, TIME_ZONE, "Time zone in which `schedule.cron` is read."] = (
        "Europe/Oslo"
    )


class Telemetry(Section, frozen=True, kw_only=True):
    """Where the numbers of a run go."""

    textfile: Annotated[
        Path | None,
        FILE,
        "File for node_exporter's textfile collector, written after each run.",
        Example("/var/lib/node_exporter/pts_worker.prom"),
    ] = None
    textfile_mode: Annotated[
        FileMode,
        one_of(FileMode),
        "Mode of that file. node_exporter runs as another user: `0640` where its group owns the "
        "folder (setgid), else `0644`.",
    ] = "0600"
    pushgateway_url: Annotated[
        str | None,
        HTTP_URL,
        "Prometheus Pushgateway to push to after each run.",
        Example("https://pushgateway.example"),
    ] = None
    http_listen: Annotated[
        str | None,
        LISTEN,
        "host:port on which `schedule` serves `/metrics`.",
        Example("127.0.0.1:9464"),
    ] = None
    otlp_endpoint: Annotated[
        str | None,
        HTTP_URL,
        "OpenTelemetry collector (OTLP over HTTP).",
        Example("https://otel.example:4318"),
    ] = None


class AreaOverride(Section, frozen=True, kw_only=True):
    """What may be changed in an area's declaration, because PTS publishes no schema."""

    path: Annotated[
        str | None,
        TEXT,
        "Path of the search, from PTS's address.",
        Example("/v0.5/access-restrictions/patient-safety/_search"),
    ] = None
    api_version: Annotated[
        str | None,
        TEXT,
        "PTS's version; another than the declared one takes the old route with the "
        "header `api-version`.",
        Example("0.4"),
    ] = None
    headers: Annotated[
        dict[str, str] | None,
        HEADERS,
        "Headers besides the worker's own; the values are not shown.",
        Example({"Accept": "application/json"}),
    ] = None
    body: Annotated[
        dict[str, Any] | None,
        TABLE,
        "The request's body, with `{off_id}` where the identifier goes.",
        Example({"offId": "{off_id}", "ApplicableOnly": True}),
    ] = None
    record_key: Annotated[
        tuple[str, ...] | None,
        TEXTS,
        "Paths of a record's key, in order; the first that exists serves.",
        Example(["id"]),
    ] = None
    person: Annotated[
        tuple[str, ...] | None,
        TEXTS,
        "Paths where a record may name the person, who must be the one asked for.",
        Example(["offId"]),
    ] = None
    recognised_by: Annotated[
        tuple[str, ...] | None,
        TEXTS,
        "Fields of which a record has at least one.",
        Example(["confidentialityCode"]),
    ] = None
    volatile: Annotated[
        tuple[str, ...] | None,
        NAMES,
        "Fields that are stored but do not make a record a changed one.",
        Example(["lastReadTime"]),
    ] = None
    paging: Annotated[
        str | dict[str, Any] | None,
        WORD_OR_TABLE,
        "How the area pages: a style by name, or a table (`style`, `field`, "
        "`send_as`, `send_in`, `total`, `ignore`).",
        Example("auto"),
    ] = None
    not_found_means: Annotated[
        NotFound | None,
        one_of(NotFound),
        "What a 404 says: a failure, or no restriction.",
        Example("failure"),
    ] = None
    envelope: Annotated[
        str | None,
        TEXT,
        "Path of the array of records in the answer; empty: at the top or under a usual name.",
        Example("items"),
    ] = None
    columns: Annotated[
        dict[str, Any] | None,
        TABLE,
        "Path or paths of typed columns, by column.",
        Example({"cause": "reason"}),
    ] = None


class Settings(Value, frozen=True, kw_only=True):
    """The whole configuration. ``worker.config.load`` makes it; nothing else reads the world."""

    helseid: HelseId = HelseId()
    api: Api = Api()
    network: Network = Network()
    roster: Roster = Roster()
    database: Database = Database()
    privacy: Privacy = Privacy()
    sync: Sync = Sync()
    retention: Retention = Retention()
    lease: Lease = Lease()
    tls: Tls = Tls()
    log: Log = Log()
    schedule: Schedule = Schedule()
    telemetry: Telemetry = Telemetry()
    areas: dict[str, AreaOverride] = field(default_factory=dict)

    def area_overrides(self) -> dict[str, dict[str, Any]]:
        """What was set under ``areas.<name>``, by area; nothing that was left out."""
        return {
            name: {key: value for key, value in asdict(override).items() if value is not None}
            for name, override in self.areas.items()
        }
