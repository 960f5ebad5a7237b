"""The settings: each key with its kind, default, limits and meaning, by section.

``config show``, docs/reference/configuration.md and config/worker.toml are made of these models.
"""

from datetime import timedelta
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from worker.config import kinds

EVERYDAY: Final = (
    "api.environment",
    "helseid.client_id",
    "helseid.private_jwk_file",
    "roster.path",
    "database.url",
    "privacy.pseudonym_key_file",
)
"""The keys that everybody sets. They and their sections come first."""


def unset(meaning: str, example: str) -> Any:
    """A key without a default."""
    return Field(None, description=meaning, examples=[example])


def default(value: object, meaning: str, **limits: Any) -> Any:
    """A key with a default."""
    return Field(value, description=meaning, **limits)


def off(meaning: str) -> Any:
    """A switch that is off by default."""
    return default(value=False, meaning=meaning)


class Section(BaseModel):
    """A section of the configuration. None means that a key is not set."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _as_written(cls, value: Any, info: ValidationInfo) -> Any:
        """A word in any case; and no ``true`` for 1, as pydantic would have it."""
        kind = cls.model_fields[str(info.field_name)].annotation
        if isinstance(value, bool) and kind is not bool:
            raise ValueError("must not be true or false")
        literals = (kind, *get_args(kind))
        words = {str(word).lower(): word for literal in literals for word in get_args(literal)}
        return words.get(value.strip().lower(), value) if isinstance(value, str) else value


class Api(Section):
    """The PTS API."""

    environment: Literal["test", "test-internet", "production"] | None = unset(
        "Sets `api.base_url` and `helseid.issuer`. `test` and `production` are on Helsenett; "
        "`test-internet` is the test environment on the internet.",
        "test",
    )
    base_url: kinds.HttpUrl | None = unset(
        "Base URL of PTS. Default: from `api.environment`.", "https://api.test.pts.nhn.no"
    )
    contract_file: kinds.File | None = unset(
        "The contract with PTS, a TOML file. Default: the one that comes with the program; "
        "`pts-worker contract show` prints it.",
        "pts.toml",
    )


class HelseId(Section):
    """The HelseID client."""

    client_id: kinds.Text | None = unset(
        "The client id from HelseID self-service.", "00000000-0000-0000-0000-000000000000"
    )
    private_jwk_file: kinds.File | None = unset(
        "File with the client's private key: a JWK, a PEM file, or the JSON from HelseID "
        "self-service. A JWK may say its `alg` and `kid`.",
        "/run/secrets/helseid.jwk",
    )
    issuer: kinds.HttpUrl | None = unset(
        "HelseID's issuer, with or without a path. Default: from `api.environment`.",
        "https://helseid-sts.test.nhn.no",
    )
    scope: kinds.Text = default("nhn:pts/api", "Scopes to request, separated by spaces.")
    sender_constraint: Literal["dpop", "bearer"] = default(
        "dpop", "`dpop` binds the token to a key of this process, `bearer` does not."
    )
    grant: Literal["client_credentials", "token_exchange"] = default(
        "client_credentials",
        "`client_credentials`, or `token_exchange` (RFC 8693) with a signed-in person's token.",
    )
    subject_token_file: kinds.File | None = unset(
        "File with the person's access token, for `token_exchange`. The token is never stored.",
        "/run/secrets/subject-token",
    )
    organization_parent: kinds.OrganizationNumber | None = unset(
        "Organisation number of the legal entity, for a multi-tenant client.", "999999999"
    )
    organization_child: kinds.OrganizationNumber | None = unset(
        "Organisation number of the unit (virksomhet), if required.", "888888888"
    )
    tenancy: Literal["single-tenant", "multi-tenant"] | None = unset(
        "The client's registration at HelseID: `single-tenant` or `multi-tenant`. Default: "
        "multi-tenant if `helseid.organization_parent` is set.",
        "multi-tenant",
    )


class Roster(Section):
    """The persons to read: a file or a query."""

    path: kinds.Text | None = unset(
        "CSV file with a header that names `off_id` and (optional) `local_ref` and `cohort`, or a "
        "file with one identifier per line; `-` is standard input.",
        "/var/lib/pts-worker/roster.csv",
    )
    encoding: Literal["utf-8", "windows-1252", "iso-8859-1", "iso-8859-15"] = default(
        "utf-8", "Encoding of the roster file. `windows-1252` is what Excel's plain CSV has."
    )
    url: kinds.RosterUrl | None = unset(
        "SQLAlchemy URL of the database for `roster.query`. TLS is as for `database.url`.",
        "postgresql://reader@ehr.example/ehr",
    )
    password_file: kinds.File | None = unset(
        "File with the password of `roster.url`.", "/run/secrets/roster-password"
    )
    query: kinds.Text | None = unset(
        "Query that returns `off_id[, local_ref[, cohort]]`; streamed, never committed.",
        "select off_id, local_ref, clinic as cohort from patient",
    )
    send_h_numbers: bool = off(
        "Send H-numbers (day 01 to 31, month 41 to 52) to any PTS. They are unique within one "
        "organisation only, so by default they are sent only to a test environment or to a PTS on "
        "this machine.",
    )


class Database(Section):
    """The database of the worker."""

    url: kinds.StoreUrl = default(
        "sqlite:///pts.db",
        "SQLAlchemy URL without driver and password: `sqlite:///file` or `postgresql://…`. In a "
        "file name, write `?` as `%3F`, and `%` before two hexadecimal digits as `%25`. "
        "Connections to PostgreSQL on another machine use verified TLS; libpq's `sslmode` and "
        "`sslrootcert` are supported.",
    )
    password_file: kinds.File | None = unset(
        "File with the password of `database.url`.", "/run/secrets/database-password"
    )
    group_readable: bool = off(
        "Let the group of a SQLite file read it (mode 0640), and accept a file that the group can "
        "write. By default, only the owner can access the file and SQLite's files next to it.",
    )


class Privacy(Section):
    """How personal data is stored."""

    pseudonym_key_file: kinds.File | None = unset(
        "File with the pseudonym key: at least 32 random bytes, raw or as Base64 or hexadecimal; "
        "every byte counts, also a line break at its end. Without the key, rows cannot be matched "
        "to persons.",
        "/run/secrets/pseudonym.key",
    )
    identity: Literal["pseudonym", "plain"] = default(
        "pseudonym",
        "`pseudonym` stores a keyed HMAC of the identifier, `plain` the identifier itself.",
    )


class Network(Section):
    """The network. `HTTP_PROXY` and similar variables are ignored."""

    proxy_url: kinds.ProxyUrl | None = unset(
        "HTTP proxy for HelseID, PTS, Pushgateway and the ping, except on loopback addresses. It "
        "must allow CONNECT.",
        "http://proxy.example:3128",
    )
    proxy_credentials_file: kinds.File | None = unset(
        "File with one line, `user:password`, if the proxy requires it (HTTP Basic).",
        "/run/secrets/proxy-credentials",
    )


class Tls(Section):
    """TLS. Verification cannot be disabled."""

    ca_file: kinds.File | None = unset(
        "PEM file with a private CA, trusted in addition to the system's, for HelseID, PTS, "
        "telemetry and PostgreSQL.",
        "/etc/ssl/private-ca.pem",
    )


class Sync(Section):
    """Limits of a run."""

    concurrency: int = default(16, "Concurrent requests, at most.", ge=1, le=256)
    requests_per_second: float = default(
        20.0, "Rate limit for requests to PTS.", ge=0.001, le=100_000
    )
    areas: Annotated[
        tuple[Literal["patient-safety", "patient-privacy"], ...], kinds.NAMES, NoDecode
    ] = default(
        ("patient-safety", "patient-privacy"), "The areas to read, comma-separated.", min_length=1
    )
    deadline: Annotated[kinds.Duration | None, kinds.OR_NONE] = unset(
        "Time after which a run stops with exit code 75; `none` for no limit.", "10h"
    )
    continue_within: kinds.Duration = default(
        timedelta(hours=12),
        "The next run continues a stopped run, unless it made no progress for this long.",
    )
    confirm: Literal["removals", "changes"] = default(
        "removals",
        "What is read a second time, on a new connection, before it counts: `removals`, what would "
        "close a restriction; `changes`, every difference to the published state.",
    )
    confirm_after: kinds.Duration = default(timedelta(seconds=10), "Least time between both reads.")
    max_removed_share: kinds.Share = default(
        0.10,
        "Guard: a run that would close more than this share of the open restrictions, or of which "
        "more lose a value, is withheld (exit 5).",
    )
    min_completeness: kinds.Share = default(
        0.50,
        "Guard: a run that read less than this share of the persons in every area is withheld "
        "(exit 5).",
    )
    first_min_completeness: kinds.Share = default(
        0.95, "Guard: the same for the first publication, of all person-areas."
    )
    retry_attempts: int = default(5, "Attempts per request, including the first.", ge=1, le=20)
    patience: kinds.Duration = default(
        timedelta(minutes=10),
        "How long nobody can be read before a run that was ever answered ends with 65, 69 or 77; "
        "until then one request goes out every ten seconds.",
    )
    retry_after_max: kinds.Duration = default(
        timedelta(minutes=15),
        "Longest `Retry-After` that a run waits for. A longer one is a failure of that person, "
        "and ends the run with exit code 69 if PTS asks it of everybody.",
    )


class Retention(Section):
    """How long history is kept. Current data is never deleted."""

    versions: Annotated[kinds.Days | None, kinds.OR_NONE] = unset(
        "Versions of restrictions that ended longer ago are deleted after a published sync, which "
        "limits history and `--as-of`. `none` keeps them.",
        "1825d",
    )


class Lease(Section):
    """The lease, which allows one writer at a time."""

    ttl_s: int = default(
        50, "Seconds after which a holder that does not renew the lease loses it.", ge=5, le=60
    )


class Schedule(Section):
    """The times at which ``schedule`` runs a sync."""

    cron: kinds.Cron = default(
        "30 3 * * *", "Cron expression as in cron(8): minute, hour, day, month, day of the week."
    )
    timezone: kinds.TimeZone = default("Europe/Oslo", "Time zone of `schedule.cron`.")


class Log(Section):
    """Logs, on standard error."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = default("INFO", "Lowest level logged.")
    format: Literal["auto", "console", "json"] = default(
        "auto", "`console`, `json`, or `auto` (console on a terminal, else JSON)."
    )


