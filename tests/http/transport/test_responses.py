"""Responses of every kind: the right body, or none."""

import pytest

from tests.support.http.calls import OPTIONS, TRANSIENT, outcome, response
from tests.support.http.response_cases import ALL
from tests.support.raw_server import Reply, raw_server
from worker.http.transport import Transport

NEXT = b'["next"]'


@pytest.mark.promise("1")
@pytest.mark.parametrize("is_dripped", [False, True], ids=["at once", "in drips"])
async def test_responses(is_dripped):
    """Each response gives its body or the right error; the next request gets its own response."""
    wrong = {}
    async with Transport(OPTIONS) as transport:
        for case in ALL:
            reply = Reply(
                data=case.data,
                then="close" if case.closes else "keep",
                slices=20 if is_dripped else 1,
            )
            async with raw_server(reply, Reply(data=response(NEXT))) as server:
                first = await outcome(transport, server.url)
                following = await outcome(transport, server.url)
            if first not in case.allowed or following not in TRANSIENT | {NEXT}:
                wrong[case.data] = (first, following)
    assert wrong == {}
