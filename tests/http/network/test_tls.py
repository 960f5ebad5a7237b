"""TLS from a private CA before HelseID and PTS, as hospitals have it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.support.certificates import Authority, make_authority, server_context
from tests.support.network.net import CONCURRENCY, PERSONS, WEATHERS, Net, assert_counted, net
from tests.support.network.proxy import Weather
from tests.support.program import Ended, Installation

REASONS = {
    "authority": "unable to get local issuer certificate|self.signed certificate",
    "host": "(IP address|Hostname) mismatch",
    "age": "expired",
}


@dataclass(frozen=True, kw_only=True)
class Hospital:
    """A sandbox whose certificates are those of a private authority."""

    net: Net
    authority: Authority

    def sync(self, worker: Installation, weather: Weather) -> Ended:
        """A run in that weather."""
        self.net.clear(weather)
        worker.configure(tls={"ca_file": str(self.authority.file)})
        return worker.sync()


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospital]:
    """The sandbox behind TLS."""
    authority = make_authority(tmp_path_factory.mktemp("authority"))
    context = server_context(authority)
    with net(helseid_tls=context, pts_tls=context) as made:
        yield Hospital(net=made, authority=authority)


@pytest.mark.parametrize("name", ["fair", "reset in mid-body"])
def test_a_private_authority(hospital: Hospital, migrated_sqlite: Path, tmp_path: Path, name: str):
    """With tls.ca_file a run over https is whole, in fair weather and in other."""
    weather = replace(WEATHERS.get(name, Weather()), strikes_max=5)
    worker = hospital.net.install(tmp_path, migrated_sqlite)
    assert worker.settings["api"]["base_url"].startswith("https://")
    assert worker.settings["helseid"]["issuer"].startswith("https://")
    ended = hospital.sync(worker, weather)
    assert ended.code == 0, ended.out + ended.err
    assert ended.run["totals"]["persons_complete"] == PERSONS
    hospital.net.assert_no_proof_twice()
    assert_counted(hospital.net, weather, ended)
    # Connections are kept: beside those that were struck one for each request at a time.
    assert hospital.net.pts.connections <= hospital.net.pts.struck + 2 * CONCURRENCY


@pytest.mark.parametrize(
    ("who", "wrong"), [("pts", "host"), ("pts", "age"), ("helseid", "authority")]
)
def test_a_certificate_that_is_not_accepted(
    migrated_sqlite: Path, tmp_path: Path, who: str, wrong: str
):
    """A certificate of another authority, another host's or an old one: 69, with the reason."""
    authority = make_authority(tmp_path)
    good = server_context(authority)
    stranger = tmp_path / "stranger"
    stranger.mkdir()
    signer = make_authority(stranger) if wrong == "authority" else authority
    host = "127.0.0.2" if wrong == "host" else "127.0.0.1"
    bad = server_context(signer, host, days=-1 if wrong == "age" else 1)
    contexts = {"helseid_tls": good, "pts_tls": good} | {f"{who}_tls": bad}
    with net(**contexts) as secure:
        worker = secure.install(tmp_path / "worker", migrated_sqlite)
        worker.configure(tls={"ca_file": str(authority.file)})
        ended = worker.sync()
        assert ended.code == 69, ended.out + ended.err
        reported = " ".join(ended.run["reasons"])
        assert re.search(REASONS[wrong], reported), reported
        assert ("HelseID" if who == "helseid" else "PTS") in reported
        stats = secure.stats()  # neither assertion nor token left the machine
        assert stats["searches"] == 0
        if who == "helseid":
            assert (stats["token_calls"], stats["discovery_calls"]) == (0, 0)
    assert worker.store.ids() == set()
    assert worker.store.rows("SELECT 1 FROM run WHERE publication_no IS NOT NULL") == []
