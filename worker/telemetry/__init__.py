"""Export a run's metrics: textfile, Pushgateway and ``/metrics``.

A telemetry failure never changes the result of a run, and no label holds a personal value.
"""
