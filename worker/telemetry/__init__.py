"""Where the numbers of a run go: textfile, Pushgateway, ``/metrics`` and OpenTelemetry.

Nothing here ever changes how a run ends, and no label ever holds a personal value.
"""
