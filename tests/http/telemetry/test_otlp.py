"""OpenTelemetry: what a collector receives, and what a missing extra says."""

from tests.support.http.reports import NIGHT, pushes
from tests.support.raw_server import http, raw_server
from worker.telemetry.emit import emit
from worker.telemetry.numbers import samples_of
from worker.telemetry.options import TelemetryOptions


async def test_a_collector_receives_gauges():
    """One request with every number, its unit and labels, read by OpenTelemetry's own messages."""
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
        ExportMetricsServiceRequest,
    )

    async with raw_server(http()) as server:
        await emit(samples_of(NIGHT), TelemetryOptions(otlp_endpoint=server.url))
    ((method, path, body),) = pushes(server)
    assert (method, path) == ("POST", "/v1/metrics")
    (resource,) = ExportMetricsServiceRequest.FromString(body).resource_metrics
    names = {pair.key: pair.value.string_value for pair in resource.resource.attributes}
    assert names["service.name"] == "pts-sync-worker"
    metrics = {metric.name: metric for metric in resource.scope_metrics[0].metrics}
    duration = metrics["pts_worker_run_duration_seconds"]
    assert (duration.unit, duration.gauge.data_points[0].as_double) == ("s", 93.0)
    points = [point for metric in metrics.values() for point in metric.gauge.data_points]
    assert {pair.key for point in points for pair in point.attributes} == {"run", "kind"}
