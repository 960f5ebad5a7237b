"""Builds the image on a base of Debian's own packages, and runs it as the README says.

``make test-image``: needs root, podman, mmdebstrap, Debian's mirror and a package index; three
minutes. Not a part of ``make test``: the name of this file keeps it out.
"""

import json
import os
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.deployment.deployed import tool
from tests.support.deployment.fresh_root import INDEX_PROBE, copy_checkout, debian
from tests.support.program import Ended, Running, Sandbox, sandbox, wait_for
from worker import __version__
from worker.errors import ExitCode

pytestmark = pytest.mark.timeout(600)

USER: Final = 10001
REVISION: Final = "0123456789abcdef0123456789abcdef01234567"
TAGS: Final = ("slim", "full")
PERSONS: Final = 300
BASE: Final = """
FROM scratch
ADD root.tar /
# As in Python's own image: python and pip in /usr/local. The way to the index is mounted there.
RUN python3 -m venv /usr/local && touch /etc/pip.conf
"""
CONTAINERS: Final = """
[containers]
cgroups = "disabled"
default_ulimits = ["nofile={}:{}", "nproc={}:{}"]
"""
"""For machines that are containers themselves: nothing is asked for that root may lack there."""
HARDENED: Final = (
    *("--rm", "--pull=never", "--network=host", "--read-only", "--read-only-tmpfs=false"),
    *("--tmpfs=/tmp", "--cap-drop=all", "--security-opt=no-new-privileges"),
)
"""What `docker run` of the README and the manifests ask for, and the host's loopback."""


@dataclass(frozen=True, kw_only=True)
class Podman:
    """podman with images, containers and volumes in a folder of its own."""

    folder: Path

    def command(self, *arguments: str) -> list[str]:
        places = [f"--{name}={self.folder / name}" for name in ("root", "runroot", "tmpdir")]
        return ["podman", *places, *arguments]

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {
            "CONTAINERS_CONF": str(self.folder / "containers.conf"),
            "PODMAN_IGNORE_CGROUPSV1_WARNING": "1",
        }

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments),
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    def must(self, *arguments: str) -> str:
        """Standard output of a call that succeeds."""
        done = self(*arguments)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout


@dataclass(frozen=True, kw_only=True)
class Image:
    """One of the two images."""

    podman: Podman
    tag: str

    @property
    def name(self) -> str:
        return f"localhost/pts-sync-worker:{__version__}-{self.tag}"

    def python(self, code: str, *, volume: str = "scratch") -> Any:
        """What a program prints as JSON that runs in the container in the worker's place."""
        options = (*HARDENED, f"--volume={volume}:/data", "--entrypoint=/opt/pts-worker/bin/python")
        return json.loads(self.podman.must("run", *options, self.name, "-c", code))


@dataclass(frozen=True, kw_only=True)
class Installation:
    """A configured image: `docker run` as in the README, with a volume of its own."""

    image: Image
    etc: Path
    volume: str

    def start(self, *arguments: str, name: str = "", **settings: str) -> Running:
        options = [
            *HARDENED,
            f"--volume={self.volume}:/data",
            f"--volume={self.etc}:/etc/pts-worker:ro",
        ]
        options += ["--env=PTS_CONFIG=/etc/pts-worker/worker.toml"]
        options += [f"--env={key}={value}" for key, value in settings.items()]
        options += [f"--name={name}"] if name else []
        out, err = self.etc.parent / f"{self.volume}.out", self.etc.parent / f"{self.volume}.err"
        with out.open("wb") as out_file, err.open("wb") as err_file:
            process = subprocess.Popen(
                self.image.podman.command("run", *options, self.image.name, *arguments),
                env=self.image.podman.environment,
                stdin=subprocess.DEVNULL,
                stdout=out_file,
                stderr=err_file,
            )
        return Running(process=process, out=out, err=err)

    def run(self, *arguments: str, **settings: str) -> Ended:
        return self.start(*arguments, **settings).wait()


@pytest.fixture(scope="session")
def podman() -> Iterator[Podman]:
    """A podman with a base image, where containers can run; else the tests are skipped."""
    if os.geteuid() != 0:
        pytest.skip("NOT TESTED: root is needed")
    tool("podman")
    tool("mmdebstrap")
    # Not pytest's folder: the path of a socket is short.
    with tempfile.TemporaryDirectory(prefix="pts-image-", ignore_cleanup_errors=True) as name:
        made = Podman(folder=Path(name))
        limits = (
            *resource.getrlimit(resource.RLIMIT_NOFILE),
            *resource.getrlimit(resource.RLIMIT_NPROC),
        )
        (made.folder / "containers.conf").write_text(CONTAINERS.format(*limits))
        base = made.folder / "base"
        base.mkdir()
        (base / "Containerfile").write_text(BASE)
        probe = made.folder / "probe"
        probe.mkdir()
        (probe / "Containerfile").write_text(f"FROM base\nRUN {INDEX_PROBE} --dest /tmp\n")
        try:
            for command in (
                debian(base / "root.tar", "python3-venv,ca-certificates"),
                made.command("build", "--isolation=chroot", "--tag=base", str(base)),
                made.command("run", *HARDENED, "base", "true"),
                made.command("build", *from_index(), "--tag=probe", str(probe)),
            ):
                subprocess.run(
                    command, env=made.environment, check=True, capture_output=True, timeout=300
                )
        except subprocess.SubprocessError as error:
            words = (getattr(error, "stderr", None) or b"").decode(errors="replace")[-300:]
            words = words.strip() or type(error).__name__
            pytest.skip(f"NOT TESTED: no container runs on this machine: {words}")
        (base / "root.tar").unlink()
        yield made
        made("rm", "--all", "--force", "--time=0")
        made("volume", "rm", "--all", "--force")
        made("rmi", "--all", "--force")


