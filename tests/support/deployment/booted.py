"""Boots a Debian under systemd and plays five nights with the units of docs/install-server.md.

``make boot-test``: needs root, mmdebstrap, cgroups of version 2, Debian's mirror and a package
index; five minutes. Where nothing can be booted it says ``NOT TESTED`` and why, and ends with 0.

The worker, the units and systemd are real. PTS is the sandbox, in the same network namespace, which
has no other network. Drop-ins shorten what takes hours: ``DROP_INS``.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.support.deployment import fresh_root
from tests.support.deployment.fresh_root import UntestableError, make_root, run
from tests.support.documents import INSTALL, blocks, section

PACKAGES: Final = f"{fresh_root.PACKAGES},systemd-sysv,dbus,sudo,curl"
CGROUPS: Final = (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup"))
PTS: Final = "http://127.0.0.1:8802"
PATIENCE_S: Final = 600.0
ALERT: Final = "journalctl --quiet --output=cat --priority=alert --identifier=pts-worker"

BOOT: Final = """
cd "$1" && mount --make-rprivate / && mount --bind . . && cd "$1"
mount -t proc proc proc && mount -t sysfs -o ro sysfs sys && mount -t cgroup2 none sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs dev && mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs tmpfs tmp && mkdir dev/pts dev/shm && mount -t tmpfs tmpfs dev/shm
for device in null zero full random urandom tty; do
    touch dev/$device && mount --bind /dev/$device dev/$device
done
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts && ln -s pts/ptmx dev/ptmx
mkdir -p old && pivot_root . old && umount -l /old && mount --make-rshared /
exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin /sbin/init --show-status=no
"""
"""As a container's runtime prepares a root for its own init."""

CONFIGURE: Final = f"""
cp /srv/sandbox/client-key.json /etc/pts-worker/keys/helseid.jwk.json
chmod 0400 /etc/pts-worker/keys/*
sed -i -e 's|^environment = .*|base_url = "{PTS}"|' -e '/^client_id/d' /etc/pts-worker/worker.toml
grep -E '^(issuer|client_id) = ' /srv/sandbox/worker.toml > /tmp/helseid
sed -i -e '/^.helseid.$/r /tmp/helseid' -e 's|^.sync.$|[sync]\\npatience = "2s"|' \\
    /etc/pts-worker/worker.toml
install -d -m 0700 -o pts-worker -g pts-worker /var/lib/pts-worker
install -m 0600 -o pts-worker -g pts-worker /srv/sandbox/roster.csv /var/lib/pts-worker/
"""
"""What the page leaves to the operator: client, key, roster; and a short ``patience``."""

DROP_INS: Final = {
    "pts-sync.service": "[Unit]\nStartLimitBurst=3\n"
    "[Service]\nRestartSec=2s\nWatchdogSec=10s\nTimeoutAbortSec=5s\n",
    "pts-sync.timer": "[Timer]\nRandomizedDelaySec=0\nAccuracySec=1s\n",
}
SANDBOX: Final = f"""[Service]
WorkingDirectory=/srv
ExecStart=/opt/pts-worker/bin/pts-worker sandbox --folder sandbox --persons 200 \\
    --pts-port {PTS.rpartition(":")[2]}
[Install]
WantedBy=multi-user.target
"""


