"""A signal that comes while a module is loaded."""

import pytest

from worker.cli import main
from worker.errors import ExitCode


def test_a_stop_that_python_wrapped_is_a_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python 3.11 makes a RuntimeError of a SystemExit that is raised while a class is made."""

    def load(_name: object) -> None:
        raise RuntimeError("Error calling __set_name__") from SystemExit(75)

    monkeypatch.setattr(main, "import_module", load)
    assert ExitCode.STOPPED == main.run(["sync"])


def test_a_bug_stays_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever else ends it."""

    def load(_name: object) -> None:
        raise RuntimeError("a bug") from ValueError()

    monkeypatch.setattr(main, "import_module", load)
    assert ExitCode.BUG == main.run(["sync"])
