"""Maps lines to their tests: ``python -m tools.covering map``, then ``FILE:LINE``.

``map`` runs the tests of ``make test`` that call the program's code, in about three minutes, and
records the lines of each. Code that runs only in a started program (tests/acceptance) is missing.
"""

import ast
import json
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any, Final

import coverage
import pytest

MAP: Final = Path(".coverage-map.json")
FOLDERS: Final = ("unit", "store", "http", "report", "simulation")
CAMPAIGNS: Final = ("test_nth_call*",)
DAILY: Final = ("-q", "--tb=no", "-p", "no:cacheprovider", "-m", "not nightly")
"""Options of pytest: the tests of ``make test``, quietly."""


class Contexts:
    """Sets the context of coverage to the current test, and records its duration."""

    def __init__(self, measured: coverage.Coverage) -> None:
        self._measured, self.took_s = measured, dict[str, float]()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """Attribute all lines to this test, after clearing caches."""
        # A cached result would hide the lines that computed it from this test.
        for module in [m for name, m in sys.modules.items() if name.startswith("worker.")]:
            for value in list(vars(module).values()):
                getattr(value, "cache_clear", int)()
        self._measured.switch_context(item.nodeid)
        return (yield)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add up the phases of a test."""
        self.took_s[report.nodeid] = self.took_s.get(report.nodeid, 0.0) + report.duration


def make_map() -> None:
    """Run the tests. Write them, fastest first, and their numbers by ``FILE:LINE``."""
    paths = [path for name in FOLDERS for path in sorted(Path("tests", name).rglob("test_*.py"))]
    files = [str(path) for path in paths if not any(map(path.match, CAMPAIGNS))]
    threads = ["thread", "greenlet"]  # drivers run in threads, SQLAlchemy in greenlets
    measured = coverage.Coverage(None, source=["worker"], concurrency=threads, config_file=False)
    plugin = Contexts(measured)
    measured.start()
    pytest.main([*DAILY, *files], plugins=[plugin])
    measured.stop()
    tests, data = sorted(plugin.took_s.items(), key=lambda test: test[1]), measured.get_data()
    numbers = {test: number for number, (test, _) in enumerate(tests)}
    lines = {
        f"{Path(name).relative_to(Path.cwd())}:{line}": [numbers[test] for test in ran if test]
        for name in data.measured_files()
        for line, ran in data.contexts_by_lineno(name).items()
    }
    MAP.write_text(json.dumps({"tests": tests, "lines": lines}), encoding="utf-8")


def covering(line_map: Any, file: str, first: int, last: int) -> list[str]:
    """The tests of these lines, fastest first. If none: of the statement, function or file."""
    text, paths = Path(file).read_text(encoding="utf-8"), sorted(Path("tests").rglob("test_*.py"))
    if not file.endswith(".py"):  # not Python: the test files that name its folder
        return [str(path) for path in paths if Path(file).parent.name in path.read_text("utf-8")]
    nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.stmt)]
    spans = [(node.lineno, node.end_lineno or 0) for node in nodes] + [(1, text.count("\n"))]
    around = [(start, end) for start, end in spans if start <= first and last <= end]
    # A line without a test, such as a constant, is covered by the smallest block around it.
    for start, end in [(first, last), *sorted(around, key=lambda span: span[1] - span[0])]:
        ran = [line_map["lines"].get(f"{file}:{line}", ()) for line in range(start, end + 1)]
        if numbers := sorted({number for tests in ran for number in tests}):
            return [line_map["tests"][number][0] for number in numbers]
    return []


def read_map() -> Any:
    """Read the map.

    Raises:
        SystemExit: there is no map yet.
    """
    if not MAP.exists():
        sys.exit("there is no map yet: python -m tools.covering map")
    return json.loads(MAP.read_text("utf-8"))


def main(words: list[str]) -> None:
    """Create the map, or print the tests of a line, fastest first."""
    if words == ["map"]:
        return make_map()
    file, _, line = words[0].rpartition(":") if len(words) == 1 else ("", "", "")
    if not Path(file).is_file() or not line.isdecimal():
        sys.exit("usage: python -m tools.covering map, or FILE:LINE of an existing file")
    tests = covering(read_map(), file, int(line), int(line))
    return print(*tests or ["no test of these folders runs it"], sep="\n")


if __name__ == "__main__":
    main(sys.argv[1:])
