"""OpenTelemetry: what a collector receives, and what a missing extra says."""

import subprocess
import sys

import anyio
import pytest
import structlog

from tests.http.telemetry.test_telemetry import NIGHT, pushes
from tests.support.raw_server import Reply, http, raw_server
from worker.telemetry.emit import emit
from worker.telemetry.numbers import samples_of
from worker.telemetry.options import TelemetryOptions

WITHOUT = """
import sys
sys.modules["opentelemetry"] = None
from worker.errors import ConfigurationError
from worker.telemetry.emit import check_telemetry
from worker.telemetry.numbers import samples_of
from worker.telemetry.options import TelemetryOptions
check_telemetry(TelemetryOptions(textfile=None))
try:
    check_telemetry(TelemetryOptions(otlp_endpoint="http://127.0.0.1:9"))
except ConfigurationError as fault:
    print(int(fault.exit_code), fault.hint)
"""


def test_a_missing_extra_is_reported_before_the_run():
    """The check names what to install; without an endpoint nothing is needed."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=True, timeout=60
    )
    assert (
        done.stdout.strip()
    ) == "78 run `pip install pts-sync-worker[otlp]`, or remove telemetry.otlp_endpoint"


@pytest.mark.parametrize("ending", ["", "/", "/v1/metrics"])
async def test_a_collector_receives_gauges(ending):
    """One request with every number, its unit and labels, read by OpenTelemetry's own messages."""
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
        ExportMetricsServiceRequest,
    )

    async with raw_server(http()) as server:
        await emit(samples_of(NIGHT), TelemetryOptions(otlp_endpoint=server.url + ending))
    ((method, path, body),) = pushes(server)
    assert (method, path) == ("POST", "/v1/metrics")
    (resource,) = ExportMetricsServiceRequest.FromString(body).resource_metrics
    names = {pair.key: pair.value.string_value for pair in resource.resource.attributes}
    assert names["service.name"] == "pts-sync-worker"
    metrics = {metric.name: metric for metric in resource.scope_metrics[0].metrics}
    duration = metrics["pts_worker_run_duration_seconds"]
    assert (duration.unit, duration.gauge.data_points[0].as_double) == ("s", 93.0)
    persons = {
        point.attributes[0].value.string_value: point.as_double
        for point in metrics["pts_worker_persons"].gauge.data_points
    }
    assert 500.0 in persons.values()
    assert {
        pair.key
        for metric in metrics.values()
        for point in metric.gauge.data_points
        for pair in point.attributes
    } == {"run", "kind"}


@pytest.mark.promise("10")
@pytest.mark.parametrize(
    ("status", "failed"),
    [
        ("200 OK\r\nContent-Encoding: gzip", []),
        ("307 Elsewhere\r\nLocation: /v2", ["otlp"]),
    ],
)
async def test_the_body_of_an_answer_is_not_read(status, failed):
    """However much it says it is; and a redirect is not followed."""
    endless = f"HTTP/1.1 {status}\r\nContent-Length: 10737418240\r\n\r\n".encode()
    async with raw_server(Reply(data=endless, then="hang")) as server:
        with structlog.testing.capture_logs() as logs, anyio.fail_after(15.0):
            options = TelemetryOptions(otlp_endpoint=server.url, push_s_max=30.0)
            await emit(samples_of(NIGHT), options)
    assert (failed, 1) == ([log["target"] for log in logs], len(server.requests))
