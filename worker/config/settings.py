"""Every key of the configuration: its kind, default, limits and meaning.

``config schema``, ``config show``, the README's table and ``config/worker.toml`` are made from this
file. Keys are reached as ``settings.<section>.<key>``; values are immutable.
"""

from datetime import timedelta
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    WithJsonSchema,
)

from worker.areas import AREAS
from worker.config.values import (
    AnyDatabaseUrl,
    CommaList,
    Cron,
    Duration,
    FileName,
    HttpUrl,
    Listen,
    LowerCase,
    OptionalDuration,
    OrganizationNumber,
    StoreUrl,
    Structure,
    StructureOrNames,
    TimeZone,
    UpperCase,
)
from worker.core.durations import parse_duration

AREA_NAMES: Final = tuple(area.name for area in AREAS)
"""The resource areas whose declarations ``areas.<name>.*`` may override."""

LEASE_TTL_MAX_S: Final = 60
"""A dead holder's lease is taken over after at most this time (issue: one writer)."""

ASSERTION_LIFETIME_MAX_S: Final = 60
"""HelseID takes an assertion that ends at most 60 s ahead (HelseID reference, section 1)."""


def _known_area(name: str) -> str:
    if name not in AREA_NAMES:
        raise ValueError(f"must be one of {', '.join(AREA_NAMES)}")
    return name


AreaName: TypeAlias = Annotated[
    str, AfterValidator(_known_area), WithJsonSchema({"type": "string", "enum": list(AREA_NAMES)})
]
Texts: TypeAlias = Annotated[tuple[str, ...], StructureOrNames, Field(min_length=1)]
SigningAlgorithm: TypeAlias = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"
]


