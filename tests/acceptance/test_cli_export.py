"""``export``: what it refuses, and what it says of a folder that it replaces."""

from pathlib import Path

from tests.support.program import Installation, calls


def test_a_replaced_export_is_named(two_runs: Installation, tmp_path: Path):
    """A second export of the publication takes the place of the first, whatever its options."""
    first, second = calls(
        two_runs, f"export --out {tmp_path / 'ex'}", f"export --out {tmp_path / 'ex'} --since 1"
    )
    last = two_runs.store.one("SELECT max(publication_no) FROM report_run")
    line = f"replaced the export of publication {last} that was there"
    assert (first.code, second.code) == (0, 0), second.story()
    assert line not in first.out
    assert line in second.out
