"""No identifier, token, key or body anywhere but where it belongs, at DEBUG and with faults on."""

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.acceptance.bad_answers import CANARY, KINDS
from tests.acceptance.conftest import DATABASES, MakeDatabase, side_by_side
from tests.acceptance.program import PSEUDONYM_KEY, Ended, Installation, wait_for
from tests.acceptance.standin import (
    PRIVACY,
    SAFETY,
    Standin,
    http,
    off_id_of,
    person,
    privacy,
    safety,
)
from tests.acceptance.standin import standin as serve

PERSONS = 40
SECRET_WORD = "hemmelig-ord-i-en-sperring"
FAULTS = (
    "html",
    "items-beside-error",
    "other-person",
    "keyless",
    "broken-utf8",
    "400",
    "403",
    "404",
    "500",
    "429",
    "reset-in-body",
    "not-http",
    "headers-too-large",
    "slow-start",
    "loop",
    "identifier-in-link",
    "bad-time",
    "301",
)


@pytest.fixture(scope="module")
def all_traces(
    make_sqlite: MakeDatabase, make_postgres: MakeDatabase, tmp_path_factory: pytest.TempPathFactory
) -> Mapping[str, dict[str, str]]:
    urls = {"sqlite": make_sqlite(), "postgresql": make_postgres()}
    folders = {name: tmp_path_factory.mktemp(name) for name in urls}

    def tell(name: str) -> dict[str, str]:
        with serve() as standin:
            worker = prepared(standin, folders[name], urls[name])
            return {**live(standin, worker), "identifiers": "\n".join(standin.people)}

    return side_by_side(tell)


@pytest.fixture(params=DATABASES)
def traces(
    all_traces: Mapping[str, dict[str, str]], request: pytest.FixtureRequest
) -> dict[str, str]:
    """All that was left behind by a bad night at DEBUG: faults, a crash, a refusal, a bug."""
    return all_traces[request.param]


def prepared(standin: Standin, folder: Path, database_url: str) -> Installation:
    """Persons whose records name them in every form, everywhere."""
    for number in range(PERSONS):
        off_id = person(standin, number)
        spaced = f"{off_id[:6]} {off_id[6:]}"
        standin.people[off_id] = {
            SAFETY: [
                safety(
                    off_id,
                    "0",
                    createdBy=f"LIS for {off_id}",
                    note=f"Gjelder {spaced}. {SECRET_WORD}",
                    deep=[{"a": [off_id, {off_id: int(off_id)}]}],
                ),
                safety(off_id, "1"),
            ],
            PRIVACY: [privacy(off_id, "0")],
        }
    worker = standin.install(folder, database_url, request_timeout_s=1.5)
    worker.configure(log={"level": "DEBUG"})
    return worker


def live(standin: Standin, worker: Installation) -> dict[str, str]:
    """Run through everything that may leave a trace; what was left, by place."""
    texts: dict[str, str] = {}
    seen: list[Ended] = [worker.sync()]
    assert seen[-1].code == 0, seen[-1].err
    for number, kind in enumerate(FAULTS):
        standin.script[off_id_of(number), SAFETY] = KINDS[kind]
    standin.delay_s = 0.02
    worker.roster(*standin.lines(), f"{off_id_of(0)}7,bad", f"{off_id_of(1)[1:]},bad", "x,y")
    running = worker.start("sync", "--log-format", "console", afresh=True)
    wait_for(lambda: len(standin.asked) > 3 * PERSONS, "some searches")
    texts["processes"] = subprocess.run(
        ["ps", "-eww", "-o", "args"], capture_output=True, check=True, text=True
    ).stdout + Path(f"/proc/{running.process.pid}/environ").read_text(encoding="utf-8")
    assert "-m worker" in texts["processes"]
    running.kill()
    seen.append(running.wait())
    seen.append(worker.sync())
    assert seen[-1].code == 3, seen[-1].err[-2000:]
    if worker.store.is_sqlite:
        seen += [
            worker.run("failures", "list"),
            worker.run("status"),
            worker.run("config", "show"),
            worker.run("explain", stdin=f"{off_id_of(2)}\n".encode()),
            worker.run("backfill", "--person", off_id_of(3)),
            worker.run("backfill", "--person", "-", stdin=f"{off_id_of(3)[:9]}\n".encode()),
        ]
    standin.everybody = lambda _: http({"title": CANARY}, status="403 Forbidden")
    seen.append(worker.sync())
    standin.everybody = None
    standin.token_reply = http(
        {"error": "invalid_client", "error_description": "no such client"},
        status="401 Unauthorized",
    )
    seen.append(worker.sync())
    assert seen[-1].code == 77
    standin.token_reply = http({"access_token": f"{next(iter(standin.tokens))}\n", "x": 1})
    seen.append(worker.sync())
    standin.token_reply = None
    worker.store.rows("UPDATE run SET areas = 'no json' WHERE status = 'interrupted'")
    seen.append(worker.sync())
    assert seen[-1].code == 70

    texts["outputs"] = "\n".join(ended.out for ended in seen)
    texts["logs"] = "\n".join(ended.err for ended in seen)
    store = worker.store
    texts["tables"] = "\n".join(
        f"{table}: {row}"
        for table in store.tables()
        for row in store.rows(f"SELECT * FROM {table}")
    )
    if store.is_sqlite:
        files = sorted(store.path.parent.glob(f"{store.path.name}*"))
        texts["database"] = "\n".join(file.read_bytes().decode("latin-1") for file in files)
    texts["tokens"] = "\n".join(standin.tokens)
    texts["key"] = standin.private_jwk["d"]
    return texts


PLACES = ("processes", "outputs", "logs", "tables", "database")


def found(traces: dict[str, str], *secrets: str) -> list[str]:
    """Places where one of the secrets stands."""
    return [place for place in PLACES if any(secret in traces.get(place, "") for secret in secrets)]


def test_there_was_something_to_find(traces: dict[str, str]) -> None:
    """The traces are real: they hold much, and of what may be kept the word in a payload."""
    assert len(traces["logs"]) > 5_000
    assert "area.unread" in traces["logs"]
    assert "debug" in traces["logs"]
    assert ["tables"] == [place for place in found(traces, SECRET_WORD) if place != "database"]


def test_no_identifier(traces: dict[str, str]) -> None:
    """No identifier of the roster, as digits or in the groups that people write."""
    for off_id in traces["identifiers"].split():
        head, tail = off_id[:6], off_id[6:]
        forms = [off_id, f"{head} {tail}", f"{head}-{tail}", off_id.lstrip("0")]
        assert [] == found(traces, *forms)


def test_no_token(traces: dict[str, str]) -> None:
    """No access token, nor anything like a signed JWT."""
    assert [] == found(traces, *traces["tokens"].split())
    for place in PLACES:
        assert re.search(r"eyJ[\w-]{10,}\.[\w-]{10,}", traces.get(place, "")) is None, place


def test_no_key(traces: dict[str, str]) -> None:
    """Neither the client's private key nor the pseudonym key, in any usual spelling."""
    import base64

    key = PSEUDONYM_KEY
    spellings = [
        key.hex(),
        key.hex().upper(),
        base64.b64encode(key).decode(),
        base64.urlsafe_b64encode(key).decode().rstrip("="),
        key.decode("latin-1"),
        repr(key)[2:-1],
    ]
    assert [] == found(traces, traces["key"], *spellings)


def test_no_body_that_was_refused(traces: dict[str, str]) -> None:
    """No word of a body that was not understood, and none of a payload in a log."""
    assert [] == found(traces, CANARY)
    assert SECRET_WORD not in traces["logs"]
