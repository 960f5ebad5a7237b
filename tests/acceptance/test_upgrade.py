"""A store of version 0.1 is upgraded: no identifier stays, and the next sync finds no change."""

from pathlib import Path

import anyio
import pytest

from tests.support.acceptance.both_databases import BOTH, fresh_database
from tests.support.acceptance.named_persons import OTHER, OWN, pseudonym, texts_in
from tests.support.migration.old_rows import Answers, make_old, old_pseudonym
from tests.support.program import PSEUDONYM_KEY, Installation
from tests.support.secrecy.canaries import Secrets
from tests.support.secrecy.nights import database_bytes
from tests.support.session import calls, other_key
from tests.support.standin import PRIVACY, SAFETY, Standin, off_id_of, privacy, safety

pytestmark = pytest.mark.promise("8")

NAME = "Kari Nordmann"
AUTHOR = {"offId": OTHER, "name": NAME, "role": "Lege", "organisation": "OUS HF"}
REFS = {OWN: f"pid {OWN[:6]} {OWN[6:]}", OTHER: f"R-{OWN}"}


def answers() -> Answers:
    """Identifiers under ids and under digest keys, a name, and persons with nothing of it."""
    texts = [f"{one[:6]}{separator}{one[6:]}" for one in (OWN, OTHER) for separator in ("", " ")]
    keyed = [
        safety(OWN, f"{number}-{text}", cause=text, createdBy=f"LIS {text}", note=text)
        for number, text in enumerate(texts, 100)
    ]
    digest = [
        privacy(OWN, "", order=number, note=text, createdBy=AUTHOR)
        for number, text in enumerate(texts)
    ]
    for one in digest:
        del one["id"]
    return {
        OWN: {SAFETY: keyed, PRIVACY: digest},
        OTHER: {SAFETY: [safety(OTHER, "0", createdBy=AUTHOR)], PRIVACY: []},
        **{
            off_id_of(number): {SAFETY: [safety(off_id_of(number), "0")], PRIVACY: []}
            for number in range(6)
        },
    }


@pytest.fixture(params=BOTH)
def worker(request: pytest.FixtureRequest, standin: Standin, tmp_path: Path) -> Installation:
    """A worker whose store is as version 0.1 left it after one run over ``answers``."""
    url = fresh_database(request)
    for off_id, areas in answers().items():
        standin.people[off_id] = {area: [dict(one) for one in areas[area]] for area in areas}
    made = standin.install(tmp_path, url)
    refs = {off_id: REFS.get(off_id, "R-x") for off_id in standin.people}
    made.roster(*(f"{off_id},{ref}" for off_id, ref in refs.items()))
    assert made.sync().code == 0
    keys = {off_id: pseudonym(off_id) for off_id in answers()}
    anyio.run(make_old, url, PSEUDONYM_KEY, answers(), refs, keys)
    assert Secrets(identifiers=frozenset({OWN, OTHER}), keys=()).identifiers_in(
        database_bytes(made.store)
    ) == {OWN, OTHER}
    assert NAME.encode() in database_bytes(made.store)
    return made


def test_no_identifier_and_no_name_is_left(worker: Installation, tmp_path: Path) -> None:
    """Nothing happens without the key; then all is rewritten, once, and the next sync agrees."""
    early, wrong, done, again = calls(
        worker,
        "sync --json",
        f"db upgrade --json --set privacy.pseudonym_key_file={other_key(tmp_path)}",
        "db upgrade --json",
        "db upgrade --json",
    )
    assert (early.code, "db upgrade" in early.message) == (78, True), early.story()
    assert (wrong.code, "not the key" in wrong.message) == (78, True), wrong.story()
    assert done.code == 0, done.story()
    assert done.document["schema"]["before"] == "0006"
    assert done.document["rewritten"]["persons"] == len(answers())
    assert again.document["rewritten"] == {"persons": 0, "rows": 0}

    store = worker.store
    secrets = Secrets(identifiers=frozenset({OWN, OTHER}), keys=())
    texts = "\n".join(texts_in(list(store.everything().values())))
    assert (secrets.identifiers_in(texts.encode()), NAME in texts) == (set(), False)
    if store.is_sqlite:  # PostgreSQL's bytes are freed, and overwritten later
        data = database_bytes(store)
        assert (secrets.identifiers_in(data), NAME.encode() in data) == (set(), False)
    own, other = (old_pseudonym(PSEUDONYM_KEY, digits) for digits in (OWN, OTHER))
    refs = dict(store.rows("SELECT person_key, local_ref FROM person"))
    assert (refs[own], refs[other]) == (f"pid {own}", f"R-{own}"), "as the store was begun"

    history = store.history()
    ended = worker.sync()
    assert ended.code == 0, ended.err
    names = ("opened", "changed", "closed", "moved", "unchanged")
    expected = sum(len(items) for areas in answers().values() for items in areas.values())
    assert {name: ended.run["totals"][f"rows_{name}"] for name in names} == {
        **dict.fromkeys(names, 0),
        "unchanged": expected,
    }
    assert store.history() == history
