"""Telemetry options."""

from dataclasses import dataclass
from pathlib import Path

from worker.proxy import Proxy

PUSH_S_MAX = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TelemetryOptions:
    """Telemetry targets; ``None`` disables a target (configuration section ``telemetry``).

    Attributes:
        textfile: for node_exporter's textfile collector, which reads ``*.prom``.
        http_listen: ``host:port`` where ``schedule`` serves its pages.
        ping_url: dead man's switch; ``/start`` or ``/fail`` is appended. Never log its path.
        proxy: for the URLs, except loopback.
    """

    textfile: Path | None = None
    textfile_mode: int = 0o600
    pushgateway_url: str | None = None
    http_listen: str | None = None
    ping_url: str | None = None
    ca_file: Path | None = None
    push_s_max: float = PUSH_S_MAX
    proxy: Proxy | None = None
