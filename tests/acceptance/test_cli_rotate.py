"""The client key: ``keys rotate``. The configured file always holds a key that HelseID takes."""

import json
import os
import signal
import stat
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest
from joserfc.jwk import ECKey

from tests.support.program import PATIENCE_S, Ended, Installation, environment, install
from tests.support.sandbox_caller import Caller, ath, public
from tests.support.session import calls
from tests.support.zygote import the_zygote
from worker.helseid.authorizer import open_helseid
from worker.helseid.keys import load_client_key
from worker.helseid.options import HelseIdOptions
from worker.helseid.transport import helseid_client
from worker.runtime import real_runtime
from worker.sandbox.clients import Client
from worker.sandbox.serve import RunningSandbox, running_sandbox

DAYS = 20
SWIFT = "c0ffee00-0000-4000-8000-0000000000bb"
"""A client whose old key HelseID refuses as soon as it has a new one."""


@pytest.fixture(scope="module")
def key_pair() -> ECKey:
    return ECKey.generate_key("P-256", private=True)


@pytest.fixture(scope="module")
def swift_pair() -> ECKey:
    return ECKey.generate_key("P-256", private=True)


@pytest.fixture(scope="module")
def helseid(key_pair: ECKey, swift_pair: ECKey) -> Iterator[RunningSandbox]:
    """HelseID with self-service, where keys live for 20 days; its client has ``key_pair``."""
    jwks = (public(key_pair),)
    swift = Client(client_id=SWIFT, jwks=(public(swift_pair),))
    life_s = timedelta(days=DAYS, hours=1).total_seconds()
    with running_sandbox(
        persons=2, client_jwks=jwks, clients=[swift], key_life_s=life_s
    ) as sandbox:
        yield sandbox


@pytest.fixture
def worker(tmp_path: Path, helseid: RunningSandbox, key_pair: ECKey) -> Installation:
    """A worker with that key, which HelseID takes for good."""
    helseid.control(activation_delay_s=0.0, retire_after_s=3600.0, faults=[])
    made = install(
        tmp_path,
        database_url=f"sqlite:///{tmp_path / 'pts.db'}",
        issuer=helseid.issuer,
        base_url=helseid.base_url,
        client_id=helseid.client_id,
        client_key=key_pair.as_dict(private=True),
    )
    made.configure(helseid={"self_service_url": helseid.options.helseid_url})
    return made


def key_file(worker: Installation, suffix: str = "") -> Path:
    return worker.folder / f"client.jwk{suffix}"


def kid_of(path: Path) -> str:
    return load_client_key(path).kid


def names(worker: Installation) -> set[str]:
    """The files of the key that lie there."""
    return {path.name.removeprefix("client.jwk") for path in worker.folder.glob("client.jwk*")}


def is_accepted(helseid: RunningSandbox, path: Path) -> bool:
    """Whether HelseID gives a token for the key in a file."""

    async def ask() -> bool:
        options = HelseIdOptions(issuer=helseid.issuer, client_id=helseid.client_id)
        async with helseid_client() as http:
            opened = open_helseid(options, load_client_key(path), real_runtime(), http)
            return bool(await opened.tokens.token())

    return anyio.run(ask)


def assert_nothing_private(worker: Installation, *reported: Ended) -> None:
    """No private part of any key is in any output."""
    for path in worker.folder.glob("client.jwk*"):
        document = json.loads(path.read_text())
        private = document.get("privateJwk", document)["d"]
        assert [one for one in reported if private in one.out + one.err] == []


