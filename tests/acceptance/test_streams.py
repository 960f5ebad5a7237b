"""Standard streams that are closed or full, and names not in UTF-8: a run's exit code stays."""

import json
import subprocess
import sys

import pytest

from tests.acceptance.program import Installation, environment

BAD = b"\xff"
"""No UTF-8: Python has it as the surrogate U+DCFF."""


def in_a_shell(
    worker: Installation, words: bytes, **env: str | bytes
) -> subprocess.CompletedProcess[bytes]:
    """What the program does with words as bash reads them: ``$'...'``, ``>&-``."""
    return subprocess.run(
        ["bash", "-c", b'exec "$0" -m worker ' + words, sys.executable],
        cwd=worker.folder,
        env={**environment(PTS_CONFIG=str(worker.config)), **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=90,
        check=False,
    )


@pytest.mark.parametrize("stream", [b">&-", b">/dev/full", b"<&- >&- 2>&-", b"2>/dev/full"])
def test_a_run_without_a_stream(worker: Installation, stream: bytes) -> None:
    """It publishes, and its code is that of the run."""
    runs = len(worker.store.runs())
    ended = in_a_shell(worker, b"sync " + stream)
    assert 0 == ended.returncode, ended
    assert runs + 1 == len(worker.store.runs())
    assert ("published", 0) == worker.store.runs()[-1]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (b"status >&-", 78),
        (b"config show >&-", 78),
        (b"keys pseudonym --out k 2>&- >&-", 78),
        (b"config show 2>&-", 0),
        (b"status >/dev/full", 78),
        (b"plan >/dev/full", 78),
        (b"config show >/dev/full", 78),
        (b"status > >(exec <&-; sleep 1)", 0),
        (b"--help >/dev/full", 0),
        (b"--version >/dev/full", 0),
        (b"nope 2>&-", 2),
        (b"nope --json >/dev/full", 2),
        (b"--config nowhere.toml status 2>/dev/full", 78),
        (b"nope >/dev/full 2>/dev/full", 2),
    ],
)
def test_a_command_without_a_stream(worker: Installation, words: bytes, code: int) -> None:
    """The code is the command's; 78 if all was well and its result could not be written."""
    ended = in_a_shell(worker, words)
    assert (code, b"Traceback" in ended.stderr) == (ended.returncode, False), ended


@pytest.mark.parametrize(
    ("words", "env"),
    [
        (b"--json --config $'/tmp/\\xff' status", {}),
        (b"--json status", {"PTS_CONFIG": BAD}),
        (b"status --json", {"PTS_DATABASE__URL": b"sqlite:///\xff.db"}),
        (b"--config $'/tmp/\\xff' status", {}),
    ],
)
def test_a_configuration_that_is_not_utf8(
    worker: Installation, words: bytes, env: dict[str, bytes]
) -> None:
    """The error is a document, or text, with its own code."""
    ended = in_a_shell(worker, words, **env)
    assert 78 == ended.returncode, ended
    assert b"Traceback" not in ended.stderr
    if b"--json" in words:
        assert 78 == json.loads(ended.stdout)["error"]["exit_code"]


@pytest.mark.parametrize("command", [b"new", b"pseudonym"])
def test_a_file_name_that_is_not_utf8(worker: Installation, command: bytes) -> None:
    """The key is written, and its name shown with an escape."""
    ended = in_a_shell(worker, b"keys " + command + b" --json --out $'k\\xff'")
    assert 0 == ended.returncode, ended
    assert "k\\udcff" == json.loads(ended.stdout)["file"]
    assert b"k\xff" in _names(worker)


def _names(worker: Installation) -> list[bytes]:
    return [path.name.encode(errors="surrogateescape") for path in worker.folder.iterdir()]


@pytest.mark.parametrize("locale", ["C.UTF-8", "C"])
def test_no_raw_byte_of_a_name(worker: Installation, locale: str) -> None:
    """0x9B begins a control sequence on some terminals; it is written out."""
    ended = in_a_shell(worker, b"keys pseudonym --out $'p\\x9b31m'", LC_ALL=locale)
    assert (0, b"") == (ended.returncode, ended.stderr)
    assert ended.stdout.startswith(b"p\\udc9b31m: 32 random bytes"), ended


@pytest.mark.parametrize(
    "env", [{}, {"COMP_WORDS": "pts-worker s"}, {"COMP_WORDS": "pts-worker s", "COMP_CWORD": "x"}]
)
def test_a_completion_that_makes_no_sense(worker: Installation, env: dict[str, str]) -> None:
    """The shell gets no answer, and no word of a bug."""
    ended = in_a_shell(worker, b"", _PTS_WORKER_COMPLETE="bash_complete", **env)
    assert (1, b"", b"") == (ended.returncode, ended.stdout, ended.stderr)


def test_a_completion_controls_no_terminal(worker: Installation) -> None:
    """What the shell sent comes back without its control characters."""
    ended = in_a_shell(
        worker,
        b"",
        _PTS_WORKER_COMPLETE="bash_complete",
        COMP_WORDS="pts-worker report --out \x1b[31mx",
        COMP_CWORD="3",
    )
    assert (0, b"file,\\u001b[31mx\n") == (ended.returncode, ended.stdout), ended


@pytest.mark.parametrize(
    ("stream", "reason"),
    [(b">&-", b"it is closed"), (b">/dev/full", b"No space left on device")],
)
def test_what_to_do_about_a_lost_result(worker: Installation, stream: bytes, reason: bytes) -> None:
    """One message, with a hint."""
    ended = in_a_shell(worker, b"config schema " + stream)
    first, hint, *rest = ended.stderr.decode().splitlines()
    assert (78, []) == (ended.returncode, rest)
    assert f"pts-worker: standard output cannot be written: {reason.decode()}" == first
    assert "→ make room or name another file, and run it again" in hint
