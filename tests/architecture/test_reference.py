"""The generated pages of docs/ say what the program does."""

import re

import pytest

from tests.support.documents import DOCS
from tools.docs.data_model import TABLES
from tools.docs.dbt_sources import SOURCES, sources_file
from tools.docs.event_meanings import MEANINGS
from tools.docs.exit_codes import EXIT_MEANINGS
from tools.docs.log_events import log_calls
from tools.docs.promises import marked_tests, promises, unread_markers
from tools.docs.reference import HEAD, REFERENCE, VIEWS
from tools.docs.tree import parsed
from worker.errors import ExitCode
from worker.store.schema.tables import metadata
from worker.views import view_columns


@pytest.mark.parametrize("name", REFERENCE)
def test_the_page_is_the_generated_one(name):
    """``python -m tools.docs`` brings it up to date."""
    assert (DOCS / f"{name}.md").read_text(encoding="utf-8") == HEAD + REFERENCE[name]()


def test_the_sources_of_dbt_are_the_generated_ones():
    """``python -m tools.docs`` updates them, too."""
    assert SOURCES.read_text(encoding="utf-8") == sources_file()


def test_every_page_of_the_reference_is_generated():
    """The folder has no page of a part that the program no longer has."""
    pages = {f"reference/{path.stem}" for path in (DOCS / "reference").iterdir()}
    assert pages == {*REFERENCE, "reference/json-documents"}  # test_json_documents.py writes it


def test_every_promise_has_a_test_and_every_marker_a_promise():
    """Page and tests have the same numbers."""
    assert {test.promise for test in marked_tests()} == set(promises())


def test_the_page_of_promises_misses_no_marker():
    """A marker under another name, or with an integer, would not be on the page."""
    assert unread_markers() == set()


def test_log_events_are_found_wherever_they_are_logged():
    """No call of a logger in ``worker/`` hides its event from the reference."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in parsed("worker"))
    logger = r"(?:\b_?log|get_logger\(\w*\))"
    calls = re.findall(logger + r"\.(?:debug|info|warning|error|exception|critical)\(", text)
    assert len(list(log_calls())) == len(calls)


@pytest.mark.parametrize(
    ("described", "declared"),
    [
        (VIEWS, view_columns()),
        (TABLES, metadata.tables),
        (EXIT_MEANINGS, set(ExitCode)),
        (MEANINGS, {call.event for call in log_calls()}),
    ],
    ids=["views", "tables", "exit codes", "log events"],
)
def test_everything_is_described(described, declared):
    """A new view, table, exit code or log event gets its sentence."""
    assert set(described) == set(declared)
