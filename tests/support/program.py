"""The program as its users run it, in a process of its own."""

import contextlib
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
import tomllib
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from tests.support.forked import fork
from tests.support.published import Store

REPOSITORY = Path(__file__).parents[2]
ZONE = "America/St_Johns"
"""Half an hour off the hour, so that a local time shows at once."""
PATIENCE_S = 180.0
TAIL_CHARACTERS = 3000
"""So much of a process's output is shown when a test fails."""
PSEUDONYM_KEY = bytes((7 * n * n + 3) % 256 for n in range(48))
BATCH_PERSONS = "worker.sync.pipeline.BATCH_PERSONS"
DATABASE_PATIENCE_S = "worker.app.PATIENCE_S"
REQUEST_TIMEOUT_S = "worker.app.REQUEST_TIMEOUT_S"

_numbers = count(1)


def environment(**more: str) -> dict[str, str]:
    """Nothing of the caller's but where programs are."""
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(REPOSITORY),
        "LANG": "C.UTF-8",
        "TZ": ZONE,
        **more,
    }


class TimeLimitError(AssertionError):
    """The test's patience ended, which says nothing of the program: a busy machine, perhaps."""

    def __init__(self, what: str, limit_s: float) -> None:
        super().__init__(f"{what} after {limit_s:g} s: a time limit, not a result")


last_ends: "deque[Ended]" = deque(maxlen=4)
"""How the last processes ended; below each test that fails, see ``tests/conftest.py``."""


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a process ended.

    Attributes:
        folder: where it worked, and what it left.
        limit_s: it was killed because it had not ended within that time.
    """

    code: int
    out: str
    err: str
    folder: Path
    limit_s: float | None = None

    def __post_init__(self) -> None:
        last_ends.append(self)

    def story(self) -> str:
        """What to read when a test fails."""
        outputs = ("standard error", self.err), ("standard output", self.out)
        tails = [f"the end of {name}:\n{text[-TAIL_CHARACTERS:]}" for name, text in outputs if text]
        how = f"exit code {self.code}"
        if self.limit_s is not None:
            how = str(TimeLimitError("still running", self.limit_s))
        return "\n".join((f"{how}; what it left: {self.folder}", *tails))

    @property
    def document(self) -> dict[str, Any]:
        """The JSON document on standard output."""
        found: dict[str, Any] = json.loads(self.out)
        return found

    @property
    def run(self) -> dict[str, Any]:
        found: dict[str, Any] = self.document["run"]
        return found

    def events(self, name: str) -> list[dict[str, Any]]:
        """The log's lines of an event."""
        lines = [json.loads(line) for line in self.err.splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == name]

    @property
    def message(self) -> str:
        """The error in that document, with its hint and problems."""
        error = self.document["error"]
        return " ".join((error["message"], error["hint"], *error["problems"]))


