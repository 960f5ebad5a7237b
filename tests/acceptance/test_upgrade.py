"""A store of version 0.1 is upgraded: no identifier stays, and the next sync finds no change."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.acceptance.conftest import MakeDatabase
from tests.acceptance.test_identifiers import (
    CASES,
    NAMED,
    OTHER,
    OWN,
    pseudonym,
    records,
    text_of,
    texts_in,
)
from tests.support.migration.old_rows import Answers, make_old, old_pseudonym
from tests.support.program import PSEUDONYM_KEY, Ended, Installation
from tests.support.secrecy.canaries import Secrets
from tests.support.secrecy.nights import database_bytes
from tests.support.session import calls, other_key
from tests.support.standin import PRIVACY, SAFETY, off_id_of, privacy, safety
from tests.support.standin import standin as serve
from worker.areas import AREAS
from worker.core.identity import PseudonymKey, pseudonyms
from worker.core.privacy import PrivacyRules
from worker.runtime import real_runtime
from worker.store.database import open_database
from worker.store.runs.lease_context import held_lease
from worker.store.schema.rewriting import Rewriter, Rewritten
from worker.store.schema.upgrade import upgrade

pytestmark = pytest.mark.promise("8")

AUTHOR = {"offId": OTHER, "name": "Kari Nordmann", "role": "Lege", "organisation": "OUS HF"}
REFS = {OWN: f"pid {OWN[:6]} {OWN[6:]}", OTHER: f"R-{OWN}"}
PLAIN = [off_id_of(number) for number in range(40)]


def answers() -> Answers:
    """Every spelling under ids and under digest keys, names, and persons with nothing of it."""
    digest = [
        {name: value for name, value in one.items() if name != "id"}
        for one in (
            privacy(OWN, "", order=number, note=text_of(case), createdBy=AUTHOR)
            for number, case in enumerate((*CASES, *NAMED))
        )
    ]
    ordinary = {
        off_id: {SAFETY: [safety(off_id, f"{n}") for n in range(2)], PRIVACY: []}
        for off_id in PLAIN
    }
    return {
        OWN: {SAFETY: records(), PRIVACY: digest},
        OTHER: {SAFETY: [safety(OTHER, "0", createdBy=AUTHOR)], PRIVACY: []},
        **ordinary,
    }


def install(url: str, folder: Path, made: Any) -> Installation:
    """A worker whose store is as version 0.1 left it after one run over ``answers``."""
    made.people.update(answers())
    worker: Installation = made.install(folder, url)
    worker.roster(*(f"{off_id},{REFS.get(off_id, 'R-x')}" for off_id in made.people))
    assert worker.sync().code == 0
    keys = {off_id: pseudonym(off_id) for off_id in answers()}
    refs = {off_id: REFS.get(off_id, "R-x") for off_id in answers()}
    anyio.run(make_old, url, PSEUDONYM_KEY, answers(), refs, keys)
    return worker


@dataclass(frozen=True, kw_only=True)
class Upgraded:
    """What was said, and what the database's files held before and after."""

    worker: Installation
    ended: dict[str, Ended]
    before: bytes
    after: bytes
    texts: frozenset[str]
    history: Sequence[Any]


@pytest.fixture(scope="module")
def upgraded(make_database: MakeDatabase, tmp_path_factory: pytest.TempPathFactory) -> Upgraded:
    folder = tmp_path_factory.mktemp("upgraded")
    with serve() as made:
        worker = install(make_database(), folder, made)
        before = database_bytes(worker.store)
        another = other_key(folder)
        worker.configure(privacy={"pseudonym_key_file": None})
        ended = {"no key": worker.run("db", "upgrade")}
        worker.configure(privacy={"pseudonym_key_file": "pseudonym.key"})
        names = ("early sync", "another key", "upgrade", "again", "sync")
        lines = (
            "sync --json",
            f"db upgrade --json --set privacy.pseudonym_key_file={another}",
            "db upgrade --json",
            "db upgrade --json",
            "sync --json",
        )
        ended |= dict(zip(names[:3], calls(worker, *lines[:3]), strict=True))
        store = worker.store
        rows = list(store.everything().values())
        after, history = database_bytes(worker.store), store.history()
        ended |= dict(zip(names[3:], calls(worker, *lines[3:]), strict=True))
    return Upgraded(
        worker=worker,
        ended=ended,
        before=before,
        after=after,
        texts=frozenset(texts_in(rows)),
        history=history,
    )


def test_there_was_something_to_rewrite(upgraded: Upgraded) -> None:
    """The old store held identifiers and names, and today's program wants it upgraded first."""
    secrets = Secrets(identifiers=frozenset({OWN, OTHER}), keys=())
    assert secrets.identifiers_in(upgraded.before) == {OWN, OTHER}
    assert b"Kari Nordmann" in upgraded.before
    assert upgraded.ended["early sync"].code == 78
    assert "db upgrade" in upgraded.ended["early sync"].message


