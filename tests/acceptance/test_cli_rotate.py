"""The client key: ``keys rotate``. The configured file always holds a key that HelseID takes."""

import json
import signal
import stat
from pathlib import Path
from typing import Any

import pytest

from tests.support.program import Ended, Installation, calls
from tests.support.standin import CLIENT_ID, Standin
from worker.helseid.keys import load_client_key


@pytest.fixture
def worker(tmp_path: Path, standin: Standin) -> Installation:
    """A worker whose key, and no other, is registered at HelseID."""
    return standin.install(tmp_path, f"sqlite:///{tmp_path / 'pts.db'}")


def key_file(worker: Installation, suffix: str = "") -> Path:
    return worker.folder / f"client.jwk{suffix}"


def names(worker: Installation) -> set[str]:
    """The files of the key that lie there."""
    return {path.name.removeprefix("client.jwk") for path in worker.folder.glob("*client.jwk*")}


def register(standin: Standin, *files: Path) -> None:
    """Let HelseID know the keys in these files and no others, as a person in self-service does."""
    jwks = [load_client_key(path).public_jwk() for path in files]
    standin.world.apply({"clients": [{"client_id": CLIENT_ID, "jwks": jwks}]})


def token_state(checked: Ended) -> str:
    """What ``doctor`` says of the token that HelseID gives for the configured key."""
    (line,) = [line for line in checked.document["lines"] if line["name"] == "token"]
    return str(line["state"])


def assert_nothing_private(secrets: list[str], *reported: Ended) -> None:
    """No private part of any key is in any output."""
    assert [one for one in reported for secret in secrets if secret in one.out + one.err] == []


def self_service_json(jwk: dict[str, Any]) -> dict[str, Any]:
    return {"clientId": CLIENT_ID, "privateJwk": json.dumps(jwk)}


@pytest.mark.parametrize("form", [dict, self_service_json], ids=["jwk", "self-service"])
def test_a_new_key_takes_the_place_of_the_old_one(
    worker: Installation, standin: Standin, form: Any
):
    """It waits beside the old one until HelseID gives a token for it, also if for it alone."""
    key_file(worker).write_text(json.dumps(form(standin.private_jwk)))
    key_file(worker).chmod(0o440)
    before = key_file(worker).read_bytes()
    made, again, printed, early = calls(
        worker,
        "keys rotate",
        "keys rotate",
        f"keys public --set helseid.private_jwk_file={key_file(worker, '.new')}",
        "keys rotate --finish",
    )
    assert [made.code, again.code, printed.code, early.code] == [0, 78, 0, 77], early.err
    assert made.document["public_jwk"] == printed.document
    assert "keys rotate --finish" in made.out
    assert f"{key_file(worker, '.new')} already exists" in again.err
    assert f"keys public --set helseid.private_jwk_file={key_file(worker, '.new')}" in early.err
    assert names(worker) == {"", ".new"}
    assert oct(stat.S_IMODE(key_file(worker, ".new").stat().st_mode)) == "0o600"
    assert key_file(worker).read_bytes() == before
    secrets = [standin.private_jwk["d"], json.loads(key_file(worker, ".new").read_text())["d"]]

    register(standin, key_file(worker, ".new"))
    denied, done, checked, idle = calls(
        worker, "doctor", "keys rotate --finish --json", "doctor --json", "keys rotate --finish"
    )
    assert denied.code == 77
    assert (done.code, done.document["state"]) == (0, "rotated")
    assert done.document["public_jwk"] == printed.document
    assert done.document["former_kid"] == standin.private_jwk["kid"]
    assert token_state(checked) == "OK"
    there_is_none = f"there is no file {key_file(worker, '.new')}\n  → run `pts-worker keys rotate`"
    assert (idle.code, there_is_none in idle.err) == (78, True)
    assert names(worker) == {""}
    assert oct(stat.S_IMODE(key_file(worker).stat().st_mode)) == "0o440"
    assert_nothing_private(secrets, made, again, printed, early, denied, done, checked, idle)


STRIKE = """
import os, signal, sys
left = {number}

def watch(event, given):
    global left
    changes = "os.rename", "os.link", "os.remove", "os.chmod", "os.chown", "open"
    if event not in changes or not str(given[0]).startswith({prefix!r}):
        return
    if event == "open" and not given[2] & os.O_ACCMODE:
        return  # to die before a read is to die after a change
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(watch)
"""


def struck(worker: Installation, number: int, *words: str) -> int:
    """The end of ``keys rotate``, killed as it is about to change a key file the n-th time."""
    before = STRIKE.format(number=number, prefix=str(key_file(worker)))
    return worker.run("keys", "rotate", *words, before=before).code


def test_killed_at_any_step(worker: Installation, standin: Standin):
    """After each death the file holds a key that HelseID takes, and a next call can follow."""
    worker.configure(helseid={"private_jwk_file": str(key_file(worker))})
    before = key_file(worker).read_bytes()
    assert struck(worker, 1) == -signal.SIGKILL
    assert key_file(worker).read_bytes() == before
    assert struck(worker, 0) == 0
    register(standin, key_file(worker), key_file(worker, ".new"))
    deaths = 0
    while struck(worker, deaths + 1, "--finish") != 0:
        deaths += 1
        assert names(worker) == {"", ".new"}
        assert key_file(worker).read_bytes() == before
    assert deaths >= 2  # before its mode is set, and before it takes the old one's name
    assert names(worker) == {""}
    assert key_file(worker).read_bytes() != before
    assert token_state(*calls(worker, "doctor --json")) == "OK"


def test_killed_while_the_new_key_is_written(worker: Installation, standin: Standin):
    """What is not complete is named and never put in place."""
    before = key_file(worker).read_bytes()
    key_file(worker, ".new").touch(0o600)
    for ended in calls(worker, "keys rotate", "keys rotate --finish"):
        assert (ended.code, str(key_file(worker, ".new")) in ended.err) == (78, True)
    assert key_file(worker).read_bytes() == before
    key_file(worker, ".new").unlink()
    (ended,) = calls(worker, "keys rotate")
    assert ended.code == 0
