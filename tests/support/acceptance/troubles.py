"""Trouble that passes."""

import time

from tests.support.raw_server import Reply, http
from tests.support.standin import Answerer, Ask

TROUBLE_S = 8.0
"""Longer than a wrong verdict takes, and less than the ten seconds that the worker waits."""


def for_a_while(trouble: Answerer) -> Answerer:
    """Answer so for some seconds from the first request on, then with the truth."""
    began: list[float] = []

    def answer(ask: Ask) -> Reply:
        began.append(time.monotonic())
        return trouble(ask) if began[-1] - began[0] < TROUBLE_S else http(ask.records)

    return answer
