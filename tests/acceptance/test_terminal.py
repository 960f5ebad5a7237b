"""What a person sees who sits before a terminal."""

import fcntl
import json
import os
import platform
import pty
import re
import signal
import struct
import termios
import threading
import time
import tomllib
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.support.forked import ForkedProcess, fork
from tests.support.program import (
    Installation,
    Sandbox,
    TimeLimitError,
    environment,
    run,
    wait_for,
)

CTRL_C = "\x03"
CTRL_D = "\x04"
PATIENCE_S = 60.0
READS_INPUT = {"x86_64": "0 0x0 ", "aarch64": "63 0x0 "}.get(platform.machine(), "?")
"""How Linux shows ``read(0, ...)``: number of the call, and the descriptor."""
COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:3[0-7]|9[0-7])m")
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
BEGINS_ANEW = "\r\x1b[2K"
"""Back to the line's begin, and the line erased."""
ERASES_ABOVE = "\x1b[1A\x1b[2K"
"""One line up, and that line erased."""


def on_a_terminal(
    worker: Installation,
    *arguments: str,
    code: int = 0,
    typed: Sequence[tuple[str, str | Callable[[], str] | signal.Signals]] = (),
    columns: int = 80,
    **env: str,
) -> str:
    """All that a command writes to the terminal on which it runs.

    ``typed`` holds what to wait for on the screen, and what is typed or signalled then; without it
    standard input is empty.
    """
    rest = list(typed)
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    terminal = Path(os.ttyname(theirs))
    process = fork(
        *("--config", str(worker.config), *arguments),
        folder=worker.folder,
        files=(terminal if typed else Path(os.devnull), terminal, terminal),
        env=environment(TERM="xterm-256color", **env),
    )
    wait_for(lambda: process.poll() is not None or _has(process, terminal), "the terminal")
    os.close(theirs)
    limit = threading.Timer(PATIENCE_S, process.kill)
    limit.start()
    end_s = time.monotonic() + PATIENCE_S
    shown = b""
    while True:
        try:
            some = os.read(ours, 65_536)
        except OSError:  # Linux: the other side is closed
            some = b""
        if not some:
            break
        shown += some
        if rest and rest[0][0].encode() in shown:
            answer = rest.pop(0)[1]
            answer = answer() if callable(answer) else answer
            if isinstance(answer, signal.Signals):
                process.send_signal(answer)
            elif answer == CTRL_C:
                # A signal between the prompt and its read(2) would be heard later.
                wait_for(lambda: _reads_input(process), "its reading")
                process.send_signal(signal.SIGINT)
            else:
                _type(ours, answer.encode())
    os.close(ours)
    limit.cancel()
    if time.monotonic() >= end_s:
        raise TimeLimitError(f"still running, and showed {shown!r},", PATIENCE_S)
    assert process.wait(60) == code, shown
    return shown.decode()


def _has(process: ForkedProcess, terminal: Path) -> bool:
    """Whether it has opened the terminal."""
    with suppress(OSError):
        return Path(f"/proc/{process.pid}/fd/2").readlink() == terminal
    return False


def _reads_input(process: ForkedProcess) -> bool:
    """Whether one of its threads is within ``read(0, ...)``."""
    calls = Path(f"/proc/{process.pid}/task").glob("*/syscall")
    return any(call.read_text().startswith(READS_INPUT) for call in calls)


def _type(terminal: int, text: bytes) -> None:
    while text:
        text = text[os.write(terminal, text) :]


def lines_of(shown: str) -> list[str]:
    """What is left of each line after what was erased, without colours."""
    left: list[str] = []
    for line in shown.replace("\r\n", "\n").split("\n"):
        if ERASES_ABOVE in line:
            left.pop()
        left.append(CONTROL.sub("", line.rpartition(BEGINS_ANEW)[2]).strip())
    return left


def test_the_log_stands_above_the_progress_bar(worker: Installation):
    """A run shows a bar, and its log if a format is chosen: a line for each event."""
    shown = on_a_terminal(worker, "--log-format", "console", "sync")
    assert COLOUR.search(shown)
    assert "reading" in shown
    lines = lines_of(shown)
    events = [line for line in lines if "run.started" in line or "run.summary" in line]
    assert len(events) == 2
    assert [line for line in events if not re.match(r"20\d\d-\d\d-\d\dT", line)] == []
    assert lines[-5].startswith("run 3 (sync): published, exit 0 (ok)")


