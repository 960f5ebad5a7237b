"""Standard streams that are closed or full, and names not in UTF-8: a run's exit code stays."""

import subprocess
import sys

import pytest

from tests.support.program import Installation, environment, run

BAD = "\udcff"
"""As Python has the byte 0xFF, which is no UTF-8."""


def in_a_shell(
    worker: Installation, words: bytes, **env: str
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


@pytest.mark.parametrize("stream", [b">/dev/full", b"<&- >&- 2>&-", b"2>/dev/full"])
def test_a_run_without_a_stream(worker: Installation, stream: bytes) -> None:
    """It publishes, and its code is that of the run."""
    runs = len(worker.store.runs())
    ended = in_a_shell(worker, b"sync " + stream)
    assert ended.returncode == 0, ended
    assert len(worker.store.runs()) == runs + 1
    assert worker.store.runs()[-1] == ("published", 0)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (b"keys pseudonym --out k 2>&- >&-", 78),
        (b"config show 2>&-", 0),
        (b"status >/dev/full", 78),
        (b"--help >/dev/full", 0),
        (b"nope --json >/dev/full", 2),
        (b"nope >/dev/full 2>/dev/full", 2),
    ],
)
def test_a_command_without_a_stream(worker: Installation, words: bytes, code: int) -> None:
    """The code is the command's; 78 if all was well and its result could not be written."""
    ended = in_a_shell(worker, words)
    assert (ended.returncode, b"Traceback" in ended.stderr) == (code, False), ended


@pytest.mark.parametrize(
    ("words", "env"),
    [
        (f"--json --config /tmp/{BAD} status", {}),
        ("--json status", {"PTS_CONFIG": BAD}),
        ("status --json", {"PTS_DATABASE__URL": f"sqlite:///{BAD}.db"}),
    ],
    ids=["flag", "variable", "url"],
)
def test_a_configuration_that_is_not_utf8(
    worker: Installation, words: str, env: dict[str, str]
) -> None:
    """The error is a document, with its own code."""
    env = {"PTS_CONFIG": str(worker.config)} | env
    ended = run(*words.split(), folder=worker.folder, env=environment(**env))
    assert (ended.code, "Traceback" in ended.err) == (78, False), ended.story()
    assert ended.document["error"]["exit_code"] == 78


def test_a_file_name_that_is_not_utf8(worker: Installation) -> None:
    """The key is written, and its name shown with an escape."""
    ended = worker.run("keys", "pseudonym", "--out", f"k{BAD}")
    assert ended.code == 0, ended.story()
    assert ended.document["file"] == "k\\udcff"
    assert f"k{BAD}" in [path.name for path in worker.folder.iterdir()]


def test_no_raw_byte_of_a_name(worker: Installation) -> None:
    """0x9B begins a control sequence on some terminals; it is written out."""
    ended = in_a_shell(worker, b"keys pseudonym --out $'p\\x9b31m'", LC_ALL="C")
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert ended.stdout.startswith(b"p\\udc9b31m: 32 random bytes"), ended


def test_what_to_do_about_a_lost_result(worker: Installation) -> None:
    """One message, with a hint."""
    ended = in_a_shell(worker, b"config show >&-")
    first, hint, *rest = ended.stderr.decode().splitlines()
    assert (ended.returncode, rest) == (78, [])
    assert first == "pts-worker: standard output cannot be written: it is closed"
    assert "→ make room or name another file, and run it again" in hint
