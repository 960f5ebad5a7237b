"""Boots a Debian under systemd and plays nights and alerts with the units of install-server.md.

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
from tests.support.documents import DATABASE as DATABASE_PAGE
from tests.support.documents import INSTALL, blocks, section
from worker.store.schema.upgrade import HEAD

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
sed -i -e '/^.helseid.$/r /tmp/helseid' \\
    -e 's|^.sync.$|[sync]\\npatience = "2s"\\nretry_attempts = 1|' \\
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
PUBLISHED: Final = "status: published code: 0 continued: false"
CONTINUED: Final = "status: published code: 0 continued: true"
ALARMS: Final = f"{ALERT} | wc -l"
LAST_ALARM: Final = f"{ALERT} | tail -n 1"
BY_HAND: Final = (
    "sudo systemctl reset-failed pts-sync.service; sudo systemctl start --no-block pts-sync.service"
)
"""The two commands of the alert. The machine has no sudo, and root runs them."""
RESET: Final = "{ systemctl reset-failed pts-sync.service || :; }"
"""Of a unit that is not loaded there is nothing to reset."""
START: Final = f"{RESET}; date +%s > /tmp/since; sleep 1; systemctl start --no-block pts-sync"
SINCE: Final = 'journalctl --unit=pts-sync --output=cat --since="@$(cat /tmp/since)" --grep='
"""The log of the unit since ``START``, by a pattern."""
STARTS: Final = f"{SINCE}run.started | wc -l"
IDLE: Final = "systemctl is-active pts-sync.service | sed s/failed/inactive/"
KEY: Final = "/etc/pts-worker/keys/helseid.jwk.json"
PROGRAM: Final = "/opt/pts-worker/bin/pts-worker"
CONFIG: Final = "/etc/pts-worker/worker.toml"
DATABASE: Final = "/var/lib/pts-worker/pts.db"
AGE: Final = (
    'runuser -u pts-worker -- /opt/pts-worker/bin/python -c "import sqlite3; '
    f"sqlite3.connect('{DATABASE}', isolation_level=None).execute(\\\"UPDATE run SET published_at "
    "= replace(published_at, '20', '19') WHERE published_at LIKE '20%'\\\")\""
)
"""Makes all publications a century older."""
PACKAGE: Final = "/opt/pts-worker/lib/python3*/site-packages/worker"
NEW_VERSION: Final = f"""
cat > $(echo {PACKAGE}/migrations/versions)/9999_next.py <<'END'
import sqlalchemy as sa
from alembic import op

revision, down_revision, branch_labels, depends_on = "9999", "{HEAD}", None, None


def upgrade():
    op.add_column("run", sa.Column("note", sa.Text()))
