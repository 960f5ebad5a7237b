"""The settings: each key with its type, default, limits and meaning, by section.

``config show``, docs/reference/configuration.md and config/worker.toml are generated from these
models. They use the first line of each section's docstring and the docstring below each key.
"""

import re
from collections.abc import Mapping
from datetime import timedelta
from difflib import get_close_matches
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, SettingsConfigDict

from worker.config import kinds
from worker.core.times import format_duration

EVERYDAY: Final = (
    *("api.environment", "helseid.client_id", "helseid.private_jwk_file"),
    *("roster.path", "database.url", "privacy.pseudonym_key_file"),
)
"""The keys that every installation sets. These keys and their sections come first."""
PREFIX: Final = "PTS_"
_MESSAGES: Final[Mapping[str, str]] = {
    "string_too_short": "must not be empty",
    "too_short": "must not be empty",
    "string": "must be a text in quotes",
    "path": "must be a text in quotes",
    "string_pattern_mismatch": "contains characters that are not allowed here",
    "int": "must be a whole number",
    "float": "must be a number",
    "bool": "must be true or false",
    "tuple": "must be a list",
    "dict": "must be a table",
    "model": "must be a table",
    "time": "must be a duration such as '30m'",
}
"""The message for pydantic's type of error, or for its first word."""


def unset(example: str) -> Any:
    """A key without a default."""
    return Field(None, examples=[example])


class Section(BaseModel):
    """A section of the configuration. None means that a key is not set."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )


class Api(Section):
    """The PTS API."""

    environment: Literal["test", "test-internet", "production"] | None = unset("test")
    """Sets `api.base_url` and `helseid.issuer`. `test` and `production` are on Helsenett.
    `test-internet` is the test environment on the internet."""
    base_url: kinds.HttpUrl | None = unset("https://api.test.pts.nhn.no")
    """Base URL of PTS. Default: from `api.environment`."""
    contract_file: kinds.File | None = unset("pts.toml")
    """The contract with PTS, a TOML file. Default: the program's contract, which `pts-worker
    contract show` prints."""


class HelseId(Section):
    """The HelseID client."""

    client_id: kinds.Text | None = unset("00000000-0000-0000-0000-000000000000")
    """The client id from HelseID self-service."""
    private_jwk_file: kinds.File | None = unset("/run/secrets/helseid.jwk")
    """File with the client's private key: a JWK, a PEM file, or the JSON from HelseID self-service.
    A JWK may contain `alg` and `kid`."""
    issuer: kinds.HttpUrl | None = unset("https://helseid-sts.test.nhn.no")
    """HelseID's issuer, with or without a path. Default: from `api.environment`."""
    scope: kinds.Text = "nhn:pts/api"
    """Scopes to request, separated by spaces."""
    sender_constraint: Literal["dpop", "bearer"] = "dpop"
    """`dpop` binds the token to a key of this process, `bearer` does not."""
    grant: Literal["client_credentials", "token_exchange"] = "client_credentials"
    """`client_credentials`, or `token_exchange` (RFC 8693) with a signed-in person's token."""
    subject_token_file: kinds.File | None = unset("/run/secrets/subject-token")
    """File with the person's access token, for `token_exchange`. The token is never stored."""
    organization_parent: kinds.OrganizationNumber | None = unset("999999999")
    """Organisation number of the legal entity, for a multi-tenant client."""
    organization_child: kinds.OrganizationNumber | None = unset("888888888")
    """Organisation number of the unit (virksomhet), if required."""
    tenancy: Literal["single-tenant", "multi-tenant"] | None = unset("multi-tenant")
    """The client's registration at HelseID: `single-tenant` or `multi-tenant`. Default:
    multi-tenant if `helseid.organization_parent` is set."""


class Roster(Section):
    """The persons to read: a file or a query."""

    path: kinds.Text | None = unset("/var/lib/pts-worker/roster.csv")
    """CSV file with a header that names `off_id` and (optional) `local_ref` and `cohort`, or a file
    with one identifier per line. `-` is standard input."""
    encoding: Literal["utf-8", "utf-16", "windows-1252", "iso-8859-1", "iso-8859-15"] = "utf-8"
    """Encoding of the roster file. Excel's plain CSV has `windows-1252`, Unicode text `utf-16`."""
    url: kinds.RosterUrl | None = unset("postgresql://reader@ehr.example/ehr")
    """SQLAlchemy URL of the database for `roster.query`. TLS is as for `database.url`."""
    password_file: kinds.File | None = unset("/run/secrets/roster-password")
    """File with the password of `roster.url`."""
    query: kinds.Text | None = unset("select off_id, local_ref, clinic as cohort from patient")
    """Query that returns `off_id[, local_ref[, cohort]]`. Streamed, and never committed."""
    send_h_numbers: bool = False
    """Send H-numbers (day 01 to 31, month 41 to 52) to any PTS. They are unique within one
    organisation only, so by default they are sent only to a test environment or to a PTS on this
    machine."""


class Database(Section):
    """The database of the worker."""

    url: kinds.StoreUrl = "sqlite:///pts.db"
    """SQLAlchemy URL without driver and password: `sqlite:///file` or `postgresql://…`. In a file
    name, write `?` as `%3F`, and `%` before two hexadecimal digits as `%25`. Connections to
    PostgreSQL on another machine use verified TLS. libpq's `sslmode` and `sslrootcert` are
    supported."""
    password_file: kinds.File | None = unset("/run/secrets/database-password")
    """File with the password of `database.url`."""
    group_readable: bool = False
    """Let the group of a SQLite file read it (mode 0640), and accept a file that the group can
    write. By default, only the owner can access the file and SQLite's files next to it."""


