"""The same manners over real sockets, real tokens and real time."""

from itertools import pairwise

import anyio
import orjson

from tests.support.pts_answers import PRIVACY, SAFETY
from worker.core.identity import NationalId
from worker.core.model import Person
from worker.core.privacy import PrivacyRules
from worker.core.retry import RetryPolicy
from worker.helseid.authorizer import open_helseid
from worker.helseid.keys import load_client_key
from worker.helseid.options import HelseIdOptions
from worker.helseid.transport import helseid_client
from worker.pts.engines import open_transport
from worker.pts.reader import PtsReader
from worker.pts.retrying_client import RetryingClient
from worker.pts.throttle import Throttle
from worker.pts.transport import TransportOptions
from worker.runtime import real_runtime
from worker.sandbox.serve import running_sandbox

PERSONS = 60
SLOW_DOWN = {"action": "status", "status": 429, "retry_after_s": 1, "every": 50, "times": 2}


async def read_everyone(sandbox, key_file):
    """Read both areas of every person, eight at a time; the client's figures and the throttle."""
    runtime = real_runtime()
    options = HelseIdOptions(issuer=sandbox.issuer, client_id=sandbox.client_id)
    people = iter([sandbox._world.people.off_id(line) for line in range(PERSONS)])
    async with helseid_client() as http, open_transport(TransportOptions()) as transport:
        helseid = open_helseid(options, load_client_key(key_file), runtime, http)
        throttle = Throttle(500.0, runtime, concurrency=8)
        client = RetryingClient(
            transport=transport,
            authorizer=helseid.authorizer,
            throttle=throttle,
            policy=RetryPolicy(),
            runtime=runtime,
        )
        reader = PtsReader(
            areas=(SAFETY, PRIVACY),
            base_url=sandbox.base_url,
            client=client,
            runtime=runtime,
            privacy=PrivacyRules(),
        )

        async def read_some():
            for off_id in people:
                person = Person(off_id=NationalId(off_id), person_key="0" * 64)
                for area in (SAFETY, PRIVACY):
                    await reader.read(person, area.name, key_path=None)

        async with anyio.create_task_group() as group:
            for _ in range(8):
                group.start_soon(read_some)
    return client.stats, throttle


async def test_everybody_waits_and_slows_down(tmp_path):
    """After a 429 with Retry-After nobody sends for a second; everyone is read in the end."""
    with running_sandbox(persons=PERSONS, faults=[SLOW_DOWN]) as sandbox:
        key_file = tmp_path / "key.json"
        key_file.write_bytes(orjson.dumps(sandbox.client_private_jwk))
        key_file.chmod(0o600)
        stats, throttle = await read_everyone(sandbox, key_file)
        seen = [one for one in sandbox.requests() if one["where"].startswith("patient")]
    assert (stats.requests, stats.retries) == (2 * PERSONS + 2, 2)
    assert [one["status"] for one in seen if one["status"] != 200] == [429, 429]
    pauses = [later["at"] - sooner["at"] for sooner, later in pairwise(seen)]
    assert sum(pause >= 0.9 for pause in pauses) == 2
    assert throttle.rate < 500.0
