"""The generated pages of docs/ say what the program does."""

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.architecture.data_model import NOT_ENFORCED, TABLES
from tests.architecture.dbt_sources import SOURCES, sources_file
from tests.architecture.documents import DOCS, names, rows, section
from tests.architecture.log_events import MEANINGS, WORKER, log_calls
from tests.architecture.reference import HEAD, REFERENCE, VIEWS
from worker.areas.reporting import COLUMNS
from worker.errors import ExitCode
from worker.store.dialects import SQLITE
from worker.store.schema.tables import metadata
from worker.store.schema.views import view_definitions

FOLDER = DOCS / "reference"

EXIT_CODES = """
| 0 | published, every person and area read | \N{EN DASH}
| 2 | wrong usage | fix the call
| 3 | published with gaps: some persons or areas could not be read; their last known state stands \
and is marked stale | look at `failures`
| 4 | another run holds the lease; nothing was done | nothing
| 5 | withheld: too many removals at once, or too little could be read; the last published state \
stands | a person decides
| 65 | the data contract is broken: the roster cannot be read, or PTS answers in a shape that is \
not understood | stop, look
| 69 | HelseID, PTS or the database is unavailable after all retries | retry later
| 70 | a bug | report it
| 75 | stopped on request or by its deadline; what was read is kept, the next run continues \
| run again
| 77 | refused: HelseID or PTS denies this client | stop, look
| 78 | configuration, or a permanent fault of the installation; also a command that only shows \
something and cannot write it to standard output | stop, fix
"""
"""The public surface. A change here is a breaking change for every cron line and manifest."""


def page(name: str) -> str:
    return (DOCS / f"{name}.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", REFERENCE)
def test_the_page_is_the_generated_one(name):
    """``python -m tests.architecture.documents`` brings it up to date."""
    assert page(name) == HEAD + REFERENCE[name]()


def test_the_sources_of_the_dbt_package_are_the_generated_ones():
    """The same, for those who read the views with dbt."""
    assert sources_file() == SOURCES.read_text(encoding="utf-8")


def test_every_page_is_generated():
    """No page in the folder is left over from what the program no longer has."""
    pages = [name for name in REFERENCE if name.startswith("reference/")]
    assert sorted(pages) == sorted(f"reference/{path.stem}" for path in FOLDER.iterdir())


def test_the_exit_codes_have_the_meaning_that_everyone_relies_on():
    """Codes, meanings and what a scheduler should do, as they were published."""
    expected = [line.split(" | ") for line in EXIT_CODES.strip().splitlines()]
    found = rows(page("reference/exit-codes"))
    assert [[f"| {code}", meaning, should] for code, meaning, should, _ in found] == expected
    assert sorted(ExitCode) == [int(row[0]) for row in found]


def test_the_views_are_the_databases(migrated_sqlite: Path):
    """Each view stands on the page with its columns, in their order."""
    text = page("reference/views")
    shown = {view: [names(row[0])[0] for row in rows(section(text, view))] for view in VIEWS}
    with closing(sqlite3.connect(migrated_sqlite)) as connection:
        real = {
            view: [row[1] for row in connection.execute(f"PRAGMA table_info({view})")]
            for view in view_definitions(SQLITE)
        }
    assert real == shown


def test_log_events_are_found_wherever_they_are_logged():
    """No call of a logger in ``worker/`` hides its event from the reference."""
    text = "\n".join(path.read_text() for path in sorted(WORKER.rglob("*.py")))
    logger = r"(?:\b_?log|get_logger\(\w*\))"
    calls = re.findall(logger + r"\.(?:debug|info|warning|error|exception|critical)\(", text)
    assert len(calls) == len(list(log_calls()))


def test_references_without_a_foreign_key_are_columns():
    """What the diagram draws dotted is a column, has no foreign key, and names a table."""
    for place, target in NOT_ENFORCED.items():
        table, _, name = place.partition(".")
        assert not metadata.tables[table].columns[name].foreign_keys
        assert target in metadata.tables


@pytest.mark.parametrize(
    ("sentences", "names"),
    [
        (VIEWS, COLUMNS),
        (MEANINGS, {call.event for call in log_calls()}),
        (TABLES, metadata.tables),
    ],
    ids=["VIEWS", "MEANINGS", "TABLES"],
)
def test_everything_is_described(sentences, names):
    """A new view, log event or table gets its sentence in ``tests/architecture``."""
    assert sorted(sentences) == sorted(names)