def test_without_its_key_nothing_is_upgraded(upgraded: Upgraded) -> None:
    """A clear sentence, before the schema is touched: the old program could still go on."""
    for name, words in (("no key", "nothing was changed"), ("another key", "not the key")):
        ended = upgraded.ended[name]
        assert ended.code == 78
        assert words in ended.message
    assert upgraded.ended["upgrade"].document["schema"]["before"] == "0006"


def test_no_identifier_and_no_name_is_left(upgraded: Upgraded) -> None:
    """Of all spellings, in tables and in the bytes of the files."""
    assert upgraded.ended["upgrade"].code == 0, upgraded.ended["upgrade"].err
    rest = "\n".join(upgraded.texts)
    for case in NAMED:
        rest = rest.replace(text_of(case), "")
    assert [case for case in CASES if text_of(case) in rest] == []
    assert "Kari Nordmann" not in rest
    if upgraded.worker.store.is_sqlite:  # PostgreSQL's are freed, and overwritten later
        data = upgraded.after
        for case in NAMED:
            data = data.replace(text_of(case).encode(), b"")
        secrets = Secrets(identifiers=frozenset({OWN, OTHER}), keys=())
        assert set() == secrets.identifiers_in(data)
        assert b"Kari Nordmann" not in data


def test_everybody_keeps_the_pseudonym_that_they_had(upgraded: Upgraded) -> None:
    """Without a label, as the store was begun; in others' rows and in local references, too."""
    own, other = (old_pseudonym(PSEUDONYM_KEY, digits) for digits in (OWN, OTHER))
    store = upgraded.worker.store
    refs = dict(store.rows("SELECT person_key, local_ref FROM person"))
    assert (f"pid {own}", f"R-{own}") == (refs[own], refs[other])
    assert store.rows(
        f"SELECT 1 FROM report_patient_safety_current WHERE restriction_id LIKE '%{other}%' "
        f"AND cause LIKE '%{other}%' AND payload LIKE '%{other}%'"
    )
    assert store.rows(
        f"SELECT created_by FROM report_patient_safety_current WHERE person_key = '{other}'"
    ) == [('{"organisation":"OUS HF","role":"Lege"}',)]


def test_the_next_sync_finds_no_change(upgraded: Upgraded) -> None:
    """The same answers: nothing opened, changed, closed or moved, and the history as it was."""
    ended = upgraded.ended["sync"]
    assert ended.code == 0, ended.err
    totals = ended.run["totals"]
    names = ("opened", "changed", "closed", "moved")
    assert tuple(totals[f"rows_{name}"] for name in names) == (0, 0, 0, 0)
    expected = sum(len(items) for areas in answers().values() for items in areas.values())
    assert totals["rows_unchanged"] == expected
    assert upgraded.history == upgraded.worker.store.history()


def test_the_digests_are_those_of_the_next_reading(upgraded: Upgraded) -> None:
    """Proofs kept their digests in step: the next reading had nothing to compare row by row."""
    rows = upgraded.worker.store.rows("SELECT digest, prev_digest FROM person_area")
    assert [row for row in rows if row[0] != row[1]] == []


def test_a_second_upgrade_has_nothing_to_do(upgraded: Upgraded) -> None:
    """Nothing waits any more."""
    document = upgraded.ended["again"].document
    assert document["rewritten"] == {"persons": 0, "rows": 0}
    assert upgraded.ended["upgrade"].document["rewritten"]["persons"] == len(answers())


def test_an_upgrade_that_is_stopped_goes_on(make_database: MakeDatabase, tmp_path: Path) -> None:
    """After any batch; the end is the same, and no run begins in between."""
    url = make_database()
    with serve() as made:
        worker = install(url, tmp_path, made)
        stop_after = random.Random(5).sample(range(1, len(answers())), 3)
        anyio.run(stopped_upgrades, url, sorted(stop_after))
        early, upgrade, sync = calls(worker, "sync --json", "db upgrade --json", "sync --json")
    assert (early.code, upgrade.code, sync.code) == (78, 0, 0)
    assert "not yet rewritten" in early.message
    assert upgrade.document["rewritten"]["persons"] == len(answers()) - max(stop_after)
    totals = sync.run["totals"]
    assert tuple(totals[f"rows_{name}"] for name in ("opened", "changed", "closed")) == (0, 0, 0)


async def stopped_upgrades(url: str, stop_after: Sequence[int]) -> None:
    """Begin the upgrade again and again; it dies after so many persons in all."""

    class DeadError(Exception):
        pass

    identity = pseudonyms(PseudonymKey(PSEUDONYM_KEY), None)
    settled = identity.under(PseudonymKey(PSEUDONYM_KEY).check_value())
    assert settled is not None
    done = 0
    async with open_database(url, real_runtime()) as database:
        await upgrade(database)
        for last in stop_after:

            def die(rewritten: Rewritten, persons: int = last - done) -> None:
                if rewritten.persons == persons:
                    raise DeadError

            with pytest.raises(DeadError):
                async with held_lease(database, ttl_s=50) as lease:
                    await Rewriter(
                        lease=lease,
                        areas=AREAS,
                        identity=settled,
                        rules=PrivacyRules(key_of=settled.pseudonym_of),
                        persons_per_batch=1,
                        changed=die,
                    ).work()
            done = last