def from_index() -> list[str]:
    """Options of a build that installs packages. The way to their index is this machine's."""
    options = ["--isolation=chroot", "--network=host", "--pull=never"]
    if Path("/etc/pip.conf").exists():
        options += ["--volume=/etc/pip.conf:/etc/pip.conf:ro"]
    if authorities := os.environ.get("PIP_CERT"):
        options += [f"--volume={authorities}:/etc/ssl/certs/ca-certificates.crt:ro"]
    return options


@pytest.fixture(scope="session")
def images(podman: Podman) -> Mapping[str, Image]:
    """Both images."""
    checkout = podman.folder / "checkout"
    copy_checkout(checkout)
    options = [*from_index(), f"--build-arg=REVISION={REVISION}", "--build-arg=BASE=localhost/base"]
    made = {tag: Image(podman=podman, tag=tag) for tag in TAGS}
    targets = {"slim": [], "full": ["--target=full"]}
    for tag, image in made.items():
        podman.must("build", *options, *targets[tag], f"--tag={image.name}", str(checkout))
    return made


@pytest.fixture(scope="session", params=TAGS)
def image(request: pytest.FixtureRequest, images: Mapping[str, Image]) -> Image:
    return images[request.param]


@pytest.fixture(scope="session")
def pts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with sandbox(tmp_path_factory.mktemp("sandbox"), "--persons", f"{PERSONS}") as made:
        yield made


@pytest.fixture(scope="session")
def installed(
    images: Mapping[str, Image], pts: Sandbox, tmp_path_factory: pytest.TempPathFactory
) -> Installation:
    """The slim image with tables, and with keys that the worker's user alone reads."""
    tmp_path = tmp_path_factory.mktemp("installed")
    etc = tmp_path / "etc"
    setup = pts.install(etc, "sqlite:////data/pts.db")
    for name in ("client-key.json", "pseudonym.key"):
        shutil.copy(pts.folder / name, etc / name)
    setup.configure(
        helseid={"private_jwk_file": "/etc/pts-worker/client-key.json"},
        privacy={"pseudonym_key_file": "/etc/pts-worker/pseudonym.key"},
        roster={"path": "/etc/pts-worker/roster.csv"},
        sync={"requests_per_second": 500},
    )
    for path in etc.iterdir():
        os.chown(path, USER, USER)
        path.chmod(0o400)
    etc.chmod(0o755)
    made = Installation(image=images["slim"], etc=etc, volume="pts")
    ended = made.run("db", "upgrade")
    assert ended.code == ExitCode.OK, ended.story()
    return made


def test_process_has_no_privilege_and_writes_its_volume_alone(image: Image):
    """Not root, no capability, none to be had; the root is read-only, /data is the worker's."""
    code = """
import json, os, pathlib
def refused(path):
    try:
        pathlib.Path(path).write_text("")
    except OSError as error:
        return error.strerror
lines = open("/proc/self/status").read().splitlines()
status = dict(line.split(":\\t") for line in lines if ":\\t" in line)
places = ["/x", "/etc/x", "/opt/pts-worker/x", "/var/tmp/x", "/tmp/x", "/data/x"]
print(json.dumps({
    "user": [os.getuid(), os.getgid(), os.getgroups()],
    "capabilities": [int(status[name], 16) for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb")],
    "no_new": status["NoNewPrivs"],
    "mode": oct(os.stat("/data").st_mode & 0o7777),
    "refused": {place: refused(place) for place in places},
}))
"""
    found = image.python(code, volume=f"{image.tag}-writes")
    (uid, gid, groups) = found["user"]
    assert (uid, gid, set(groups) - {USER}) == (USER, USER, set())
    assert (found["capabilities"], found["no_new"], found["mode"]) == ([0, 0, 0, 0], "1", "0o700")
    refused = found["refused"]
    assert {place for place, why in refused.items() if not why} == {"/tmp/x", "/data/x"}  # noqa: S108
    assert {why for why in refused.values() if why} == {"Read-only file system"}


def test_a_night_in_the_image(installed: Installation):
    """Doctor and sync, against a sandbox on the host; the database is the worker's alone."""
    for command in ("--help", "doctor", "sync", "report --out /tmp/report.html"):
        ended = installed.run(*command.split())
        assert ended.code == ExitCode.OK, f"{command}: {ended.story()}"
    code = """
import json, os
owned = {entry.name: entry.stat() for entry in os.scandir("/data")}
print(json.dumps({name: [stat.st_uid, oct(stat.st_mode & 0o777)] for name, stat in owned.items()}))
"""
    files = installed.image.python(code, volume=installed.volume)
    assert "pts.db" in files
    assert set(map(tuple, files.values())) == {(USER, "0o600")}


def test_a_stopped_container_is_continued_by_the_next(installed: Installation, pts: Sandbox):
    """`stop` in mid-run ends with 75; the next container goes on with that run, and ends it."""
    pts.control(clear=True)
    running = installed.start("sync", "--json", name="stopped", PTS_SYNC__REQUESTS_PER_SECOND="20")
    wait_for(lambda: pts.searches() > 100, "the middle of the run")
    installed.image.podman.must("stop", "--time=60", "stopped")
    stopped = running.wait()
    assert stopped.code == ExitCode.STOPPED, stopped.story()

    ended = installed.run("sync", "--json")
    assert ended.code == ExitCode.OK, ended.story()
    assert ended.run["run_id"] == stopped.run["run_id"]
    # Two areas of each person; nobody is read twice.
    assert pts.searches() == 2 * PERSONS
