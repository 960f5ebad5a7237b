"""``export``: what it refuses, and what it says of a folder that it replaces."""

from pathlib import Path

from tests.support.program import Installation, calls


def test_a_replaced_export_is_named(two_runs: Installation, tmp_path: Path):
    """A second export of the publication takes the place of the first, but for `--since`."""
    to = f"export --out {tmp_path / 'ex'}"
    since, first, second = calls(two_runs, f"{to} --since 1", to, f"{to} --format csv")
    last = two_runs.store.one("SELECT max(publication_no) FROM report_run")
    line = f"replaced the export of publication {last} that was there"
    assert (since.code, first.code, second.code) == (0, 0, 0), second.story()
    assert line not in since.out + first.out
    assert line in second.out
