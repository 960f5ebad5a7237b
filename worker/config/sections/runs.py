"""Limits, schedule, logs and metrics of runs."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias

from worker.config.sections.areas import AREA_NAMES
from worker.config.sections.base import Section
from worker.config.values import (
    CRON,
    FILE,
    HTTP_URL,
    LISTEN,
    SOME_TIME,
    TIME_ZONE,
    Example,
    duration_or_none,
    number,
    one_of,
    some_of,
    whole,
)
from worker.core.durations import parse_duration

Confirmed: TypeAlias = Literal["removals", "changes"]
FileMode: TypeAlias = Literal["0600", "0640", "0644"]
LogLevel: TypeAlias = Literal["DEBUG", "INFO", "WARNING", "ERROR"]
LogFormat: TypeAlias = Literal["auto", "console", "json"]
LEASE_TTL_MAX_S: Final = 60
"""A lease expires at most this long after its holder has died."""


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


class Lease(Section, frozen=True, kw_only=True):
    """One writer at a time."""

    ttl_s: Annotated[
        int,
        whole(5, LEASE_TTL_MAX_S),
        "Seconds after which a holder that gives no sign of life loses the lease.",
    ] = 50


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
        str, CRON, "Cron expression of five fields: minute, hour, day, month, day of the week."
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
