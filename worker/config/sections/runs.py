"""Limits, schedule, logs and metrics of runs."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias

from worker.areas import AREAS
from worker.config.values import (
    CRON,
    HTTP_URL,
    LISTEN,
    POSITIVE_DURATION,
    SECRET_HTTP_URL,
    TIME_ZONE,
    Example,
    Secret,
    Section,
    duration_or_none,
    integer,
    number,
    subset_of,
)
from worker.core.durations import parse_duration

Confirmed: TypeAlias = Literal["removals", "changes"]
FileMode: TypeAlias = Literal["0600", "0640", "0644"]
LogLevel: TypeAlias = Literal["DEBUG", "INFO", "WARNING", "ERROR"]
LogFormat: TypeAlias = Literal["auto", "console", "json"]
LEASE_TTL_MAX_S: Final = 60
"""A lease expires at most this long after its holder has died."""

_AREAS: Final = tuple(area.name for area in AREAS)


class Sync(Section, frozen=True, kw_only=True):
    """Limits of a run."""

    concurrency: Annotated[
        int,
        integer(1, 256),
        "Maximum number of concurrent requests; reduced when PTS slows down or refuses.",
    ] = 16
    requests_per_second: Annotated[
        float,
        number(100_000, minimum=0.001),
        "Rate limit for requests to PTS.",
    ] = 20.0
    areas: Annotated[
        tuple[str, ...], subset_of(_AREAS), "The areas to read, separated by commas."
    ] = _AREAS
    deadline: Annotated[
        timedelta | None,
        duration_or_none(minimum=timedelta(seconds=1)),
        "Time after which a run stops with exit code 75; `none` for no limit.",
        Example("10h"),
    ] = None
    continue_within: Annotated[
        timedelta,
        POSITIVE_DURATION,
        "The next run continues a stopped run, unless it made no progress for this long.",
    ] = parse_duration("12h")
    confirm: Annotated[
        Confirmed,
        "Which reads are repeated on a new connection before they are accepted: `removals`, if a "
        "published restriction is missing; `changes`, if anything differs from the published "
        "state.",
    ] = "removals"
    confirm_after: Annotated[
        timedelta,
        POSITIVE_DURATION,
        "Least time between a read and the second one that must confirm it.",
    ] = parse_duration("10s")
    max_removed_share: Annotated[
        float,
        number(1),
        "Guard: a run that would close more than this share of the open restrictions, or of which "
        "more lose a value, is withheld (exit 5).",
    ] = 0.10
    min_completeness: Annotated[
        float,
        number(1),
        "Guard: a run that read less than this share of the persons in every area is withheld "
        "(exit 5).",
    ] = 0.50
    first_min_completeness: Annotated[
        float,
        number(1),
        "Guard: the same for the first publication, of all person-areas.",
    ] = 0.95
    retry_attempts: Annotated[int, integer(1, 20), "Attempts per request, including the first."] = 5
    patience: Annotated[
        timedelta,
        POSITIVE_DURATION,
        "How long nobody can be read before a run that was ever answered ends with 65, 69 or 77; "
        "until then one request goes out every ten seconds.",
    ] = parse_duration("10m")
    retry_after_max: Annotated[
        timedelta,
        POSITIVE_DURATION,
        "Longest `Retry-After` that a run waits for. A longer one is a failure of that person, "
        "and ends the run with exit code 69 if PTS asks it of everybody.",
    ] = parse_duration("15m")
    request_timeout_s: Annotated[
        float,
        number(600, above_zero=True),
        "Timeout of one request to PTS or HelseID in seconds, including the response.",
    ] = 30.0
    batch_persons: Annotated[
        int, integer(1, 5_000), "Maximum number of persons written in one transaction."
    ] = 250


class Lease(Section, frozen=True, kw_only=True):
    """The lease, which allows one writer at a time."""

    ttl_s: Annotated[
        int,
        integer(5, LEASE_TTL_MAX_S),
        "Seconds after which a holder that does not renew the lease loses it.",
    ] = 50


class Log(Section, frozen=True, kw_only=True):
    """Logs, on standard error."""

    level: Annotated[LogLevel, "Lowest level that is logged."] = "INFO"
    format: Annotated[
        LogFormat,
        "`console`, `json`, or `auto` (console on a terminal, else JSON).",
    ] = "auto"


class Schedule(Section, frozen=True, kw_only=True):
    """The times at which ``schedule`` runs a sync."""

    cron: Annotated[
        str, CRON, "Cron expression as in cron(8): minute, hour, day, month, day of the week."
    ] = "30 3 * * *"
    timezone: Annotated[str, TIME_ZONE, "Time zone of `schedule.cron`."] = "Europe/Oslo"
    retry_wait: Annotated[
        timedelta,
        POSITIVE_DURATION,
        "Wait before a run that ended with 4, 69 or 75 is retried. Each further wait is twice as "
        "long, up to an hour.",
    ] = parse_duration("5m")


class Telemetry(Section, frozen=True, kw_only=True):
    """Metrics of runs."""

    textfile: Annotated[
        Path | None,
        "File for node_exporter's textfile collector, written after each run.",
        Example("/var/lib/node_exporter/pts_worker.prom"),
    ] = None
    textfile_mode: Annotated[
        FileMode,
        "Mode of the textfile. node_exporter runs as another user: use `0640` if its group owns "
        "the folder (setgid), else `0644`.",
    ] = "0600"
    pushgateway_url: Annotated[
        str | None,
        HTTP_URL,
        "URL of a Prometheus Pushgateway, to which metrics are pushed after each run.",
        Example("https://pushgateway.example"),
    ] = None
    http_listen: Annotated[
        str | None,
        LISTEN,
        "host:port where `schedule` serves `/metrics`.",
        Example("127.0.0.1:9464"),
    ] = None
    ping_url: Annotated[
        Secret | None,
        SECRET_HTTP_URL,
        "URL of a dead man's switch such as healthchecks.io. `sync` and `schedule` ping it when a "
        "full run has published, with `/start` when one begins and `/fail` when one fails.",
        Example("https://hc-ping.com/00000000-0000-0000-0000-000000000000"),
    ] = None