class Privacy(Section):
    """How personal data is stored."""

    pseudonym_key_file: kinds.File | None = unset("/run/secrets/pseudonym.key")
    """File with the pseudonym key: at least 32 random bytes, raw or as Base64 or hexadecimal. Every
    byte counts, even a line break at the end. Without the key, rows cannot be matched to
    persons."""
    identity: Literal["pseudonym", "plain"] = "pseudonym"
    """`pseudonym` stores a keyed HMAC of the identifier, `plain` the identifier itself."""


class Network(Section):
    """The network. `HTTP_PROXY` and similar variables are ignored."""

    proxy_url: kinds.ProxyUrl | None = unset("http://proxy.example:3128")
    """HTTP proxy for HelseID, PTS, Pushgateway and the ping, except on loopback addresses. It must
    allow CONNECT."""
    proxy_credentials_file: kinds.File | None = unset("/run/secrets/proxy-credentials")
    """File with one line, `user:password`, if the proxy requires it (HTTP Basic)."""


class Tls(Section):
    """TLS. Verification cannot be disabled."""

    ca_file: kinds.File | None = unset("/etc/ssl/private-ca.pem")
    """PEM file with a private CA, trusted in addition to the system's, for HelseID, PTS, telemetry
    and PostgreSQL."""


class Sync(Section):
    """Limits of a run."""

    concurrency: kinds.Int = Field(default=16, ge=1, le=256)
    """Maximum number of concurrent requests."""
    requests_per_second: kinds.Float = Field(default=20.0, ge=0.001, le=100_000)
    """Rate limit for requests to PTS."""
    areas: Annotated[tuple[Literal["patient-safety", "patient-privacy"], ...], kinds.NAMES] = Field(
        default=("patient-safety", "patient-privacy"), min_length=1
    )
    """The areas to read, comma-separated."""
    deadline: Annotated[kinds.Duration | None, kinds.OR_NONE] = unset("10h")
    """Time after which a run stops with exit code 75. `none` for no limit."""
    continue_within: kinds.Duration = timedelta(hours=12)
    """The next run continues a stopped run, unless the stopped run made no progress for this
    long."""
    confirm: Literal["removals", "changes"] = "removals"
    """The changes that a second read, on a new connection, must confirm. `removals`: a restriction
    would close, go out of effect, or open although it is published under another person.
    `changes`: any difference to the published state."""
    confirm_after: kinds.Duration = timedelta(seconds=10)
    """Minimum time between the two reads."""
    max_removed_share: kinds.Share = 0.10
    """Guard: a run is withheld (exit 5) if it would close more than this share of the open
    restrictions, if more than this share would lose a value, or if more than this share of the
    persons is missing from the roster. The share applies above 5 restrictions and 3 persons."""
    min_completeness: kinds.Share = 0.50
    """Guard: a run is withheld (exit 5) if in every area it read less than this share of all
    persons, or of the persons with a restriction."""
    first_min_completeness: kinds.Share = 0.95
    """Guard: the first sync of an area is withheld (exit 5) if it read less than this share of the
    person-areas."""
    retry_attempts: kinds.Int = Field(default=5, ge=1, le=20)
    """Attempts per request, including the first."""
    patience: kinds.Duration = timedelta(minutes=10)
    """Time without a successful read after which an area is given up, if PTS has ever answered for
    this area. During this time, the run sends one probe every ten seconds. If all areas are given
    up, the run ends with 65, 69 or 77."""
    retry_after_max: kinds.Duration = timedelta(minutes=15)
    """Longest `Retry-After` that a run waits for. A longer one is a failed read. If PTS sends it
    for all persons, the run ends with exit code 69 after `sync.patience`."""


class Retention(Section):
    """How long history is kept. Current data is never deleted."""

    versions: Annotated[kinds.Kept | None, kinds.OR_NONE] = unset("1825d")
    """Versions of restrictions that ended longer ago are deleted after a published sync, which
    limits history and `--as-of`. At least 30 days. `none` keeps all versions."""


