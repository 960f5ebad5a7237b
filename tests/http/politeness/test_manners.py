"""The complete worker before a PTS whose limits it does not know (promise 7)."""

from pathlib import Path

import pytest

from tests.support.politeness.night import Asked, Nights, Script, status, wait
from worker.sandbox.web import Response

pytestmark = pytest.mark.promise("7")

WARM_UP_S = 60.0
"""After so long the worker must have settled."""


def bucket(rate: float) -> Script:
    """It sustains this rate, saves up a second of it while idle, and refuses the rest."""
    tokens, filled_s = rate, 0.0

    def script(ask: Asked) -> Response | None:
        nonlocal tokens, filled_s
        tokens = min(rate, tokens + (ask.at_s - filled_s) * rate)
        filled_s = ask.at_s
        if tokens < 1.0:
            return status(429)
        tokens -= 1.0
        return None

    return script


@pytest.mark.parametrize(
    ("rate", "ceiling"),
    [
        (10, 50.0),
        pytest.param(3, 20.0, marks=pytest.mark.nightly),
        pytest.param(50, 1000.0, marks=pytest.mark.nightly),
    ],
)
def test_an_unknown_limit_is_found(tmp_path: Path, rate: int, ceiling: float) -> None:
    """At least 0.6 of what PTS sustains, with few refusals and nobody lost."""
    nights = Nights(tmp_path, 100 * rate, requests_per_second=ceiling)
    outcome = nights.night(bucket(rate))
    nights.stage.close()
    assert outcome.code == 0
    end_s = nights.took_s - 10
    settled = [ask for ask in nights.asked if WARM_UP_S <= ask.at_s < end_s]
    accepted_per_s = sum(ask.is_good for ask in settled) / (end_s - WARM_UP_S)
    assert 0.6 * rate <= accepted_per_s
    # Each halving takes thirty responses. PTS refuses most of them.
    assert sum(not ask.is_good for ask in nights.asked) < 0.09 * len(nights.asked)


def test_a_request_that_waits_for_its_turn_waits_out_a_pause(tmp_path: Path) -> None:
    """Everyone's ``Retry-After`` arrives while others wait for their turns: none is sent.

    Afterwards none comes with a token that has expired meanwhile.
    """
    nights = Nights(tmp_path, 60, concurrency=8, requests_per_second=2.0, token_lifetime_s=60)
    asked: list[Asked] = []

    def script(ask: Asked) -> Response | None:
        if ask.at_s < 20.0 or len(asked) == 3:
            return None
        asked.append(ask)
        return wait(40)

    outcome = nights.night(script)
    nights.stage.close()
    assert outcome.code == 0
    assert len({ask.person for ask in asked}) == 3, "PTS asks it of everybody"
    began_s = asked[-1].at_s
    assert [ask for ask in nights.asked if began_s < ask.at_s < began_s + 40.0] == []
    first_at_s: dict[str, float] = {}
    ages = [ask.at_s - first_at_s.setdefault(ask.token, ask.at_s) for ask in nights.asked]
    assert max(ages) < 60.0
