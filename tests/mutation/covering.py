"""Which tests run which line: ``python -m tests.mutation.covering FILE PATH…`` writes it down."""

import json
import sys
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import Any

import coverage
import pytest

ROOT = Path(__file__).parents[2]


class Contexts:
    """Tells coverage which test is on, its fixtures included, and keeps how long each took."""

    def __init__(self, measured: coverage.Coverage) -> None:
        self._measured = measured
        self.took_s: dict[str, float] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """All that happens belongs to this test; no cache spares it a line."""
        for name, module in list(sys.modules.items()):
            for value in list(vars(module).values()) if name.startswith("worker.") else ():
                if callable(clear := getattr(value, "cache_clear", None)):
                    clear()
        self._measured.switch_context(item.nodeid)
        return (yield)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add up its phases; one that fails as it is can show nothing."""
        before = self.took_s.get(report.nodeid, 0.0)
        self.took_s[report.nodeid] = float("inf") if report.failed else before + report.duration


def main(target: Path, paths: list[str]) -> int:
    """Run these tests and write, for each line of the worker, the tests that ran it."""
    with tempfile.TemporaryDirectory() as folder:
        measured = coverage.Coverage(
            data_file=f"{folder}/coverage",
            source=[str(ROOT / "worker")],
            concurrency=["thread", "greenlet"],
            config_file=False,
        )
        plugin = Contexts(measured)
        measured.start()
        code = pytest.main(["-q", "-p", "no:cacheprovider", *paths], plugins=[plugin])
        measured.stop()
        data = measured.get_data()
        lines = {}
        for name in data.measured_files():
            by_line = data.contexts_by_lineno(name)
            lines[Path(name).relative_to(ROOT).as_posix()] = {
                line: [one for one in tests if one] for line, tests in by_line.items()
            }
    text = json.dumps({"took_s": plugin.took_s, "lines": lines})
    target.write_text(text, encoding="utf-8")
    return int(code)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
