"""Standard streams that are closed or full, and names not in UTF-8: a run's exit code stays."""

import subprocess
import sys

import pytest

from tests.support.program import Installation, environment


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
        (b"keys pseudonym --out k 2>&- >&-", 0),
        (b"config show 2>&-", 0),
        (b"status >/dev/full", 78),
        (b"--help >/dev/full", 78),
        (b"nope --json >/dev/full", 2),
        (b"nope >/dev/full 2>/dev/full", 2),
    ],
)
def test_a_command_without_a_stream(worker: Installation, words: bytes, code: int) -> None:
    """The code is the command's; 78 if all was well and its result could not be written."""
    ended = in_a_shell(worker, words)
    assert (ended.returncode, b"Traceback" in ended.stderr) == (code, False), ended


def test_what_to_do_about_a_lost_result(worker: Installation) -> None:
    """One message, with a hint."""
    ended = in_a_shell(worker, b"config show >/dev/full")
    first, hint, *rest = ended.stderr.decode().splitlines()
    assert (ended.returncode, rest) == (78, [])
    assert first == "pts-worker: standard output cannot be written: No space left on device"
    assert "→ free disk space or use another file, and run the command again" in hint
