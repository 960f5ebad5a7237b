"""TLS from a private CA before HelseID and PTS, as hospitals have it."""

import re
from pathlib import Path

import pytest

from tests.support.certificates import make_authority, server_context
from tests.support.network.net import CONCURRENCY, PERSONS, net

REASONS = {
    "authority": "unable to get local issuer certificate|self.signed certificate",
    "host": "(IP address|Hostname) mismatch",
    "age": "expired",
}


def test_a_private_authority(migrated_sqlite: Path, tmp_path: Path):
    """With tls.ca_file a run over https is complete, on connections that are kept."""
    authority = make_authority(tmp_path)
    context = server_context(authority)
    with net(helseid_tls=context, pts_tls=context) as secure:
        worker = secure.install(tmp_path / "worker", migrated_sqlite)
        assert worker.settings["api"]["base_url"].startswith("https://")
        assert worker.settings["helseid"]["issuer"].startswith("https://")
        worker.configure(tls={"ca_file": str(authority.file)})
        ended = worker.sync()
        assert ended.code == 0, ended.out + ended.err
        assert ended.run["totals"]["persons_complete"] == PERSONS
        secure.assert_no_proof_twice()
        assert secure.pts.connections <= 2 * CONCURRENCY


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
        counts = secure.counts()  # neither assertion nor token left the machine
        assert "searches" not in counts
        if who == "helseid":
            assert counts == {}
    assert worker.store.ids() == set()
    assert worker.store.rows("SELECT 1 FROM run WHERE publication_no IS NOT NULL") == []