END
sed -i.old 's/^HEAD: Final = .*/HEAD: Final = "9999"/' {PACKAGE}/store/schema/upgrade.py
"""
"""Makes the installed program one with a migration more."""
OLD_VERSION: Final = f"""
rm {PACKAGE}/migrations/versions/9999_next.py
mv $(echo {PACKAGE}/store/schema/upgrade.py.old) $(echo {PACKAGE}/store/schema/upgrade.py)
"""
ALARM_MAX: Final = 400
"""Characters."""


def control(**settings: str) -> str:
    """The command that changes the sandbox."""
    text = ", ".join(f'"{name}": {value}' for name, value in settings.items())
    kind = "Content-Type: application/json"
    return f"curl --silent --fail -H '{kind}' --data '{{{text}}}' {PTS}/_sandbox/control"


AWAY: Final = control(faults='[{"action": "status", "status": 503}]')
BACK: Final = control(faults="[]")


def alarm(machine: Machine, script: str, *expected: str) -> None:
    """Run a script, wait for one more alarm, and compare and keep its text."""
    before = int(machine.sh(ALARMS))
    machine.sh(script)
    machine.says(f"test $({ALARMS}) -gt {before} && echo more", "more")
    text = machine.sh(LAST_ALARM)
    machine.record += ["   alarm:", f"   {text}"]
    assert len(text) <= ALARM_MAX, text
    assert [part for part in expected if text.count(part) != 1] == [], text


def publishes(machine: Machine, script: str, ending: str = PUBLISHED) -> None:
    """Run a script that starts a run, and wait until it has published without an alarm."""
    before = machine.sh(ALARMS)
    machine.sh(script)
    machine.says(LAST, ending)
    machine.says("systemctl is-active pts-sync.service", "inactive")
    assert machine.sh(ALARMS) == before


def wrong_key(machine: Machine) -> None:
    """The first start, with a key that HelseID does not know."""
    away = f"mv {KEY} {KEY}.away; {PROGRAM} keys new --out {KEY} >/dev/null; {START}"
    first = "First: sudo pts-admin doctor"
    alarm(machine, away, "pts-sync.service failed with exit code 77: ", "invalid_client", first)
    machine.sh(f"mv -f {KEY}.away {KEY}")


def timer(machine: Machine) -> None:
    """The timer starts a night, which publishes; the copy is fresh."""
    soon = (
        "mkdir -p /run/systemd/system/pts-sync.timer.d\n"
        "printf '[Timer]\\nOnCalendar=\\nOnActiveSec=1s\\n' "
        "> /run/systemd/system/pts-sync.timer.d/soon.conf\n"
        f"{RESET}\nsystemctl daemon-reload && systemctl enable --now pts-sync.timer"
    )
    publishes(machine, soon, CONTINUED)
    machine.sh(
        "rm -r /run/systemd/system/pts-sync.timer.d && systemctl daemon-reload\n"
        "systemctl stop pts-sync.timer && systemctl start pts-freshness"
    )
    machine.sh("systemctl enable --now pts-worker-backup.timer; systemctl start pts-worker-backup")
    machine.note("   backup:", "ls -l /var/lib/pts-worker/backup | cut -d' ' -f1,3,4,9-")


def short_outage(machine: Machine) -> None:
    """PTS is away for the first start and back for the second: no alarm."""
    machine.sh(f"{AWAY}; {START}")
    machine.says(f"{SINCE}'run.(failed|interrupted)' | wc -l", "1")
    publishes(machine, BACK, CONTINUED)


def long_outage(machine: Machine) -> None:
    """PTS is away for fourteen hours, until the retries are used up (here: three starts).

    A start then starts nothing, until the unit is reset.
    """
    words = ("pts-sync.service failed with exit code 69: ", "No more retries", BY_HAND)
    alarm(machine, f"{AWAY}; {START}", *words)
    machine.note("   starts:", STARTS)
    machine.sh(f"{BACK}; systemctl start --no-block pts-sync.service; sleep 3")
    machine.says("systemctl is-failed pts-sync.service", "failed")
    assert machine.sh(STARTS) == "3"
    publishes(machine, BY_HAND.replace("sudo ", ""), CONTINUED)


def missing_files(machine: Machine) -> None:
    """A key file and the program are missing; their alarms name them."""
    for path, code in ((KEY, 243), (PROGRAM, 203)):
        lost = f"{RESET}; mv {path} {path}.away; systemctl start pts-sync || :"
        alarm(machine, lost, f"failed with exit code {code}: ", path)
        machine.sh(f"mv {path}.away {path}")


def reset_at_once(machine: Machine) -> None:
    """The unit is reset, or started again, while its alarm is on the way."""
    broken = f"cp {CONFIG} {CONFIG}.good; echo 'nonsense = 1' >> {CONFIG}; {RESET}"
    for after in (
        RESET,
        f"mv {CONFIG}.good {CONFIG}; {RESET}; systemctl start --no-block pts-sync",
    ):
        for _ in range(3):
            machine.says(IDLE, "inactive")
            script = f"{broken}; systemctl start pts-sync || {{ {after}; }}"
            alarm(machine, script, "pts-sync.service failed with exit code 78: ", "log.nonsense")
            machine.sh(f"! test -e {CONFIG}.good || mv {CONFIG}.good {CONFIG}")
    machine.says(IDLE, "inactive")


def stale(machine: Machine) -> None:
    """The copy is older than it may be; the next night makes it fresh."""
    kept = f"cp -p {DATABASE} /tmp/kept.db"
    old = f"{kept}; {AGE}; systemctl start pts-freshness || :"
    alarm(
        machine, old, "pts-freshness.service failed with exit code 3: the copy is older than 1d12h"
    )
    machine.sh(f"cp -p /tmp/kept.db {DATABASE}; rm -f {DATABASE}-*; systemctl start pts-freshness")


def withheld(machine: Machine) -> None:
    """PTS shows nobody's restrictions: withheld, looked at, and accepted."""
    empty = control(faults='[{"action": "empty_list"}]')
    alarm(machine, f"{empty}; {START}", "pts-sync.service failed with exit code 5: withheld")
    machine.note("   status:", "pts-admin status | tail -n 4")
    machine.note("   accepted:", "pts-admin sync --accept-removals 2>/dev/null")
    publishes(machine, f"{BACK}; {START}")


