"""Export a run's metrics: textfile, Pushgateway, ``/metrics`` and OpenTelemetry.

A telemetry failure never changes the result of a run, and no label holds a personal value.
"""
