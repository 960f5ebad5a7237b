"""No identifier, token, key or body anywhere but where it belongs, at DEBUG and with faults on."""

import json
import re

import anyio
import pytest

from tests.support.made_databases import BOTH, fresh_database
from tests.support.secrecy.canaries import (
    JWT,
    OPAQUE,
    WORD,
    Secrets,
    refused_words_in,
    spaced,
    tokens_in,
)
from tests.support.secrecy.nights import database_files, killed_in_mid_run, prepare
from tests.support.secrecy.traces import LEAVES, Traces, gather, live, log_statements, server_files
from tests.support.standin import off_id_of
from tests.support.standin import standin as serve

pytestmark = pytest.mark.promise("8")

EVERY = 3
"""So manieth kind of bad answer is in the quick run; the nightly one has all of them."""
MAY_HOLD_TEXTS = ("database", "export", "explained")


@pytest.fixture(scope="module", params=BOTH)
def traces(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Traces:
    """What a bad night has left behind, with pseudonyms."""
    url, folder = fresh_database(request), tmp_path_factory.mktemp("secrecy")
    position = None if url.startswith("sqlite") else anyio.run(log_statements, url)
    with serve() as made:
        night = prepare(made, folder, url, every=1 if position else EVERY)
        killed_in_mid_run(night)
        found = gather(night, list(live(night)))
    if position:
        night.places += server_files(url, position)
    else:
        night.places += database_files(night.worker.store, "at the end")
    return found


def test_every_command_is_called(traces: Traces) -> None:
    """There is a call for each command of the program: a new one cannot be forgotten here."""
    assert traces.leaves == LEAVES


def test_every_fault_was_met(traces: Traces) -> None:
    """Each call ended as it had to, and each bad answer was one."""
    ended = traces.night.ended
    assert ended["sync --json"].run["totals"]["areas_failed"] == traces.night.bad_areas
    expected = {
        "(wrong)": {2},
        "(killed)": {-9},
        "(good)": {3},
        "(mended)": {3},
        "sync": {3},
        "db backup": {0, 78},  # PostgreSQL has its own
        "backfill --failed": {3, 5, 65, 69},
        "backfill": {3},
        "doctor --probe --person": {65, 69},
    }
    for line, one in ended.items():
        codes = next((codes for head, codes in expected.items() if line.startswith(head)), {0})
        if line not in traces.night.crashes:
            assert one.code in codes, (line, one.err[-2000:])
    assert traces.night.made.violations == []


def test_a_crash_is_reported_without_values(traces: Traces) -> None:
    """A bug is 70, with its place and class; what its exception said is not repeated."""
    for line, text in traces.night.crashes.items():
        ended = traces.night.ended[line]
        assert text or line == "(ledger) sync", f"{line}: the bug was not met"
        assert ended.code == 70, (line, ended.err[-2000:])
        assert "Traceback (most recent call last):" in ended.err
        assert "this is a bug" in ended.out + ended.err
        assert re.search(r'File ".*worker/\w+/\w+\.py", line \d+, in \w+', ended.err)
        assert re.search(r"^\s*[\w.]*Error\b", ended.err, re.MULTILINE)
        assert [word for word in text.split() if len(word) > 15 and word in ended.err] == []
    everything = " ".join(traces.night.crashes.values()).encode()
    assert traces.secrets.identifiers_in(everything)
    assert tokens_in(everything)
    assert WORD.encode() in everything


def test_there_was_something_to_find(traces: Traces) -> None:
    """Every kind of place holds much, and of what may be kept the word in a text."""
    assert traces.all_of("log").count(b"area.unread") > traces.night.bad_areas
    assert b"debug" in traces.all_of("log")
    assert b"pts_worker_" in traces.all_of("metrics", "/metrics")
    pushed = traces.night.made.pushed
    assert b"pts_worker_" in b"".join(
        one for one in pushed if b"gateway" in one.partition(b"\n")[0]
    )
    assert b"pts_worker_" in traces.all_of("file", "pts.prom")
    assert b"<svg" in traces.all_of("file", "report.html")
    assert WORD.encode() in traces.all_of("export", "csv")
    named = {
        True: ("pts.db killed", "pts.db-wal killed", "pts.db at the end"),
        False: ("data files", "write-ahead log", "the server's log"),
    }
    for name in named[traces.night.worker.store.is_sqlite]:
        assert traces.all_of("database", name), name
        assert name == "pts.db killed" or WORD.encode() in traces.all_of("database", name), name


def test_the_search_finds_an_identifier() -> None:
    """In each form that people and programs write."""
    off_id = off_id_of(28)
    forms = {
        "digits": off_id,
        "short": off_id.lstrip("0"),
        "groups": spaced(off_id),
        "dash": spaced(off_id).replace(" ", "-"),
        "number": json.dumps({"x": int(off_id)}),
        "in more digits": f"99{off_id}11",
    }
    secrets = Secrets(identifiers=frozenset({off_id, off_id_of(29)}), keys=())
    found = {name: secrets.identifiers_in(f"x{text}y".encode()) for name, text in forms.items()}
    assert found == {name: {off_id} for name in forms}
    assert len(tokens_in(f"{JWT} {OPAQUE}".encode())) == 2


def test_no_identifier(traces: Traces) -> None:
    """With pseudonyms no identifier is anywhere, not even in the database and its logs."""
    found = {place.name: traces.secrets.identifiers_in(place.data) for place in traces.places}
    assert {name: sorted(named) for name, named in found.items() if named} == {}


def test_no_token_and_no_key(traces: Traces) -> None:
    """No token, nothing like a signed JWT; no key, old or new, in any spelling."""
    assert [(place, found) for place in traces.places if (found := tokens_in(place.data))] == []
    assert [place for place in traces.places if traces.secrets.keys_in(place.data)] == []


def test_no_body_that_was_refused(traces: Traces) -> None:
    """No word of a body that was not understood is anywhere; it is not stored, either."""
    assert [place for place in traces.places if refused_words_in(place.data)] == []


def test_no_text_but_where_it_is_kept(traces: Traces) -> None:
    """A word of a restriction stands in the database, in exports and in ``explain`` alone."""
    elsewhere = [place for place in traces.places if place.kind not in MAY_HOLD_TEXTS]
    assert [place for place in elsewhere if WORD.encode() in place.data] == []


def test_nothing_is_started_and_nothing_written_elsewhere(traces: Traces) -> None:
    """No process that could show arguments is started; every file written was searched above."""
    assert traces.spawned == []
    folder = traces.night.worker.folder
    assert [
        path
        for path in traces.written
        if not path.is_relative_to(folder) and "__pycache__" not in path.parts
    ] == []
    assert any(folder / "exported" / "csv" in path.parents for path in traces.written)