def restored(machine: Machine) -> None:
    """The nightly backup takes the place of a lost database, by the commands of the page."""
    machine.sh(
        f"rm {DATABASE}; {restoring('$(ls /var/lib/pts-worker/backup/nightly-* | tail -n 1)')}"
    )
    publishes(machine, START)


def restoring(backup: str) -> str:
    """The commands of the page that put a backup in the place of the database."""
    page = DATABASE_PAGE.read_text(encoding="utf-8")
    restore, *_ = blocks(section(page, "Restore"), "sh")
    return restore.replace("/var/lib/pts-worker/backup/pts-2026-11-26.db", backup)


def upgraded(machine: Machine) -> None:
    """A new version with a migration: refused before `db upgrade`, and taken back by a backup."""
    before = "/var/lib/pts-worker/backup/before.db"
    machine.sh(f"sudo pts-admin db backup {before} && systemctl stop pts-sync && {NEW_VERSION}")
    needs = f"schema is at {HEAD}, but this program needs 9999"
    alarm(machine, START, "pts-sync.service failed with exit code 78: ", needs)
    upgrade = "sudo pts-admin db upgrade && sudo pts-admin doctor >&2"
    publishes(machine, f"{upgrade}; {START}")
    machine.note("   upgraded:", "pts-admin db check")
    machine.sh(f"{OLD_VERSION}rm {DATABASE}; {restoring(before)}")
    publishes(machine, START)


def stopped(machine: Machine) -> None:
    """Stopped during a run, then stuck: the watchdog ends it, and the next start continues it."""
    before = machine.sh(ALARMS)
    machine.sh(f"{control(generation='1')}; {START}")
    machine.says(STARTS, "1")
    machine.sh("sleep 2; systemctl stop pts-sync; sleep 3")
    machine.note("   stopped:", LAST)
    machine.sh(START)
    machine.says(STARTS, "1")
    machine.sh("sleep 2; systemctl kill --signal=STOP --kill-whom=main pts-sync")
    machine.says(LAST, CONTINUED)
    machine.note("   stuck (SIGSTOP):", f"{SINCE}'Watchdog timeout'; {LAST}")
    assert machine.sh(ALARMS) == before


def half_a_run(machine: Machine) -> None:
    """A run that the reboot interrupts."""
    # The sandbox begins with it again after the reboot.
    machine.sh(f"{control(generation='0')}; systemctl enable pts-continue@pts-sync.service")
    machine.says(IDLE, "inactive")
    machine.sh(START)
    machine.says(STARTS, "1")
    machine.sh("sleep 3")


PLAYS: Final = (
    wrong_key,
    timer,
    short_outage,
    long_outage,
    missing_files,
    reset_at_once,
    stale,
    withheld,
    restored,
    upgraded,
    stopped,
    half_a_run,
)


def continued(machine: Machine) -> None:
    """The boot continued the run."""
    machine.says(LAST, CONTINUED)
    machine.note(
        "A reboot during a run. The start, its end, the runs:",
        "journalctl --boot --unit=pts-continue@pts-sync --output=cat | head -1\n"
        f"{LAST}; pts-admin status | sed -n '/^run /,$p' | head -4 | cut -c1-60",
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
        for play in PLAYS:
            machine.record.append(f"{play.__doc__}")
            play(machine)
        machine_is_down = machine.init
        reboot(machine, continued)
        assert machine_is_down != machine.init
    sys.stdout.write("\n".join(machine.record))


if __name__ == "__main__":
    main()