@dataclass(kw_only=True)
class Running:
    """A process that is on. Its output goes to files, so that it never waits for a reader."""

    process: subprocess.Popen[bytes]
    out: Path
    err: Path

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE_S)

    def stop(self) -> Ended:
        """Ask it to end, as systemd and Kubernetes do, and wait until it has."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def wait(self, timeout_s: float = PATIENCE_S) -> Ended:
        """Wait for its end; a process that does not end is killed and fails the test."""
        limit_s = None
        try:
            self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            limit_s = timeout_s
            self.kill()
        ended = Ended(
            code=self.process.wait(),
            out=self.out.read_text(encoding="utf-8"),
            err=self.err.read_text(encoding="utf-8"),
            folder=self.err.parent,
            limit_s=limit_s,
        )
        if limit_s is not None:
            raise TimeLimitError("still running", limit_s)
        return ended

    def until_logged(self, event: str) -> None:
        """Wait until this stands in its log; a process that ends before fails the test."""

        def look() -> bool:
            has_ended = self.process.poll() is not None
            found = event in self.err.read_text(encoding="utf-8")
            assert found or not has_ended, f"it ended without {event} in its log:\n{self.tail()}"
            return found

        wait_for(look, f"{event} in the log")

    def tail(self) -> str:
        return self.err.read_text(encoding="utf-8", errors="replace")[-TAIL_CHARACTERS:]


def start(
    *arguments: str,
    folder: Path,
    stdin: bytes | None = None,
    env: Mapping[str, str] | None = None,
    afresh: bool = False,
    constants: Mapping[str, object] | None = None,
    before: str = "",
    **forked: Any,
) -> Running:
    """Start ``python -m worker`` with these arguments in this folder.

    ``afresh`` as a program of its own; else ``forked`` from one that has loaded what it needs.
    ``constants`` of the program have other values, by their full names; ``before`` is code of the
    test's to run first.
    """
    before = _set(constants or {}) + before
    number = next(_numbers)
    files = given, out, err = [folder / f"{name}-{number}.txt" for name in ("in", "out", "err")]
    given.write_bytes(stdin or b"")
    for path in (out, err):
        path.touch()
    env = environment() if env is None else env
    process: Any
    if afresh:
        with contextlib.ExitStack() as stack:
            opened = [stack.enter_context(path.open("r+b")) for path in files]
            program = f"{before}\nimport runpy; runpy.run_module('worker', run_name='__main__')"
            words = [sys.executable, *(("-c", program) if before else ("-m", "worker")), *arguments]
            process = subprocess.Popen(
                words, cwd=folder, env=env, stdin=opened[0], stdout=opened[1], stderr=opened[2]
            )
    else:
        process = fork(*arguments, folder=folder, files=files, env=env, before=before, **forked)
    return Running(process=process, out=out, err=err)


def _set(constants: Mapping[str, object]) -> str:
    """Code that gives them these values; one that the program no longer has is an error."""
    lines = []
    for name, value in constants.items():
        module, _, constant = name.rpartition(".")
        lines += [f"import {module}", f"{name}", f"{module}.{constant} = {value!r}", ""]
    return "\n".join(lines)


def run(*arguments: str, folder: Path, stdin: bytes | None = None, **more: Any) -> Ended:
    return start(*arguments, folder=folder, stdin=stdin, **more).wait()


@dataclass(kw_only=True)
class Installation:
    """A configured worker in a folder: configuration, keys, roster, database.

    Attributes:
        constants: of the program, which no user can set, by their full names.
    """

    folder: Path
    database_url: str
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    constants: dict[str, object] = field(default_factory=dict)

    def configure(self, **sections: Mapping[str, Any]) -> None:
        """Change the configuration and write it."""
        for name, values in sections.items():
            section = self.settings.setdefault(name, {})
            section.update(values)
            if "url" in values:
                section.update(self._apart(name, values["url"]))
            for key in [key for key, value in section.items() if value is None]:
                del section[key]
        lines = []
        for name, values in self.settings.items():
            lines.append(f"[{name}]")
            # JSON's strings, numbers and lists of them are TOML's too.
            lines += [f"{key} = {json.dumps(value)}" for key, value in values.items()]
        self.config.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def _apart(self, section: str, url: str | None) -> dict[str, str | None]:
        """The URL, and a file with its password if it has one."""
        found = re.fullmatch(r"(\w+://\w+):([^@/]+)(@.*)", url or "")
        if found is None:
            return {"url": url, "password_file": None}
        file = self.folder / f"{section}.password"
        file.write_text(found[2], encoding="utf-8")
        file.chmod(0o600)
        return {"url": found[1] + found[3], "password_file": file.name}

    @property
    def config(self) -> Path:
        return self.folder / "worker.toml"

    @property
    def store(self) -> Store:
        return Store(self.database_url)

    def roster(self, *lines: str, header: str = "off_id,local_ref,cohort") -> None:
        text = "\n".join((header, *lines)) + "\n"
        (self.folder / "roster.csv").write_text(text, encoding="utf-8")

    def start(self, *arguments: str, **more: Any) -> Running:
        words = ("--config", str(self.config), *arguments, "--json")
        return start(*words, folder=self.folder, constants=self.constants, **more)

    def kill(self, running: Running) -> None:
        running.kill()
        self.store.end_lease()

    def run(self, *arguments: str, **more: Any) -> Ended:
        return self.start(*arguments, **more).wait()

    def sync(self, *arguments: str, stdin: bytes | None = None) -> Ended:
        return self.run("sync", *arguments, stdin=stdin)

    def call(self, line: str, stdin: str = "", **more: Any) -> Ended:
        """Call it with the words of a line as in a shell, and no more."""
        words = ("--config", str(self.config), *shlex.split(line))
        constants = self.constants
        return run(*words, folder=self.folder, stdin=stdin.encode(), constants=constants, **more)


def calls(worker: Installation, *lines: str | tuple[str, str], **more: Any) -> list[Ended]:
    """Call it with one line after the other, some with what stands on standard input."""
    pairs = [(line, "") if isinstance(line, str) else line for line in lines]
    return [worker.call(line, given, **more) for line, given in pairs]


def other_key(folder: Path) -> Path:
    """A pseudonym key that no store was created with."""
    path = folder / "other.key"
    path.write_bytes(bytes((5 * n * n + 1) % 256 for n in range(48)))
    path.chmod(0o600)
    return path


def install(
    folder: Path,
    *,
    database_url: str,
    issuer: str,
    base_url: str,
    client_id: str,
    client_key: Mapping[str, Any],
) -> Installation:
    """Write what a newcomer writes: two keys and a configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "client.jwk").write_text(json.dumps(dict(client_key)), encoding="utf-8")
    (folder / "pseudonym.key").write_bytes(PSEUDONYM_KEY)
    for name in ("client.jwk", "pseudonym.key"):
        (folder / name).chmod(0o600)
    made = Installation(folder=folder, database_url=database_url)
    made.configure(
        helseid={"issuer": issuer, "client_id": client_id, "private_jwk_file": "client.jwk"},
        api={"base_url": base_url},
        roster={"path": "roster.csv"},
        privacy={"pseudonym_key_file": "pseudonym.key"},
        database={"url": database_url},
        sync={
            "confirm_after": "0.05s",
            "first_min_completeness": 0.5,
            "requests_per_second": 5000,
            "retry_attempts": 2,
            "patience": "1s",
        },
    )
    return made


