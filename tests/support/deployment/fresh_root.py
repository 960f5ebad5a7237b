"""A fresh Debian in a folder, with this checkout in it, for ``install-test`` and ``boot-test``.

Needs root, mmdebstrap, Debian's mirror and a package index.
"""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

from tests.support.documents import ROOT

PACKAGES: Final = "python3-venv,make,systemd,cron,logrotate,ca-certificates"
INDEX_PROBE: Final = "pip download --quiet --no-deps click"
"""Fails where no package index can be reached."""


class UntestableError(Exception):
    """This machine lacks what the test needs."""


def make_root(folder: Path, packages: str = PACKAGES) -> None:
    """A minimal Debian with these packages, with this checkout in /checkout, and its wheel.

    Raises:
        UntestableError: no root can be made here.
    """
    if os.geteuid() != 0:
        raise UntestableError("root is needed")
    for program in ("mmdebstrap", "unshare", "chroot"):
        if shutil.which(program) is None:
            raise UntestableError(f"there is no {program} here (apt-get install {program})")
    if subprocess.run(["unshare", "--mount", "--pid", "--fork", "true"], check=False).returncode:
        raise UntestableError("no namespace can be made here")
    made = subprocess.run(debian(folder, packages), check=False, stderr=subprocess.PIPE, text=True)
    if made.returncode != 0:
        raise UntestableError(f"mmdebstrap makes no Debian here: {made.stderr.strip()[-300:]}")
    copy_checkout(folder / "checkout")
    # The way to the package index is this machine's.
    for name in ("etc/resolv.conf", "etc/hosts", "etc/pip.conf"):
        if Path("/", name).exists():
            shutil.copy(Path("/", name), folder / name)
    authorities = os.environ.get("PIP_CERT")
    if authorities:
        shutil.copy(authorities, folder / "etc/ssl/certs/ca-certificates.crt")
    try:
        run(folder, f"python3 -m venv /tmp/probe && /tmp/probe/bin/{INDEX_PROBE} --dest /tmp/probe")
    except subprocess.CalledProcessError:
        raise UntestableError("within the root there is no way to a package index") from None
    run(folder, "cd /checkout && make wheel")


def debian(target: Path, packages: str) -> list[str]:
    """The command that makes a minimal Debian: a folder, or an archive if its name ends so."""
    include = f"--include={packages}"
    return ["mmdebstrap", "--quiet", "--variant=minbase", include, "trixie", str(target)]


def copy_checkout(folder: Path) -> None:
    """Copy what git knows or would add."""
    files = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split("\0")[:-1]
    for file in files:
        if (ROOT / file).is_file():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / file, folder / file)


def run(folder: Path, script: str, *, has_network: bool = True) -> None:
    """Run a script in the root as an operator's shell would, and stop at the first failure."""
    command = ["unshare", "--mount", "--pid", "--fork", f"--mount-proc={folder}/proc"]
    command += [] if has_network else ["--net"]
    command += ["chroot", str(folder), "/bin/bash", "-exc", script]
    # Nothing is booted there: systemctl changes files and speaks to nobody.
    environment = os.environ | {"SYSTEMD_OFFLINE": "1"}
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, env=environment)