def test_a_terminal_shows_what_the_summary_does_not_say(worker: Installation, served: Sandbox):
    """No log of what it repeats, and no line for each failure; long lines break between words."""
    failing = {"action": "status", "status": 503, "persons": [*range(9)]}
    served.control(faults=[failing])
    shown = on_a_terminal(worker, "sync", "--set", "sync.retry_attempts=1", code=3)
    served.control(faults=[])
    assert [event for event in ("run.", "area.unread", "helseid.") if event in shown] == []
    lines = lines_of(shown)
    assert [line for line in lines if len(line) > 80] == []
    assert any(line.startswith("! most frequent in patient-") for line in lines)


def test_an_area_that_is_given_up_is_in_the_summary_alone(worker: Installation):
    """With a wrong `records`: reason and hint when the breaker opens, and once at the end."""
    contract = run("contract", "show", folder=worker.folder).out
    wrong = contract.replace('records = ""', 'records = "items"')
    (worker.folder / "wrong.toml").write_text(wrong)
    new = ("--set", f"database.url=sqlite:///{worker.folder}/new.db")
    assert (
        run("--config", str(worker.config), "db", "upgrade", *new, folder=worker.folder).code == 0
    )
    words = ("sync", *new, "--set", f"api.contract_file={worker.folder}/wrong.toml")
    shown = " ".join(" ".join(lines_of(on_a_terminal(worker, *words, code=65))).split())
    assert shown.count("breaker.opened") == 2
    assert "breaker.given_up" not in shown
    _, _, summary = shown.partition("exit 65")
    assert 'the answer itself is a list (declare `records = ""`)' in summary
    assert summary.count("contract learn") == 1


@pytest.mark.parametrize("columns", [80, 140])
def test_results_fit_the_terminal(worker: Installation, columns: int):
    """No line is wider than the terminal, which is used beyond 80 columns if it has them."""
    commands = ["status --runs 9 --max-age 36h", "status --departed", "failures list --all"]
    commands += ["config show", "config check", "contract show", "doctor"]
    lines = [
        line
        for command in commands
        for line in lines_of(on_a_terminal(worker, *command.split(), columns=columns))
    ]
    assert [line for line in lines if len(line) > columns and " " in line] == []  # long paths
    assert columns == 80 or [line for line in lines if len(line) > 120 and " " in line]


def test_no_bar_without_a_terminal(worker: Installation):
    """Off a terminal, and with ``--json``, there is no bar; with ``NO_COLOR`` no colour."""
    ended = run("--config", str(worker.config), "sync", folder=worker.folder)
    assert ended.code == 0
    assert "reading" not in ended.err
    assert "\x1b" not in ended.out + ended.err
    shown = on_a_terminal(worker, "sync", "--json", NO_COLOR="1")
    assert "reading" not in shown
    assert not COLOUR.search(shown)


def _identifier(worker: Installation) -> str:
    return (worker.folder / "roster.csv").read_text(encoding="utf-8").splitlines()[5][:11]


def test_erase_asks_first(worker: Installation):
    """Only yes erases; ``--yes`` is not asked."""
    off_id = _identifier(worker)
    asked = ("Identifier (not shown): ", f"{off_id}\n")
    persons = worker.store.one("SELECT count(*) FROM person")
    shown = on_a_terminal(worker, "erase", code=75, typed=[asked, ("[y/N]: ", "n\n")])
    assert "nothing was erased" in shown
    assert off_id not in shown
    assert worker.store.one("SELECT count(*) FROM person") == persons
    erased = on_a_terminal(worker, "erase", "--yes", typed=[asked])
    assert "[y/N]" not in erased
    assert worker.store.one("SELECT count(*) FROM person") == persons - 1


