"""Restrictions that come under another identifier."""

from pathlib import Path
from typing import Any

from tests.support.raw_server import http
from tests.support.standin import (
    PRIVACY,
    SAFETY,
    Standin,
    off_id_of,
    person,
    ref_of,
)

SINCE = "SELECT min(first_seen_at), max(first_seen_at) FROM report_patient_safety_current"


def d_number(off_id: str) -> str:
    """The D-number form: the day and 40."""
    return f"{int(off_id[:2]) + 40:02d}{off_id[2:]}"


def test_new_identifiers(standin: Standin, tmp_path: Path, sqlite_url: str) -> None:
    """Many at once are withheld until they are accepted; then each begins anew, and none is lost.

    An old identifier that cannot be read keeps what it has, stale, until it leaves the roster.
    """
    renamed, pairs = 12, []
    for number in range(renamed):
        new = off_id_of(number)
        old = d_number(new)
        # Every second one stands in the roster with the new identifier first.
        for off_id in (old, new) if number % 2 else (new, old):
            person(standin, number, off_id=off_id)
        person(standin, number, off_id=old, safeties=2, privacies=1)
        pairs.append((old, new))
    worker = standin.install(tmp_path, sqlite_url)
    assert worker.sync().code == 0
    _, last = worker.store.rows(SINCE)[0]
    before = worker.store.ids()
    assert {ref for ref, _ in before} == {ref_of(old) for old, _ in pairs}

    for old, new in pairs:
        for area in (SAFETY, PRIVACY):
            text = standin.people[old][area]
            standin.people[old][area] = []
            standin.people[new][area] = [_renamed(record, old, new) for record in text]
    failing, *_ = pairs[0]
    standin.script[failing, SAFETY] = lambda _: http(status="500 Away")
    assert worker.sync().code == 5
    assert worker.store.ids() == before
    ended = worker.sync("--accept-removals")
    assert ended.code == 3, ended.story()
    assert {name: ended.run["totals"][f"rows_{name}"] for name in ("opened", "closed")} == {
        "opened": 3 * renamed,
        "closed": 3 * renamed - 2,
    }
    new_refs = {ref_of(new) for _, new in pairs}
    assert {ref for ref, _ in worker.store.ids()} == new_refs | {ref_of(failing)}
    assert worker.store.stale() == {ref_of(failing)}
    # The old identifiers leave the roster, and the second roster without them counts.
    leaving = tuple(old for old, _ in pairs)
    worker.roster(*(line for line in standin.lines() if not line.startswith(leaving)))
    assert [worker.sync().code, worker.sync().code] == [0, 5]
    ended = worker.sync("--accept-removals")
    assert (ended.code, ended.run["totals"]["persons_departed"]) == (0, renamed)
    assert {ref for ref, _ in worker.store.ids()} == new_refs
    since, _ = worker.store.rows(SINCE)[0]
    assert since > last


def _renamed(record: dict[str, Any], old: str, new: str) -> dict[str, Any]:
    text = dict(record)
    for name in text.keys() & {"patientSafetyObject", "patientPrivacyObject"}:
        text[name] = {**text[name], "person": {"offId": new}}
    return text
