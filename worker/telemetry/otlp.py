"""Export metrics to an OpenTelemetry collector over OTLP/HTTP. Requires the extra ``otlp``."""

from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import urlsplit

import requests
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, MetricExportResult
from opentelemetry.sdk.resources import Resource

from worker import __version__
from worker.proxy import proxy_for
from worker.telemetry.numbers import HELP, PREFIX, Sample
from worker.telemetry.options import TelemetryOptions

_PATH: Final = "/v1/metrics"


def export_otlp(options: TelemetryOptions, samples: Iterable[Sample]) -> None:
    """Send the samples to the collector. ``OTEL_EXPORTER_OTLP_HEADERS`` is obeyed.

    Raises:
        OSError: the collector cannot be reached or refuses the metrics.
    """
    if options.otlp_endpoint is None:
        return
    endpoint = options.otlp_endpoint.rstrip("/")
    reader = InMemoryMetricReader()
    resource = Resource.create({"service.name": "pts-sync-worker", "service.version": __version__})
    provider = MeterProvider(metric_readers=[reader], resource=resource, shutdown_on_exit=False)
    exporter = OTLPMetricExporter(
        endpoint=endpoint if endpoint.endswith(_PATH) else endpoint + _PATH,
        certificate_file=None if options.ca_file is None else str(options.ca_file),
        timeout=options.push_s_max,
        session=_session(options, endpoint),
    )
    try:
        _set(provider.get_meter("pts_worker"), samples)
        measured = reader.get_metrics_data()
        sent = exporter.export(measured) if measured is not None else MetricExportResult.SUCCESS
    finally:
        exporter.shutdown()
        provider.shutdown()
    if sent is not MetricExportResult.SUCCESS:
        raise OSError("the collector did not accept the metrics")


def _session(options: TelemetryOptions, endpoint: str) -> requests.Session:
    """A session that reads no response body, follows no redirect and ignores the environment.

    Only the status counts, and requests would decode a body without a limit. Ignored are proxies,
    CA files and ``.netrc``.
    """
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