@pytest.mark.parametrize(
    "command", ["backfill --person -", "sync --roster - --set sync.max_removed_share=1"]
)
def test_who_is_read_is_asked_before_the_lease_is_taken(worker: Installation, command: str):
    """A forgotten prompt stops no night. One person is asked for, who is not shown."""
    off_id = _identifier(worker)
    between: list[int] = []

    def night() -> str:
        between.append(worker.sync().code)
        return f"{off_id}\n"

    shown = on_a_terminal(worker, *command.split(), typed=[("(not shown): ", night)])
    assert between == [0]
    assert off_id not in shown
    kind = command.split(maxsplit=1)[0]
    assert f"({kind}): published" in shown
    assert re.search(r"complete 1,|persons +1 ", shown)


def test_ctrl_c_ends_what_waits_for_input(worker: Installation):
    """While a person is awaited on the terminal: 75, and no run."""
    runs = worker.store.runs()
    typed = [("(not shown): ", CTRL_C)]
    shown = on_a_terminal(worker, "backfill", "--person", "-", code=75, typed=typed)
    assert "Fatal" not in shown
    assert "Traceback" not in shown
    assert worker.store.runs() == runs


@pytest.mark.parametrize("key", [CTRL_C, CTRL_D])
def test_a_question_that_is_not_answered(worker: Installation, key: str):
    """Ctrl-C or Ctrl-D: 75, and one line."""
    said = "pts-worker: stopped"
    init = ("init", "--out", "new.toml")
    assert said in lines_of(
        on_a_terminal(worker, *init, code=75, typed=[("[test-internet]: ", key)])
    )
    assert not (worker.folder / "new.toml").exists()
    typed = [("", f"{_identifier(worker)}\n"), ("[y/N]", key)]
    assert said in lines_of(on_a_terminal(worker, "erase", code=75, typed=typed))


def test_init_asks(worker: Installation):
    """How PTS is reached; a wrong answer is asked for again; Enter takes what is in brackets.

    Both keys are made beside the file, and what to do in self-service is said.
    """
    typed = [
        ("(test-internet) or over Helsenett (test, production) [test-internet]: ", "telex\n"),
        ("Error: 'telex' is not one of 'test', ", "production\n"),
    ]
    (worker.folder / "new").mkdir(mode=0o700)
    given = ("--set", "roster.path=patients.csv")
    shown = on_a_terminal(worker, "init", "--out", "new/new.toml", *given, typed=typed)
    shown = " ".join(shown.split())
    for name, kid in (("helseid.jwk.json", True), ("pseudonym.key", False)):
        assert (worker.folder / "new" / name).stat().st_mode & 0o777 == 0o600
        assert f"new/{name} created" in shown
        if kid:
            assert json.loads((worker.folder / "new" / name).read_bytes())["kid"] in shown
    steps = (
        "At https://selvbetjening.nhn.no",
        "client_credentials",
        "scope nhn:pts/api",
        "client id",
    )
    assert all(step in shown for step in steps)
    assert '"d"' not in shown
    written = tomllib.loads((worker.folder / "new/new.toml").read_text(encoding="utf-8"))
    assert {name: table for name, table in written.items() if table and name != "areas"} == {
        "api": {"environment": "production"},
        "helseid": {"private_jwk_file": "helseid.jwk.json"},
        "roster": {"path": "patients.csv"},
        "database": {"url": "sqlite:///pts.db"},
        "privacy": {"pseudonym_key_file": "pseudonym.key"},
    }


@pytest.mark.parametrize(("answer", "chosen"), [("2", "/b/patient-safety/search"), ("0", "")])
def test_the_operation_of_an_area_is_chosen(worker: Installation, answer: str, chosen: str):
    """If several could be meant; 0 takes none of them."""
    post: dict[str, Any] = {"post": {}}
    paths = {f"/{name}/patient-safety/search": post for name in "abc"}
    (worker.folder / "several.json").write_text(json.dumps({"openapi": "3.0.0", "paths": paths}))
    words = "contract from-openapi several.json --set sync.areas=patient-safety"
    typed = [("(0: none of these): ", f"{answer}\n")]
    shown = on_a_terminal(worker, *words.split(), code=65, typed=typed)
    assert "  1  POST /a/patient-safety/search" in shown
    assert [line.split()[3] for line in shown.splitlines() if "  chosen" in line] == [chosen][
        : len(chosen)
    ]
