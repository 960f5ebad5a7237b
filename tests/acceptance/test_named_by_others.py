"""A person whom many others' restrictions name is erased, and nobody else's are touched."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.acceptance.both_databases import BOTH, fresh_database
from tests.support.acceptance.named_persons import OTHER as GONE
from tests.support.acceptance.named_persons import pseudonym
from tests.support.made_databases import MakeDatabase
from tests.support.program import Ended, Installation
from tests.support.secrecy.nights import database_bytes
from tests.support.session import calls
from tests.support.standin import SAFETY, Standin, off_id_of, safety
from tests.support.standin import standin as serve

pytestmark = pytest.mark.promise("8")

REF = "MRN-5eed-77"
NAMING = 30


@dataclass(frozen=True, kw_only=True)
class Erased:
    """What the program said, and what was in the database's files before and after."""

    worker: Installation
    ended: dict[str, Ended]
    before: bytes
    after: bytes


def people(made: Standin) -> list[str]:
    """Persons whose keys, columns and payloads name the one who is to go."""
    spaced = f"{GONE[:6]} {GONE[6:]}"
    named = [off_id_of(number) for number in range(NAMING)]
    for number, off_id in enumerate(named):
        one = safety(off_id, f"{GONE}-{number}", cause=f"by {spaced}", note=[GONE, {GONE: 1}])
        made.people[off_id] = {SAFETY: [one, safety(off_id, "own")]}
    made.people[GONE] = {SAFETY: [safety(GONE, "0")]}
    return named


@pytest.fixture(scope="module", params=BOTH)
def erased(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Erased:
    """After a night, `erase`, a night that names the person still, and one with a change."""
    with serve() as made:
        named = people(made)
        worker = made.install(tmp_path_factory.mktemp("named"), fresh_database(request))
        lines = [f"{off_id},R{number}" for number, off_id in enumerate(named)]
        worker.roster(*lines, f"{GONE},{REF}")
        ended = {"sync": worker.sync()}
        before = database_bytes(worker.store)
        names = ("dry", "erase", "text")
        erase = ("erase --rewrite --json", GONE)
        asked = (("erase --dry-run --json", GONE), erase, ("erase", GONE))
        ended |= dict(zip(names, calls(worker, *asked), strict=True))
        after = database_bytes(worker.store)
        worker.roster(*lines)
        ended["unchanged"] = worker.sync()
        made.people[named[0]][SAFETY][1]["cause"] = "Automated"
        ended["changed"] = worker.sync()
    return Erased(worker=worker, ended=ended, before=before, after=after)


def test_no_byte_is_left(erased: Erased) -> None:
    """Neither identifier, nor pseudonym, nor local reference, and the program says so."""
    assert erased.ended["sync"].code == 0, erased.ended["sync"].err
    assert erased.ended["dry"].document["mentions"] == NAMING
    assert erased.before.count(pseudonym(GONE).encode()) > 4 * NAMING
    assert REF.encode() in erased.before
    assert GONE.encode() not in erased.before
    texts = (GONE, f"{GONE[:6]} {GONE[6:]}", pseudonym(GONE), REF)
    assert [text for text in texts if text.encode() in erased.after] == []

    reported = erased.ended["erase"].document
    assert {name: reported[name] for name in ("is_known", "mentions", "is_scrubbed")} == {
        "is_known": True,
        "mentions": NAMING,
        "is_scrubbed": True,
    }
    found = reported["found"]
    names = ("identifier", "pseudonym", "local_ref", "rows")
    assert {name: found[name] for name in names} == dict.fromkeys(names, 0)
    is_sqlite = erased.worker.store.is_sqlite
    assert ("pts.db" if is_sqlite else "patient_safety_version") in found["searched"]
    assert "backups" in found["not_searched"]
    assert "nothing of the person is left" in erased.ended["text"].out


def test_what_names_the_person_is_masked_and_not_new(erased: Erased) -> None:
    """PTS still names them: nobody's restriction looks removed or added, and no name comes back.

    Nor when another restriction changes: a masked one is known by its content.
    """
    expected = {"unchanged": (0, 0, 0, 2 * NAMING), "changed": (0, 1, 0, 2 * NAMING - 1)}
    for night, rows in expected.items():
        totals = erased.ended[night].run["totals"]
        names = ("opened", "changed", "closed", "unchanged")
        assert tuple(totals[f"rows_{name}"] for name in names) == rows, night
    store = erased.worker.store
    masked = (
        "SELECT count(*) FROM patient_safety_version WHERE restriction_id LIKE '%erased%' "
        "AND cause = 'by erased'"
    )
    assert store.one(masked) == NAMING
    assert store.rows(f"SELECT 1 FROM person WHERE person_key = '{pseudonym(GONE)}'") == []
    named = "SELECT count(*) FROM patient_safety_version WHERE payload LIKE '%{}%'"
    assert store.one(named.format(pseudonym(GONE))) == 0


def test_what_is_left_elsewhere_is_reported(make_sqlite: MakeDatabase, tmp_path: Path) -> None:
    """The search is of bytes: what another table holds is found, and nothing is called scrubbed."""
    with serve() as made:
        people(made)
        worker = made.install(tmp_path, make_sqlite())
        worker.roster(f"{GONE},{REF}")
        assert worker.sync().code == 0
        worker.store.rows(f"UPDATE run SET worker_version = 'see {REF}, {GONE} {pseudonym(GONE)}'")
        ended, text = calls(worker, ("erase --json", GONE), ("erase", GONE))
    assert ended.document["is_scrubbed"] is False
    names = ("identifier", "pseudonym", "local_ref")
    found = ended.document["found"]
    assert {name: found[name] for name in names} == dict.fromkeys(names, 1)
    assert "still found in pts.db" in text.out
    said = ended.out + ended.err + text.out + text.err
    assert [word for word in (GONE, pseudonym(GONE), REF) if word in said] == []
