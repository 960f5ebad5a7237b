"""Numbers with their nouns."""

import pytest

from worker.core.plurals import counted


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 persons"), (1, "1 person"), (2, "2 persons"), (1_200, "1,200 persons")],
)
def test_number_and_noun_agree(count: int, text: str):
    """One is singular, all else plural."""
    assert counted(count, "person") == text
