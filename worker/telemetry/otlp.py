"""Export metrics to an OpenTelemetry collector over OTLP/HTTP. Requires the extra ``otlp``."""

from collections.abc import Iterable
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from worker import __version__
from worker.errors import ConfigurationError
from worker.proxy import proxy_for
from worker.telemetry.numbers import HELP, PREFIX, Sample
from worker.telemetry.options import TelemetryOptions

_PATH: Final = "/v1/metrics"


class _Parts(NamedTuple):
    exporter: Any
    provider: Any
    reader: Any
    resource: Any
    succeeded: Any


def load_otlp() -> _Parts:
    """Import OpenTelemetry.

    Raises:
        ConfigurationError: the extra ``otlp`` is not installed.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import (  # noqa: PLC0415 - an extra, and heavy
            OTLPMetricExporter,
        )
        from opentelemetry.sdk.metrics import MeterProvider  # noqa: PLC0415
        from opentelemetry.sdk.metrics.export import (  # noqa: PLC0415
            InMemoryMetricReader,
            MetricExportResult,
        )
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    except ImportError as error:
        raise ConfigurationError(
            "telemetry.otlp_endpoint requires OpenTelemetry, which is not installed",
            hint="run `pip install pts-sync-worker[otlp]`, or remove telemetry.otlp_endpoint",
        ) from error
    return _Parts(
        exporter=OTLPMetricExporter,
        provider=MeterProvider,
        reader=InMemoryMetricReader,
        resource=Resource,
        succeeded=MetricExportResult.SUCCESS,
    )


def export_otlp(options: TelemetryOptions, samples: Iterable[Sample]) -> None:
    """Send the samples to the collector. ``OTEL_EXPORTER_OTLP_HEADERS`` is obeyed.

    Raises:
        ConfigurationError: the extra is not installed.
        OSError: the collector cannot be reached or refuses the metrics.
    """
    if options.otlp_endpoint is None:
        return
    parts = load_otlp()
    endpoint = options.otlp_endpoint.rstrip("/")
    reader = parts.reader()
    resource = parts.resource.create(
        {"service.name": "pts-sync-worker", "service.version": __version__}
    )
    provider = parts.provider(metric_readers=[reader], resource=resource, shutdown_on_exit=False)
    exporter = parts.exporter(
        endpoint=endpoint if endpoint.endswith(_PATH) else endpoint + _PATH,
        certificate_file=None if options.ca_file is None else str(options.ca_file),
        timeout=options.push_s_max,
        session=_session(options, endpoint),
    )
    try:
        _set(provider.get_meter("pts_worker"), samples)
        sent = exporter.export(reader.get_metrics_data())
    finally:
        exporter.shutdown()
        provider.shutdown()
    if sent is not parts.succeeded:
        raise OSError("the collector did not accept the metrics")


def _session(options: TelemetryOptions, endpoint: str) -> Any:
    """A session that reads no response body, follows no redirect and ignores the environment.

    Only the status counts, and requests would decode a body without a limit. Ignored are proxies,
    CA files and ``.netrc``.
    """
    import requests  # noqa: PLC0415 - part of the extra

    session = requests.Session()
    session.trust_env = False
    session.stream = True
    session.hooks["response"] = [_refuse_redirect]
    proxy = proxy_for(options.proxy, urlsplit(endpoint).hostname)
    if proxy is not None:
        session.proxies = {"https": proxy.url_with_credentials()}
    return session


def _refuse_redirect(response: Any, **_: object) -> None:
    if response.is_redirect:
        response.close()
        raise OSError(f"the collector redirects (status {response.status_code})")


def _set(meter: Any, samples: Iterable[Sample]) -> None:
    gauges: dict[str, Any] = {}
    for sample in samples:
        if sample.name not in gauges:
            text = HELP[sample.name.removeprefix(PREFIX)]
            unit = "s" if sample.name.endswith("_seconds") else "1"
            gauges[sample.name] = meter.create_gauge(sample.name, unit=unit, description=text)
        gauges[sample.name].set(sample.value, dict(sample.labels))