class Lease(Section):
    """The lease, which allows one writer at a time."""

    ttl_s: kinds.Int = Field(default=50, ge=5, le=60)
    """Seconds after which a holder that does not renew the lease loses it."""


class Schedule(Section):
    """The times at which `schedule` runs a sync."""

    cron: kinds.Cron = "30 3 * * *"
    """Cron expression as in cron(8): minute, hour, day, month, day of the week."""
    timezone: kinds.TimeZone = "Europe/Oslo"
    """Time zone of `schedule.cron`."""


class Log(Section):
    """Logs, on standard error."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """Lowest level logged."""
    format: Literal["auto", "console", "json"] = "auto"
    """`console`, `json`, or `auto` (console on a terminal, else JSON)."""


class Telemetry(Section):
    """Metrics of runs."""

    textfile: kinds.File | None = unset("/var/lib/node_exporter/pts_worker.prom")
    """File for node_exporter's textfile collector, written after each run. Others can read it if
    they can read its folder."""
    pushgateway_url: kinds.HttpUrl | None = unset("https://pushgateway.example")
    """URL of a Prometheus Pushgateway, to which metrics are pushed after each run."""
    http_listen: kinds.Listen | None = unset("127.0.0.1:9464")
    """host:port where `schedule` serves `/metrics`."""
    ping_url: kinds.SecretHttpUrl | None = unset("https://hc-ping.com/your-check")
    """URL of a dead man's switch such as healthchecks.io. `sync` and `schedule` ping it when a full
    run has published, with `/start` when one begins and `/fail` when one fails."""


class Settings(BaseSettings):
    """The complete configuration, created by ``worker.config.load``. All keys have defaults."""

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
        """Disable pydantic's own environment and files. ``load`` reads the sources."""
        return (sources["init_settings"],)

    def value(self, name: str) -> Any:
        """The value of the key ``section.key``."""
        section, _, key = name.partition(".")
        return getattr(getattr(self, section), key)


SECTIONS: Final[Mapping[str, type[BaseModel]]] = {
    name: type(field.default) for name, field in Settings.model_fields.items()
}
KEYS: Final[Mapping[str, FieldInfo]] = {
    f"{section}.{key}": field
    for section, model in SECTIONS.items()
    for key, field in model.model_fields.items()
}
"""All keys by name, ``section.key``, with default, description, and an example if no default."""


def variable_of(name: str) -> str:
    """The environment variable of a key."""
    return f"{PREFIX}{name.replace('.', '__')}".upper()


def meant_by(name: str) -> str:
    """The key or section that a misspelled name most likely means. Empty if none is similar."""
    section, dot, key = name.partition(".")
    # The right key in the wrong section is more likely than a similar spelling.
    same_key = [candidate for candidate in KEYS if candidate.endswith(f".{key}")]
    names = KEYS if dot else [*SECTIONS, *map(variable_of, KEYS)]
    similar = get_close_matches(name, names, n=1, cutoff=0.75)
    # `sync.rate` has few letters of `sync.requests_per_second`, but is in its description.
    word = re.compile(rf"(\b|_){re.escape(key)}(\b|_)", re.IGNORECASE)
    described = [
        candidate
        for candidate, field in KEYS.items()
        if key
        and candidate.startswith(f"{section}.")
        and word.search(f"{candidate} {field.description}")
    ]
    return next(iter([*same_key, *similar, *described]), "")


def read_value(name: str, value: object) -> Any:
    """The value of a key, converted to its type.

    Raises:
        ValueError: there is no such key, or the value is invalid. The message never contains it.
    """
    if name in SECTIONS:
        raise ValueError(f"must be a section, [{name}]")
    if name not in KEYS:
        raise ValueError(_unknown(name))
    section, _, key = name.partition(".")
    # One key at a time, and without pydantic's input: its message would contain a secret.
    try:
        return getattr(SECTIONS[section].model_validate({key: value}), key)
    except ValidationError as error:
        raise ValueError(message_of(error.errors(include_input=False)[0])) from None


def _unknown(name: str) -> str:
    """The message for an unknown key or section, with a suggestion."""
    if meant := meant_by(name):
        return f"unknown; did you mean {meant}?"
    section = name.partition(".")[0]
    keys = [key.partition(".")[2] for key in KEYS if key.startswith(f"{section}.")]
    return f"unknown; [{section}] has {', '.join(keys)}" if keys else "unknown"


def message_of(detail: Mapping[str, Any]) -> str:
    """The message for one of pydantic's errors, to follow the key's name."""
    kind = detail["type"]
    text = _MESSAGES.get(kind) or _MESSAGES.get(kind.partition("_")[0]) or str(detail["msg"])
    return text.removeprefix("Value error, ").replace("Input should", "must")


def text_of(value: object) -> str:
    """A value as written in the configuration. Empty for None, hidden if it is a secret."""
    if isinstance(value, timedelta):
        return format_duration(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (tuple, list)):
        return ", ".join(value)
    return "" if value is None else str(value)