class Section(BaseModel):
    """A section of the file: no unknown key, no change after loading."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, hide_input_in_errors=True
    )


class HelseId(Section):
    """The client at HelseID: who we are and how we prove it."""

    issuer: HttpUrl | None = Field(
        default=None,
        description="HelseID's issuer, with or without a path; discovery is read from it. "
        "Set by `api.environment`; this key overrides.",
        examples=["https://helseid-sts.test.nhn.no"],
    )
    self_service_url: HttpUrl | None = Field(
        default=None,
        description="Address of HelseID's self-service API, for `keys rotate`. Set by "
        "`api.environment`; this key overrides.",
        examples=["https://api.selvbetjening.test.nhn.no"],
    )
    client_id: str | None = Field(
        default=None,
        min_length=1,
        description="The client's id, as HelseID's self-service gives it.",
        examples=["00000000-0000-0000-0000-000000000000"],
    )
    private_jwk_file: FileName | None = Field(
        default=None,
        description="File with the client's private key: a JWK, a PEM, or the JSON that HelseID's "
        "self-service gives.",
        examples=["/run/secrets/helseid.jwk"],
    )
    private_key_alg: Annotated[SigningAlgorithm, UpperCase] | None = Field(
        default=None,
        description="Signature algorithm of the key, where the file does not say.",
        examples=["PS256"],
    )
    private_key_kid: str | None = Field(
        default=None,
        min_length=1,
        description="Key id registered at HelseID, where the file does not say; else the key's "
        "thumbprint (RFC 7638).",
        examples=["my-key-2026"],
    )
    scope: str = Field(
        default="nhn:pts/api", min_length=1, description="Scopes to ask for, separated by spaces."
    )
    sender_constraint: Annotated[Literal["dpop", "bearer"], LowerCase] = Field(
        default="dpop",
        description="`dpop` binds the token to a key of this process; `bearer` does not.",
    )
    grant: Annotated[Literal["client_credentials", "token_exchange"], LowerCase] = Field(
        default="client_credentials",
        description="`client_credentials`, or `token_exchange` (RFC 8693) with a signed-in "
        "person's token.",
    )
    subject_token_file: FileName | None = Field(
        default=None,
        description="File with the person's access token, for `token_exchange`. Never stored.",
        examples=["/run/secrets/subject-token"],
    )
    organization_parent: OrganizationNumber | None = Field(
        default=None,
        description="Organisation number of the legal entity, for a multi-tenant client.",
        examples=["999999999"],
    )
    organization_child: OrganizationNumber | None = Field(
        default=None,
        description="Organisation number of the unit (virksomhet), if one is to be sent.",
        examples=["888888888"],
    )
    tenancy: Annotated[Literal["single-tenant", "multi-tenant"], LowerCase] | None = Field(
        default=None,
        description="How the client is registered at HelseID: `single-tenant` or `multi-tenant`. "
        "Unset: multi-tenant if `helseid.organization_parent` is set.",
        examples=["multi-tenant"],
    )
    assertion_lifetime_s: int = Field(
        default=30,
        ge=1,
        le=ASSERTION_LIFETIME_MAX_S,
        description="Seconds that a client assertion is valid; HelseID takes at most 60.",
    )


class Api(Section):
    """Where PTS is."""

    environment: Annotated[Literal["test", "test-internet", "production"], LowerCase] | None = (
        Field(
            default=None,
            description="Sets `api.base_url` and `helseid.issuer` together. `test` and "
            "`production` are on Helsenett; `test-internet` is the test on the internet.",
            examples=["test"],
        )
    )
    base_url: HttpUrl | None = Field(
        default=None,
        description="PTS's address. Set by `api.environment`; this key overrides.",
        examples=["https://api.test.pts.nhn.no"],
    )


class Roster(Section):
    """Whose restrictions to read: a file, or a query."""

    path: str | None = Field(
        default=None,
        min_length=1,
        description="CSV whose header names `off_id` (and, if wanted, `local_ref`), or one "
        "identifier a line; `-` is standard input.",
        examples=["/var/lib/pts-worker/roster.csv"],
    )
    url: AnyDatabaseUrl | None = Field(
        default=None,
        description="SQLAlchemy URL of the database that `roster.query` reads.",
        examples=["postgresql://reader@ehr.example/ehr"],
    )
    password_file: FileName | None = Field(
        default=None,
        description="File with the password of `roster.url`.",
        examples=["/run/secrets/roster-password"],
    )
    query: str | None = Field(
        default=None,
        min_length=1,
        description="Query that gives `off_id[, local_ref]`; streamed, never committed.",
        examples=["select off_id, local_ref from patient"],
    )


class Database(Section):
    """Where the copy is kept."""

    url: StoreUrl = Field(
        default=SecretStr("sqlite:///pts.db"),
        description="SQLAlchemy URL without a driver: `sqlite:///file` or `postgresql://…`. "
        "A password in it is never shown; `database.password_file` is the better place.",
        validate_default=True,
    )
    password_file: FileName | None = Field(
        default=None,
        description="File with the password of `database.url`.",
        examples=["/run/secrets/database-password"],
    )
    patience_s: float = Field(
        default=60.0,
        ge=1,
        le=3600,
        description="Seconds for which a database that is away or silent is waited for; then a run "
        "ends with exit code 69.",
    )


class Privacy(Section):
    """How a person stands in the database."""

    identity: Annotated[Literal["pseudonym", "plain"], LowerCase] = Field(
        default="pseudonym",
        description="`pseudonym` stores a keyed HMAC of the identifier; `plain` the identifier.",
    )
    pseudonym_key_file: FileName | None = Field(
        default=None,
        description="File with at least 32 random bytes: the key of the pseudonyms. Losing it "
        "loses the tie between persons and rows.",
        examples=["/run/secrets/pseudonym.key"],
    )


class Sync(Section):
    """The limits of a run."""

    concurrency: int = Field(
        default=16,
        ge=1,
        le=256,
        description="Requests under way at once, at most; adapts downward.",
    )
    requests_per_second: float = Field(
        default=20.0,
        gt=0,
        le=10_000,
        description="Ceiling on requests to PTS, over all shards of a run.",
    )
    areas: Annotated[tuple[AreaName, ...], CommaList] = Field(
        default=AREA_NAMES, min_length=1, description="The areas to read, separated by commas."
    )
    deadline: OptionalDuration = Field(
        default=None,
        description="Time after which a run stops by itself with exit code 75; `none` for no end.",
        examples=["10h"],
    )
    continue_within: Duration = Field(
        default=parse_duration("12h"),
        description="A stopped run is continued by the next one unless it is older than this.",
    )
    max_removed_share: float = Field(
        default=0.10,
        ge=0,
        le=1,
        description="The guard: a run that would close more than this share of the open "
        "restrictions is withheld (exit 5).",
    )
    min_completeness: float = Field(
        default=0.50,
        ge=0,
        le=1,
        description="The guard: a run that read less than this share of persons and areas is "
        "withheld (exit 5).",
    )
    retry_attempts: int = Field(
        default=5, ge=1, le=20, description="Attempts at one request, the first included."
    )
    request_timeout_s: float = Field(
        default=30.0,
        gt=0,
        le=600,
        description="Seconds that one request to PTS or HelseID may take, its answer included.",
    )
    max_pages: int = Field(
        default=1_000,
        ge=1,
        le=100_000,
        description="Pages of one person's area; more is taken for a loop.",
    )
    batch_persons: int = Field(
        default=500, ge=1, le=5_000, description="Persons written in one transaction, at most."
    )


class Retention(Section):
    """How long the past is kept. What is current is never touched."""

    versions: OptionalDuration = Field(
        default=None,
        ge=timedelta(days=1),
        description="Versions of restrictions that ended longer ago are deleted after a published "
        "sync; history and `--as-of` then reach no further back. `none` keeps them.",
        examples=["1825d"],
    )
    runs: OptionalDuration = Field(
        default=None,
        ge=timedelta(days=1),
        description="Runs that ended longer ago are deleted after a published sync, once no row "
        "refers to them. `none` keeps them.",
        examples=["1825d"],
    )


class Lease(Section):
    """One writer at a time."""

    ttl_s: int = Field(
        default=50,
        ge=5,
        le=LEASE_TTL_MAX_S,
        description="Seconds after which a holder that gives no sign of life loses the lease.",
    )


class Tls(Section):
    """Trust. Verification cannot be turned off."""

    ca_file: FileName | None = Field(
        default=None,
        description="PEM file with a private CA to trust besides the usual ones.",
        examples=["/etc/ssl/private-ca.pem"],
    )


class Log(Section):
    """What is told on standard error."""

    level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], UpperCase] = Field(
        default="INFO", description="The least severity that is logged."
    )
    format: Annotated[Literal["auto", "console", "json"], LowerCase] = Field(
        default="auto",
        description="`console`, `json`, or `auto`: console on a terminal, else JSON.",
    )


class Schedule(Section):
    """When ``schedule`` runs a sync."""

    cron: Cron = Field(
        default="30 3 * * *",
        description="Cron expression of five fields: minute, hour, day, month, day of the week.",
    )
    timezone: TimeZone = Field(
        default="Europe/Oslo", description="Time zone in which `schedule.cron` is read."
    )


class Telemetry(Section):
    """Where the numbers of a run go."""

    textfile: FileName | None = Field(
        default=None,
        description="File for node_exporter's textfile collector, written after each run.",
        examples=["/var/lib/node_exporter/pts_worker.prom"],
    )
    pushgateway_url: HttpUrl | None = Field(
        default=None,
        description="Prometheus Pushgateway to push to after each run.",
        examples=["https://pushgateway.example"],
    )
    http_listen: Listen | None = Field(
        default=None,
        description="host:port on which `schedule` serves `/metrics`.",
        examples=["127.0.0.1:9464"],
    )
    otlp_endpoint: HttpUrl | None = Field(
        default=None,
        description="OpenTelemetry collector (OTLP over HTTP).",
        examples=["https://otel.example:4318"],
    )


class AreaOverride(Section):
    """What may be changed in an area's declaration, because PTS publishes no schema."""

    path: str | None = Field(
        default=None,
        description="Path of the search, from PTS's address.",
        examples=["/v0.5/access-restrictions/patient-safety/_search"],
    )
    api_version: str | None = Field(
        default=None,
        description="PTS's version; another than the declared one takes the old route with the "
        "header `api-version`.",
        examples=["0.4"],
    )
    headers: Annotated[dict[str, str], Structure] | None = Field(
        default=None,
        description="Headers besides the worker's own; the values are not shown.",
        examples=[{"Accept": "application/json"}],
    )
    body: Annotated[dict[str, Any], Structure] | None = Field(
        default=None,
        description="The request's body, with `{off_id}` where the identifier goes.",
        examples=[{"offId": "{off_id}", "ApplicableOnly": True}],
    )
    record_key: Texts | None = Field(
        default=None,
        description="Paths of a record's key, in order; the first that exists serves.",
        examples=[["id"]],
    )
    person: Texts | None = Field(
        default=None,
        description="Paths where a record may name the person, who must be the one asked for.",
        examples=[["offId"]],
    )
    recognised_by: Texts | None = Field(
        default=None,
        description="Fields of which a record has at least one.",
        examples=[["confidentialityCode"]],
    )
    volatile: Annotated[tuple[str, ...], StructureOrNames] | None = Field(
        default=None,
        description="Fields that are stored but do not make a record a changed one.",
        examples=[["lastReadTime"]],
    )
    paging: Annotated[str | dict[str, Any], Structure] | None = Field(
        default=None,
        description="How the area pages: a style by name, or a table (`style`, `field`, "
        "`send_as`, `send_in`, `total`, `ignore`).",
        examples=["auto"],
    )
    not_found_means: Annotated[Literal["failure", "empty"], LowerCase] | None = Field(
        default=None,
        description="What a 404 says: a failure, or no restriction.",
        examples=["failure"],
    )
    envelope: str | None = Field(
        default=None,
        description="Path of the array of records in the answer; empty: at the top or under a "
        "usual name.",
        examples=["items"],
    )
    columns: Annotated[dict[str, Any], Structure] | None = Field(
        default=None,
        description="Path or paths of typed columns, by column.",
        examples=[{"cause": "reason"}],
    )


class Settings(BaseModel):
    """The whole configuration. ``worker.config.load`` makes it; nothing else reads the world."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    helseid: HelseId = HelseId()
    api: Api = Api()
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
    areas: dict[AreaName, AreaOverride] = Field(
        default={}, description="Overrides of the areas' declarations, by area."
    )

    def area_overrides(self) -> dict[str, dict[str, Any]]:
        """What was set under ``areas.<name>``, by area; nothing that was left out."""
        return {
            name: override.model_dump(exclude_unset=True) for name, override in self.areas.items()
        }
