"""Which tests run which line: ``python -m tools.covering map``, then ``FILE:LINE``.

``map`` runs the tests of ``make test`` that call the program's code, in three minutes or so, and
writes who runs which line. What only a started program runs (tests/acceptance) is not in it.
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
"""How tests are run: those of ``make test``, and quietly."""


class Contexts:
    """Tells coverage which test is on, its fixtures included, and keeps how long each took."""

    def __init__(self, measured: coverage.Coverage) -> None:
        self._measured, self.took_s = measured, dict[str, float]()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """All that happens belongs to this test; no cache spares it a line."""
        for module in [one for name, one in sys.modules.items() if name.startswith("worker.")]:
            for value in list(vars(module).values()):
                getattr(value, "cache_clear", int)()
        self._measured.switch_context(item.nodeid)
        return (yield)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add up its phases."""
        self.took_s[report.nodeid] = self.took_s.get(report.nodeid, 0.0) + report.duration


def make_map() -> None:
    """Run the tests; write them, fastest first, and by ``FILE:LINE`` the numbers of those there."""
    found = [path for name in FOLDERS for path in sorted(Path("tests", name).rglob("test_*.py"))]
    files = [str(path) for path in found if not any(map(path.match, CAMPAIGNS))]
    threads = ["thread", "greenlet"]
    measured = coverage.Coverage(None, source=["worker"], concurrency=threads, config_file=False)
    plugin = Contexts(measured)
    measured.start()
    pytest.main([*DAILY, *files], plugins=[plugin])
    measured.stop()
    tests, data = sorted(plugin.took_s.items(), key=lambda one: one[1]), measured.get_data()
    numbers = {test: number for number, (test, _) in enumerate(tests)}
    lines = {
        f"{Path(name).relative_to(Path.cwd())}:{line}": [numbers[one] for one in ran if one]
        for name in data.measured_files()
        for line, ran in data.contexts_by_lineno(name).items()
    }
    MAP.write_text(json.dumps({"tests": tests, "lines": lines}), encoding="utf-8")


def covering(known: Any, file: str, first: int, last: int) -> list[str]:
    """The tests that run these lines, fastest first; else their statement, function, file."""
    text, paths = Path(file).read_text(encoding="utf-8"), sorted(Path("tests").rglob("test_*.py"))
    if not file.endswith(".py"):  # nothing runs it: the test files that name its folder
        return [str(one) for one in paths if Path(file).parent.name in one.read_text("utf-8")]
    nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.stmt)]
    spans = [(node.lineno, node.end_lineno or 0) for node in nodes] + [(1, text.count("\n"))]
    around = [(start, end) for start, end in spans if start <= first and last <= end]
    for start, end in [(first, last), *sorted(around, key=lambda span: span[1] - span[0])]:
        ran = [known["lines"].get(f"{file}:{line}", ()) for line in range(start, end + 1)]
        if numbers := sorted({number for tests in ran for number in tests}):
            return [known["tests"][number][0] for number in numbers]
    return []


def known_map() -> Any:
    """What ``map`` wrote.

    Raises:
        SystemExit: it was never made.
    """
    if not MAP.exists():
        sys.exit("there is no map yet: python -m tools.covering map")
    return json.loads(MAP.read_text("utf-8"))


def main(words: list[str]) -> None:
    """Make the map, or print the tests of a line, fastest first."""
    if words == ["map"]:
        return make_map()
    file, _, line = words[0].rpartition(":") if len(words) == 1 else ("", "", "")
    if not Path(file).is_file() or not line.isdecimal():
        sys.exit("say `map`, or FILE:LINE of a file that is there")
    tests = covering(known_map(), file, int(line), int(line))
    return print(*tests or ["no test of these folders runs it"], sep="\n")


if __name__ == "__main__":
    main(sys.argv[1:])