@dataclass(kw_only=True)
class Machine:
    """A root that is booted, and what was seen of it."""

    root: Path
    init: int = 0
    record: list[str] = field(default_factory=list)

    def sh(self, script: str) -> str:
        """What a script prints that runs on the machine; its failure is an error."""
        enter = [f"--target={self.init}", "--mount", "--pid", "--uts", "--ipc", "--net", "--cgroup"]
        done = subprocess.run(
            ["nsenter", *enter, "--root", "--wd", "/bin/bash", "-ec", script],
            check=False,
            env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        if done.returncode:
            raise AssertionError(f"ends with {done.returncode}: {script}\n{done.stdout}")
        return done.stdout.strip()

    def until(self, what: str, is_so: Callable[[], bool]) -> None:
        until_s = time.monotonic() + PATIENCE_S
        while not is_so():
            if time.monotonic() > until_s:
                log = self.sh("journalctl --no-pager --lines=60")
                raise AssertionError(f"not within {PATIENCE_S} s: {what}\n{log}")
            time.sleep(0.5)

    def says(self, script: str, expected: str) -> None:
        """Wait until a script prints that."""
        self.until(f"{script} → {expected}", lambda: self.sh(f"{script} || :") == expected)

    def note(self, title: str, script: str) -> None:
        """Keep what a script prints for the record."""
        self.record += [title, self.sh(script), ""]


@contextmanager
def booted(root: Path, machine: Machine) -> Iterator[None]:
    """Boot the machine in namespaces of its own, and wait until it is up."""
    group = next((place for place in CGROUPS if (place / "cgroup.procs").exists()), None)
    if group is None:
        raise UntestableError("there are no cgroups of version 2")
    own = group / f"pts-boot-{os.getpid()}"
    own.mkdir(exist_ok=True)
    namespaces = ["--mount", "--pid", "--fork", "--uts", "--ipc", "--net", "--cgroup"]
    join = f'echo $$ > {own}/cgroup.procs && exec unshare {" ".join(namespaces)} --kill-child "$@"'
    command = ["sh", "-c", join, "sh", "sh", "-ec", BOOT, "sh", str(root)]
    outside = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        children = Path(f"/proc/{outside.pid}/task/{outside.pid}/children")
        time.sleep(2)
        if not (pids := children.read_text().split()):
            raise UntestableError("systemd does not boot in these namespaces")
        machine.init = int(pids[0])
        states = {"running", "degraded"}
        machine.until(
            "the boot", lambda: machine.sh("systemctl is-system-running 2>&1 || :") in states
        )
        yield
    finally:
        outside.kill()
        outside.wait()


def reboot(machine: Machine, play: Callable[[Machine], None]) -> None:
    """Reboot: the init ends and its namespaces with it. Boot the same root and go on."""
    subprocess.run(
        ["nsenter", f"--target={machine.init}", "--all", "systemctl", "reboot"], check=False
    )
    until_s = time.monotonic() + 60
    while Path(f"/proc/{machine.init}").exists() and time.monotonic() < until_s:
        time.sleep(0.5)
    with booted(machine.root, machine):
        play(machine)


LAST: Final = (
    "journalctl --unit=pts-sync --output=cat --grep=run.summary --lines=1"
    " | grep -Eo '\"(status|code|continued)\": [^,]+' | xargs"
)
ALARMS: Final = f'echo "$({ALERT} | wc -l) alarms"'
START: Final = (
    "systemctl reset-failed pts-sync; date +%s > /tmp/since; sleep 1; "
    "systemctl start --no-block pts-sync"
)
SINCE: Final = 'journalctl --unit=pts-sync --output=cat --since="@$(cat /tmp/since)" --grep='
"""The log of the unit since ``START``, by a pattern."""
KEY: Final = "/etc/pts-worker/keys/helseid.jwk.json"
PAUSE_S: Final = 7200
"""Longer than a run waits."""


def control(**settings: str) -> str:
    """The command that changes the sandbox."""
    text = ", ".join(f'"{name}": {value}' for name, value in settings.items())
    kind = "Content-Type: application/json"
    return f"curl --silent --fail -H '{kind}' --data '{{{text}}}' {PTS}/_sandbox/control"


def nights(machine: Machine) -> None:
    """A night that succeeds, its backup, one that fails, a stop, a stuck worker, half a run."""
    machine.sh(
        "mkdir -p /run/systemd/system/pts-sync.timer.d\n"
        "printf '[Timer]\\nOnCalendar=\\nOnCalendar=*:*:0/5\\n' "
        "> /run/systemd/system/pts-sync.timer.d/soon.conf\n"
        "systemctl daemon-reload && systemctl enable --now pts-sync.timer pts-freshness.timer"
    )
    machine.says(LAST, "status: published code: 0 continued: false")
    machine.sh(
        "rm -r /run/systemd/system/pts-sync.timer.d && systemctl daemon-reload\n"
        "systemctl stop pts-sync.timer && systemctl start pts-freshness"
    )
    machine.says("systemctl is-active pts-sync.service", "inactive")
    machine.note("1. The timer starts a run. Its end, alarms:", f"{LAST}; {ALARMS}")
    machine.sh("systemctl enable --now pts-worker-backup.timer; systemctl start pts-worker-backup")
    machine.note("   The backup:", "ls -l /var/lib/pts-worker/backup | cut -d' ' -f1,3,4,9-")

    fault = f'{{"action": "status", "status": 503, "headers": {{"Retry-After": "{PAUSE_S}"}}}}'
    machine.sh(f"{control(faults=f'[{fault}]')}; {START}")
    machine.says("systemctl is-failed pts-sync.service", "failed")
    machine.says(ALARMS, "1 alarms")
    machine.note(
        "2. PTS asks for a long pause. Starts, alarms:",
        f"{SINCE}run.started | wc -l; {ALERT}",
    )

    machine.sh(
        f"mv {KEY} {KEY}.away; systemctl reset-failed pts-sync; systemctl start pts-sync || :"
    )
    machine.says("systemctl is-failed pts-sync.service", "failed")
    machine.says(ALARMS, "2 alarms")
    machine.note(
        "   A key file is missing. Its alarm:", f"mv {KEY}.away {KEY}; {ALERT} | tail -n 1"
    )

    machine.sh(control(faults="[]", generation="1"))
    machine.sh(START)
    machine.says(f"{SINCE}run.started | wc -l", "1")
    machine.sh("sleep 2; systemctl stop pts-sync; sleep 3")
    machine.note(
        "3. Stopped in mid-run. Its end, alarms since the first night:", f"{LAST}; {ALARMS}"
    )

    machine.sh(START)
    machine.says(f"{SINCE}run.started | wc -l", "1")
    machine.sh("sleep 2; systemctl kill --signal=STOP --kill-whom=main pts-sync")
    machine.says(LAST, "status: published code: 0 continued: true")
    machine.note(
        "4. Stuck (SIGSTOP). The watchdog, the next start's end, alarms:",
        f"{SINCE}'Watchdog timeout'; {LAST}; {ALARMS}",
    )
    # The sandbox begins with it again after the reboot.
    machine.sh(f"{control(generation='0')}; systemctl enable pts-continue@pts-sync.service")
    machine.says("systemctl is-active pts-sync || :", "inactive")
    machine.sh(START)
    machine.says(f"{SINCE}run.started | wc -l", "1")
    machine.sh("sleep 3")


def continued(machine: Machine) -> None:
    """What the boot went on with."""
    machine.says(LAST, "status: published code: 0 continued: true")
    machine.note(
        "5. A reboot in mid-run. What started the run, its end, alarms, the ledger:",
        "journalctl --boot --unit=pts-continue@pts-sync --output=cat | head -1\n"
        f"{LAST}; {ALARMS}; pts-admin status | sed -n '/^run /,$p' | head -4 | cut -c1-60",
    )


def install(root: Path) -> None:
    """Type the page's commands that need a package index; the others are typed when it is up."""
    page = INSTALL.read_text(encoding="utf-8")
    common, *_ = blocks(section(page, "Install"), "sh")
    run(root, f"cd /checkout\n{common}")


def set_up(machine: Machine) -> None:
    """The rest of the page, on the booted machine: units, keys, database, doctor."""
    page = INSTALL.read_text(encoding="utf-8")
    _, systemd, *_ = blocks(section(page, "Install"), "sh")
    keys, *_ = blocks(section(page, "Keys"), "sh")
    (machine.root / "etc/systemd/system/sandbox.service").write_text(SANDBOX)
    for name, text in DROP_INS.items():
        folder = machine.root / f"etc/systemd/system/{name}.d"
        folder.mkdir(exist_ok=True)
        (folder / "faster.conf").write_text(text)
    machine.sh(f"cd /checkout\n{systemd}\n{keys}\nsystemctl enable --now sandbox.service")
    machine.says("test -e /srv/sandbox/roster.csv && echo there", "there")
    machine.sh(f"{CONFIGURE}\nsudo pts-admin db upgrade && sudo pts-admin doctor >&2")


def main() -> None:
    """Play it in a root that the argument names, if it is there already; else in a fresh one."""
    try:
        if len(sys.argv) > 1 and Path(sys.argv[1]).is_dir():
            _play(Path(sys.argv[1]))
            return
        with tempfile.TemporaryDirectory(prefix="pts-boot-") as name:
            root = Path(name, "root")
            make_root(root, PACKAGES)
            install(root)
            _play(root)
    except UntestableError as error:
        sys.stdout.write(f"NOT TESTED: the units under a systemd that was booted: {error}\n")


def _play(root: Path) -> None:
    machine = Machine(root=root)
    with booted(root, machine):
        set_up(machine)
        nights(machine)
        machine_is_down = machine.init
        reboot(machine, continued)
        assert machine_is_down != machine.init
    sys.stdout.write("\n".join(machine.record))


if __name__ == "__main__":
    main()