class Telemetry(Section):
    """Metrics of runs."""

    textfile: kinds.File | None = unset(
        "File for node_exporter's textfile collector, written after each run. Others may read it "
        "if they may read its folder.",
        "/var/lib/node_exporter/pts_worker.prom",
    )
    pushgateway_url: kinds.HttpUrl | None = unset(
        "URL of a Prometheus Pushgateway, to which metrics are pushed after each run.",
        "https://pushgateway.example",
    )
    http_listen: kinds.Listen | None = unset(
        "host:port where `schedule` serves `/metrics`.",
        "127.0.0.1:9464",
    )
    ping_url: kinds.SecretHttpUrl | None = unset(
        "URL of a dead man's switch such as healthchecks.io. `sync` and `schedule` ping it when a "
        "full run has published, with `/start` when one begins and `/fail` when one fails.",
        "https://hc-ping.com/00000000-0000-0000-0000-000000000000",
    )


class Settings(BaseSettings):
    """The complete configuration, made by ``worker.config.load``; by itself the defaults."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", case_sensitive=True)

    api: Api = Api()
    helseid: HelseId = HelseId()
    roster: Roster = Roster()
    database: Database = Database()
    privacy: Privacy = Privacy()
    network: Network = Network()
    tls: Tls = Tls()
    sync: Sync = Sync()
    retention: Retention = Retention()
    lease: Lease = Lease()
    schedule: Schedule = Schedule()
    log: Log = Log()
    telemetry: Telemetry = Telemetry()

    @classmethod
    def settings_customise_sources(cls, *_: Any, **sources: Any) -> tuple[Any, ...]:
        """No environment and no file but those that ``load`` reads."""
        return (sources["init_settings"],)

    def value(self, name: str) -> Any:
        """The value of a key, by its name: ``section.key``."""
        section, _, key = name.partition(".")
        return getattr(getattr(self, section), key)