@contextlib.contextmanager
def sandbox(folder: Path, *arguments: str) -> Iterator["Sandbox"]:
    """The project's sandbox, as ``python -m worker sandbox`` serves it."""
    folder.mkdir(parents=True, exist_ok=True)
    free = ("--helseid-port", "0", "--pts-port", "0")
    running = start("sandbox", "--folder", str(folder), "--json", *free, *arguments, folder=folder)
    try:
        made = wait_for(lambda: _document(running), "the sandbox")
        yield Sandbox(folder=folder, control_url=made["control_url"])
    finally:
        ended = running.stop()
        assert (ended.code, ended.err) == (0, "")


def _document(running: Running) -> dict[str, Any] | None:
    assert running.process.poll() is None, running.tail()
    text = running.out.read_text(encoding="utf-8")
    if not text.endswith("}\n"):
        return None
    found: dict[str, Any] = json.loads(text)["sandbox"]
    return found


@dataclass(kw_only=True)
class Sandbox:
    """A sandbox that answers."""

    folder: Path
    control_url: str

    def control(self, **changes: Any) -> dict[str, Any]:
        """Change it; what is set, and what it has seen."""
        request = urllib.request.Request(  # noqa: S310 - our own server
            self.control_url,
            data=json.dumps(changes).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            found: dict[str, Any] = json.load(answer)
            return found

    def searches(self) -> int:
        """How many it has answered."""
        return int(self.control()["counts"].get("searches", 0))

    def lines(self) -> list[str]:
        """The roster's lines, without the header."""
        return (self.folder / "roster.csv").read_text(encoding="utf-8").splitlines()[1:]

    def install(self, folder: Path, database_url: str, lines: Sequence[str] = ()) -> Installation:
        """A worker that reads this sandbox."""
        folder.mkdir(parents=True, exist_ok=True)
        made = Installation(folder=folder, database_url=database_url)
        text = (self.folder / "worker.toml").read_text(encoding="utf-8")
        made.configure(
            **{
                **tomllib.loads(text),
                "database": {"url": database_url},
                "roster": {"path": "roster.csv"},
            }
        )
        made.configure(sync={"requests_per_second": 5000})
        made.roster(*(lines or self.lines()))
        return made


def closed_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def fetch(port: int, path: str) -> tuple[int, str]:
    """Status and body of a page on this port; 0 as long as nobody listens."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except urllib.error.URLError:
        return 0, ""


def wait_for(look: Callable[[], Any], what: str, *, timeout_s: float = 60.0) -> Any:
    """What ``look`` gives as soon as it gives something."""
    end_s = time.monotonic() + timeout_s
    while time.monotonic() < end_s:
        found = look()
        if found:
            return found
        time.sleep(0.02)
    raise TimeLimitError(f"{what} had not come", timeout_s)