def test_a_new_key_takes_the_place_of_the_old_one(worker: Installation, helseid: RunningSandbox):
    """Made, registered, accepted, in place; the old one beside it. The mode is that of before."""
    before = key_file(worker).read_bytes()
    key_file(worker).chmod(0o440)
    rotated, checked = calls(worker, "keys rotate --json", "keys check --json")
    assert rotated.code == 0, rotated.err
    reported = rotated.document
    assert (reported["state"], reported["alg"]) == ("rotated", "ES512")
    assert reported["expires_at"] > "2026"
    assert checked.document["kid"] == reported["kid"] != reported["former_kid"]
    assert reported["former_kid"] == kid_of(key_file(worker, ".old"))
    assert key_file(worker, ".old").read_bytes() == before
    assert names(worker) == {"", ".old"}
    assert oct(stat.S_IMODE(key_file(worker).stat().st_mode)) == "0o440"
    assert is_accepted(helseid, key_file(worker))
    assert_nothing_private(worker, rotated, checked)


def test_by_hand(worker: Installation, helseid: RunningSandbox, swift_pair: ECKey):
    """The new key waits beside the old one until a person has registered what was printed.

    From then on HelseID refuses the old one: the next call ends the rotation all the same.
    """
    worker.configure(helseid={"client_id": SWIFT})
    key_file(worker).write_text(json.dumps(swift_pair.as_dict(private=True)))
    old = kid_of(key_file(worker))
    helseid.control(retire_after_s=0.0)
    made, again, early = calls(
        worker,
        "keys rotate --by-hand",
        "keys rotate --by-hand --json",
        "keys rotate --finish --wait 0s",
    )
    assert [made.code, again.code, early.code] == [0, 0, 77], early.err
    printed = json.loads(made.out[made.out.index("{") : made.out.rindex("}") + 1])
    assert again.document["public_jwk"] == printed
    assert "--finish" in made.out
    assert "unchanged" in early.err
    assert names(worker) == {"", ".new"}
    assert oct(stat.S_IMODE(key_file(worker, ".new").stat().st_mode)) == "0o600"
    assert kid_of(key_file(worker)) == old

    register(helseid, printed, swift_pair)
    denied, done = calls(worker, "doctor", "keys rotate --finish --json")
    assert denied.code == 77
    assert "keys rotate" in denied.out
    assert (done.code, done.document["state"]) == (0, "rotated"), done.err
    assert kid_of(key_file(worker)) == printed["kid"]
    assert names(worker) == {"", ".old"}
    assert_nothing_private(worker, made, again, early, done)


def register(helseid: RunningSandbox, jwk: dict[str, Any], key: ECKey) -> None:
    """What a person does in self-service with the key that it knows."""
    caller = Caller(helseid, key=key, client_id=SWIFT)
    caller.sign_in(form={"scope": "nhn:selvbetjening/client"})
    url = helseid.self_service_url
    headers = {
        "Authorization": f"DPoP {caller.token}",
        "DPoP": caller.proof(url, htm="POST", ath=ath(caller.token)),
    }
    assert caller.http.post(url, json=jwk, headers=headers).status_code == 200
    caller.close()


def struck(worker: Installation, number: int) -> int:
    """The end of ``keys rotate``, killed as it is about to change a key file the n-th time."""
    process = the_zygote().fork(
        "tests.support.struck",
        *(str(number), str(key_file(worker)), "--config", str(worker.config), "keys", "rotate"),
        folder=worker.folder,
        files=(Path(os.devnull), worker.folder / "out", worker.folder / "err"),
        env=environment(),
    )
    return process.wait(PATIENCE_S)


def test_killed_at_any_step(worker: Installation, helseid: RunningSandbox):
    """After each death the file holds a key that HelseID takes; the next call comes to its end."""
    worker.configure(helseid={"private_jwk_file": str(key_file(worker))})
    places = []
    for number in range(1, 60):
        code = struck(worker, number)
        assert is_accepted(helseid, key_file(worker))
        if code == 0:
            break
        assert code == -signal.SIGKILL
        places.append(tuple(sorted(names(worker))))
        assert struck(worker, 0) == 0
        assert names(worker) == {"", ".old"}
        assert is_accepted(helseid, key_file(worker))
    assert len(places) >= 6
    assert {("", ".old"), ("", ".new", ".old")} < set(places)
