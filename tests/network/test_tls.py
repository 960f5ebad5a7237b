"""TLS from a private CA before HelseID and PTS, as hospitals have it."""

import re
from pathlib import Path

import pytest

from tests.deaths.zygote import Zygote
from tests.http.certificates import make_authority, server_context
from tests.network.conftest import Net, net
from tests.network.proxy import Strike, Weather

REASONS = {
    "authority": "unable to get local issuer certificate|self.signed certificate",
    "age": "certificate has expired",
    "host": "(IP address|Hostname) mismatch",
}


@pytest.mark.parametrize("weather", [Weather(), Weather(strike=Strike.RESET, strikes_max=10)])
def test_a_private_authority(
    zygote: Zygote, migrated_sqlite: Path, tmp_path: Path, weather: Weather
):
    """With tls.ca_file a run over https publishes, also where connections break."""
    authority = make_authority(tmp_path)
    context = server_context(authority, tmp_path)
    with net(zygote, helseid_tls=context, pts_tls=context) as secure:
        secure.clear(weather)
        worker = secure.install(tmp_path / "worker", migrated_sqlite)
        worker.configure(tls={"ca_file": str(authority.file)})
        assert worker.settings["api"]["base_url"].startswith("https://")
        assert worker.settings["helseid"]["issuer"].startswith("https://")
        ended = secure.sync(worker)
        assert 0 == ended.code, ended.out + ended.err
        secure.assert_no_proof_twice()
        assert (weather.strike is not None) == (secure.pts.struck > 0)
        assert secure.pts.connections < 30  # connections are kept


@pytest.mark.parametrize("who", ["helseid", "pts"])
@pytest.mark.parametrize("wrong", REASONS)
def test_a_certificate_that_is_not_accepted(
    zygote: Zygote, migrated_sqlite: Path, tmp_path: Path, who: str, wrong: str
):
    """A certificate of another authority, or expired, or another host's: 69, with the reason."""
    authority = make_authority(tmp_path)
    good = server_context(authority, tmp_path)
    stranger = tmp_path / "stranger"
    stranger.mkdir()
    signer = make_authority(stranger) if wrong == "authority" else authority
    bad = server_context(
        signer,
        stranger,
        address="127.0.0.2" if wrong == "host" else "127.0.0.1",
        days=-1 if wrong == "age" else 1,
    )
    contexts = {"helseid_tls": good, "pts_tls": good} | {f"{who}_tls": bad}
    with net(zygote, **contexts) as secure:
        worker = secure.install(tmp_path / "worker", migrated_sqlite)
        worker.configure(tls={"ca_file": str(authority.file)})
        ended = secure.sync(worker)
        assert 69 == ended.code, ended.out + ended.err
        told = " ".join(ended.run["reasons"])
        assert re.search(REASONS[wrong], told), told
        assert ("HelseID" if who == "helseid" else "PTS") in told
        _assert_nothing_was_sent(secure, who)
    assert set() == worker.store.ids()
    assert [] == worker.store.rows("SELECT 1 FROM run WHERE publication_no IS NOT NULL")


def _assert_nothing_was_sent(secure: Net, who: str) -> None:
    """Neither assertion nor token left the machine."""
    stats = secure.stats()
    assert 0 == stats["searches"]
    if who == "helseid":
        assert 0 == stats["token_calls"] + stats["discovery_calls"]
