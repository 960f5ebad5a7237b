"""The sandbox behind something: what it demands is in the terms of its public addresses."""

import tomllib
from pathlib import Path

import httpx

from tests.support.network.net import Net
from tests.support.network.proxy import Weather
from tests.support.sandbox_caller import SAFETY_PATH, Caller
from worker.sandbox.files import write_setup
from worker.sandbox.people import roster
from worker.sandbox.serve import SandboxOptions

BODY = {"offId": next(roster(1, 1))[0]}


def test_a_proof_names_the_public_address(plain: Net):
    """A proof for the public address is taken, wherever the call goes; one for the inner is not."""
    plain.clear(Weather())
    assert plain.sandbox.base_url == plain.pts.url
    assert plain.sandbox.issuer.startswith(plain.helseid.url)
    caller = Caller(plain.sandbox).sign_in()
    inner = f"http://127.0.0.1:{plain.sandbox.options.pts_port}{SAFETY_PATH}"
    public = f"{plain.pts.url}{SAFETY_PATH}"
    with httpx.Client(trust_env=False) as http:
        answers = [
            http.post(address, json=BODY, headers=caller.headers(named)).status_code
            for address, named in ((public, public), (inner, public), (inner, inner))
        ]
    caller.close()
    assert answers == [200, 200, 401]


def test_the_configuration_names_the_public_addresses(tmp_path: Path):
    """The folder that a newcomer gets points at what stands before the sandbox."""
    options = SandboxOptions(
        persons=1, public_helseid_url="https://sts.example/", public_pts_url="https://pts.example"
    )
    write_setup(tmp_path, options)
    config = tomllib.loads((tmp_path / "worker.toml").read_text(encoding="utf-8"))
    assert config["helseid"]["issuer"] == "https://sts.example/helseid"
    assert config["api"]["base_url"] == "https://pts.example"
