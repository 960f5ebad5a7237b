"""``export``: what it refuses, and what it says of a folder that it replaces."""

from pathlib import Path

from tests.acceptance.calls import calls
from tests.acceptance.program import Installation


def test_since_a_publication_that_does_not_exist(two_runs: Installation, tmp_path: Path):
    """A wrong number would look like a quiet night; the last number itself is one."""
    last = two_runs.store.one("SELECT max(publication_no) FROM report_run")
    wrong, none_new = calls(
        two_runs,
        f"export --since 99 --out {tmp_path / 'wrong'}",
        f"export --since {last} --out {tmp_path / 'none'} --json",
    )
    assert (2, True) == (
        wrong.code,
        f"publication 99 does not exist; the last one is {last}" in wrong.err,
    ), wrong.story()
    assert [] == list((tmp_path / "wrong").iterdir())
    assert (0, last) == (none_new.code, none_new.document["since"]), none_new.story()


def test_a_replaced_export_is_named(two_runs: Installation, tmp_path: Path):
    """A second export of the publication takes the place of the first, whatever its options."""
    first, second = calls(
        two_runs, f"export --out {tmp_path / 'ex'}", f"export --out {tmp_path / 'ex'} --since 1"
    )
    last = two_runs.store.one("SELECT max(publication_no) FROM report_run")
    line = f"replaced the export of publication {last} that was there"
    assert (0, 0) == (first.code, second.code), second.story()
    assert (False, True) == (line in first.out, line in second.out)
