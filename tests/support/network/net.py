"""A sandbox behind two proxies, one before HelseID and one before PTS, and the weather between."""

import json
import shutil
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from tests.support.network.proxy import Proxy, Strike, Weather, proxy
from tests.support.program import Ended, Installation, install
from worker.sandbox.people import roster
from worker.sandbox.serve import RunningSandbox, running_sandbox

PERSONS = 40
CONCURRENCY = 4
WEATHERS = {
    "latency": Weather(latency_s=0.02),
    "bytes one by one": Weather(slice_bytes=1),
    "three bytes at a time, late": Weather(slice_bytes=300, latency_s=0.005),
    "reset in mid-body": Weather(strike=Strike.RESET),
    "closed in mid-body": Weather(strike=Strike.CLOSE),
    "slow close": Weather(strike=Strike.SLOW_CLOSE),
}


@dataclass(kw_only=True)
class Net:
    """A sandbox, reached through proxies alone."""

    sandbox: RunningSandbox
    helseid: Proxy
    pts: Proxy

    def install(self, folder: Path, template: Path) -> Installation:
        """A worker that knows the proxies only, with a fresh database."""
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(template, folder / "pts.db")
        assert self.sandbox.client_private_jwk is not None
        made = install(
            folder,
            database_url=f"sqlite:///{folder / 'pts.db'}",
            issuer=self.sandbox.issuer,
            base_url=self.sandbox.base_url,
            client_id=self.sandbox.client_id,
            client_key=self.sandbox.client_private_jwk,
        )
        made.configure(
            sync={"concurrency": CONCURRENCY, "retry_attempts": 8, "request_timeout_s": 10.0}
        )
        made.roster(*(",".join(line) for line in roster(1, PERSONS)))
        return made

    def stats(self) -> dict[str, Any]:
        """What the sandbox has seen."""
        return self.sandbox.stats()

    def clear(self, weather: Weather) -> None:
        """Forget what was seen, and let the weather change."""
        self.sandbox.control(clear=True)
        for one in (self.helseid, self.pts):
            one.weather = weather
            one.struck = one.connections = 0
            one.random = Random(7)

    def assert_no_proof_twice(self) -> None:
        """Every attempt had a proof and an assertion of its own."""
        stats = self.stats()
        assert stats["proof_ids_repeated"] == 0
        assert stats["assertion_ids_repeated"] == 0
        refused = {name for name in stats["counts"] if name.startswith("refused")}
        assert {name for name in refused if "replay" in name.lower()} == set(), refused
        assert {name for name in refused if "nonce" not in name.lower()} == set(), refused


@contextmanager
def net(
    *, helseid_tls: ssl.SSLContext | None = None, pts_tls: ssl.SSLContext | None = None
) -> Iterator[Net]:
    """The sandbox under the proxies' addresses: issuer and ``htu`` are in their terms."""
    with ExitStack() as stack:
        helseid = stack.enter_context(proxy(tls=helseid_tls))
        pts = stack.enter_context(proxy(tls=pts_tls))
        running = stack.enter_context(
            running_sandbox(persons=PERSONS, public_helseid_url=helseid.url, public_pts_url=pts.url)
        )
        helseid.target = running.options.helseid_port
        pts.target = running.options.pts_port
        yield Net(sandbox=running, helseid=helseid, pts=pts)


def text_of(worker: Installation) -> str:
    """What readers see, but for the keys' own file."""
    return json.dumps(worker.store.published(), indent=1, default=str)


def assert_counted(net: Net, weather: Weather, ended: Ended) -> None:
    """Each connection that was struck cost one request more, and nothing else did."""
    totals = ended.run["totals"]
    assert (net.pts.struck > 0) == (weather.strike is not None)
    assert net.pts.struck == totals["retries"]
    assert totals["requests"] == 2 * PERSONS + totals["retries"]
