"""The units are complete, agree with one another and shut the process in."""

import os
import re
import shlex
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from tests.support.deployment.deployed import (
    PROGRAM,
    ROOT,
    SYSTEMD,
    one,
    run,
    unit,
    units,
    write_program,
)
from worker.config import load
from worker.core.times import parse_duration

WORKERS = [name for name in units("service") if "User" in unit(name)["Service"]]

STATUS_TIME = timedelta(seconds=10)

SHARED = {
    "User": "pts-worker",
    "Group": "pts-worker",
    "StateDirectoryMode": "0700",
    "WorkingDirectory": "/var/lib/pts-worker",
    "SyslogIdentifier": "pts-worker",
    "NoNewPrivileges": "yes",
    "CapabilityBoundingSet": "",
    "AmbientCapabilities": "",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "ProtectProc": "invisible",
    "ProtectClock": "yes",
    "ProtectHostname": "yes",
    "ProtectKernelLogs": "yes",
    "ProtectKernelModules": "yes",
    "ProtectKernelTunables": "yes",
    "ProtectControlGroups": "yes",
    "PrivateTmp": "yes",
    "PrivateDevices": "yes",
    "RestrictAddressFamilies": "AF_INET AF_INET6 AF_UNIX",
    "RestrictNamespaces": "yes",
    "RestrictRealtime": "yes",
    "RestrictSUIDSGID": "yes",
    "LockPersonality": "yes",
    "RemoveIPC": "yes",
    "SystemCallArchitectures": "native",
    "SystemCallErrorNumber": "EPERM",
    "UMask": "0077",
    "LimitCORE": "0",  # a core dump would hold tokens and identifiers
}
"""Lines of all units that start the worker."""
BY_HAND = (
    *("User", "Group", "StateDirectory", "StateDirectoryMode", "WorkingDirectory"),
    *("LimitCORE", "UMask", "TimeoutStopSec"),
)
"""Lines of the units that `pts-admin` repeats."""
BEFORE_A_RUN = "network-online.target time-sync.target"


@pytest.mark.parametrize("name", WORKERS)
def test_unit_shuts_the_process_in(name: str):
    """It may write its state folder and use the network, and nothing else; it is not root."""
    service = unit(name)["Service"]
    assert {key: one(service, key) for key in SHARED} == SHARED
    assert service["SystemCallFilter"] == ["@system-service", "~@privileged @resources"]
    folders = {"pts-worker-backup.service": "pts-worker pts-worker/backup"}
    assert one(service, "StateDirectory") == folders.get(name, "pts-worker")
    assert "ReadWritePaths" not in service


@pytest.mark.parametrize("name", WORKERS)
def test_unit_ends_and_reports(name: str):
    """A stuck process is ended, a stop leaves the worker its 10 s, and a failure alerts."""
    sections = unit(name)
    service = sections["Service"]
    if one(service, "Type") == "oneshot":
        assert parse_duration(one(service, "TimeoutStartSec").replace("min", "m"))
        assert one(service, "NotifyAccess") == "main"  # the alert repeats the unit's status
    else:  # systemd hears of progress, and ends a worker that says nothing
        assert one(service, "Type") == "notify"
        assert parse_duration(one(service, "WatchdogSec").replace("min", "m")) > 2 * STATUS_TIME
    if name != "pts-freshness.service":
        assert parse_duration(one(service, "TimeoutStopSec")).total_seconds() > 10
    assert one(sections["Unit"], "OnFailure") == "pts-alert@%n.service"
    alert = (SYSTEMD / "pts-alert@.service").read_text(encoding="utf-8")
    assert "\nStartLimitIntervalSec=0\n" in alert  # else the sixth alarm in ten seconds is dropped


@pytest.mark.parametrize(
    "name", ["pts-continue@.service", "pts-sync.service", "pts-worker-schedule.service"]
)
def test_a_run_starts_after_network_and_clock(name: str):
    """HelseID refuses DPoP proofs of a wrong clock, and a start without network is a lost retry."""
    section = unit(name)["Unit"]
    assert one(section, "Wants") == BEFORE_A_RUN
    assert one(section, "After").removesuffix(" postgresql.service") == BEFORE_A_RUN


@pytest.mark.parametrize("name", ["pts-sync.service", "pts-worker-schedule.service"])
def test_retries_last_through_an_outage_and_then_alert(name: str):
    """Eight starts take more than half an hour, and are used up before the limit forgets them."""
    section, service = unit(name)["Unit"], unit(name)["Service"]
    pause = parse_duration(one(service, "RestartSec").replace("min", "m"))
    limit = parse_duration(one(section, "StartLimitIntervalSec"))
    count = int(one(section, "StartLimitBurst"))
    assert count == 8  # as the alert rule PtsUnavailable says
    assert timedelta(minutes=30) < count * pause < limit < timedelta(days=1)


def test_schedule_replaces_the_timer():
    """It starts at boot, and stops the timer: not both start a night."""
    sections = unit("pts-worker-schedule.service")
    assert one(sections["Unit"], "Conflicts") == "pts-sync.timer"
    assert one(sections["Install"], "WantedBy") == "multi-user.target"


def test_account_is_the_one_of_the_units():
    """sysusers.d creates the account, with the state folder as its home."""
    line = (SYSTEMD / "pts-worker.sysusers.conf").read_text().splitlines()[-1]
    kind, name, _, _, home = shlex.split(line)
    assert (kind, name, home) == ("u", SHARED["User"], SHARED["WorkingDirectory"])


@pytest.mark.parametrize("name", WORKERS)
def test_no_secret_stands_in_a_unit(name: str):
    """Secrets come as credentials: a unit's environment is open to every user of the machine."""
    names = [value.partition("=")[0] for value in unit(name)["Service"]["Environment"]]
    assert [name for name in names if not name.endswith("_FILE")] == ["PTS_CONFIG"]


@pytest.mark.parametrize("name", units("timer"))
def test_timer_starts_a_unit_at_an_hour_that_every_day_has_once(name: str):
    """The zone is named, and the hour is not the one that summer time takes away or doubles."""
    timer = unit(name)["Timer"]
    assert name.replace(".timer", ".service") in WORKERS
    match = re.fullmatch(r"\*-\*-\* ([\d,]+):\d\d:00 Europe/Oslo", one(timer, "OnCalendar"))
    assert match
    assert "02" not in match[1].split(",")
    assert one(unit(name)["Install"], "WantedBy") == "timers.target"


def test_missed_night_is_made_up_for():
    """A machine that was down runs and backs up when it is up; not all start at one second."""
    nightly = {name: unit(name)["Timer"] for name in ("pts-sync.timer", "pts-worker-backup.timer")}
    assert {name: timer.get("Persistent") for name, timer in nightly.items()} == {
        "pts-sync.timer": ["true"],
        "pts-worker-backup.timer": ["true"],
    }
    night, morning = (one(timer, "OnCalendar") for timer in nightly.values())
    assert night < morning, "a backup has the night's run"
    # At boot both may start at once.
    assert one(unit("pts-worker-backup.service")["Unit"], "After") == "pts-sync.service"
    delay = one(nightly["pts-sync.timer"], "RandomizedDelaySec")
    assert parse_duration(delay.replace("min", "m")).total_seconds() > 0


def install_pts_admin(tmp_path: Path, worker: str) -> tuple[list[str], dict[str, str]]:
    """pts-admin beside stand-ins for systemd-run, systemctl and the worker: command, environment.

    systemd-run does what matters here: options, credentials, the command.
    """
    credential_folder = tmp_path / "credentials"
    stand_ins = {
        "id": "case $1 in -u) echo 0 ;; *) echo operator ;; esac\n",
        "pts-worker": worker,
        "systemd-run": f"echo $$ >{tmp_path}/pid\nwhile :; do case $1 in\n"
        f"--unit=*) echo ${{1#--unit=}} >{tmp_path}/unit ;;\n"
        "--property=LoadCredential=*) pair=${1#--property=LoadCredential=}\n"
        f'  cp "${{pair#*:}}" "{credential_folder}/${{pair%%:*}}" || exit 99 ;;\n'
        f"--property=*) echo ${{1#--property=}} >>{tmp_path}/properties ;;\n"
        '--setenv=*) export "${1#--setenv=}" ;;\n--*) ;;\n*) break ;;\nesac; shift; done\n'
        f'CREDENTIALS_DIRECTORY={credential_folder} exec "$@"\n',
        "systemctl": f'[ "$*" = "stop $(cat {tmp_path}/unit)" ] || exit 9\n'
        f"kill -TERM $(cat {tmp_path}/pid)\n",
    }
    keys = tmp_path / "keys"
    keys.mkdir()
    credential_folder.mkdir()
    for name in ("helseid.jwk.json", "pseudonym.key", "database.password"):
        (keys / name).touch()
    for name, text in stand_ins.items():
        write_program(tmp_path / name, text)
    script = (SYSTEMD / "pts-admin").read_text()
    script = script.replace(PROGRAM, str(tmp_path / "pts-worker"))
    script = script.replace("/etc/pts-worker/keys", str(keys))
    return ["/bin/sh", "-c", script, "pts-admin"], {"PATH": f"{tmp_path}:/usr/bin:/bin"}


def test_command_by_hand_runs_as_the_units_do(tmp_path: Path):
    """pts-admin hands the units' credentials and configuration to the command, and its input."""
    command, environment = install_pts_admin(
        tmp_path, 'env | grep -E "^(PTS_|SUDO_USER=)" | sort\necho "$#:$*"\ncat\nexit 3\n'
    )
    done = run(
        [*command, "explain", "--as-of", "2026-01-01 00:00"],
        env=environment,
        input="from standard input\n",
    )
    credentials = tmp_path / "credentials"
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "PTS_CONFIG=/etc/pts-worker/worker.toml",
        f"PTS_DATABASE__PASSWORD_FILE={credentials}/database-password",
        f"PTS_HELSEID__PRIVATE_JWK_FILE={credentials}/helseid-key",
        f"PTS_PRIVACY__PSEUDONYM_KEY_FILE={credentials}/pseudonym-key",
        "SUDO_USER=operator",  # for the access log
        "3:explain --as-of 2026-01-01 00:00",
        "from standard input",
    ]
    assert done.returncode == 3
    properties = (tmp_path / "properties").read_text().splitlines()
    service = unit("pts-sync.service")["Service"]
    assert set(properties) == {f"{key}={one(service, key)}" for key in BY_HAND}


@pytest.mark.parametrize("folder", ["systemd", "cron"])
def test_a_command_by_hand_needs_root(folder: str, tmp_path: Path):
    """Another account gets a sentence, and not what systemd or runuser says."""
    write_program(tmp_path / "id", "echo 1000\n")
    script = SYSTEMD.parent / folder / "pts-admin"
    done = run(["/bin/sh", str(script), "status"], env={"PATH": f"{tmp_path}:/usr/bin:/bin"})
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "pts-admin: root is needed; type: sudo pts-admin …\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_ends_a_command_by_hand(number: signal.Signals, tmp_path: Path):
    """Ctrl-C stops the unit and not only the one who waits; its exit code is pts-admin's own."""
    # Between two sleeps, since a shell may miss a signal that comes just before a read.
    command, environment = install_pts_admin(
        tmp_path,
        "trap 'sleep 0.5; echo lease given back; exit 75' TERM\necho on\n"
        "for _ in $(seq 600); do sleep 0.1; done\n",
    )
    with subprocess.Popen(
        # In the background of a shell SIGINT is ignored, and what starts there inherits that.
        ["env", "--default-signal=INT", *command, "backfill", "--failed"],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as admin:
        assert admin.stdout
        assert admin.stdout.readline() == "on\n"
        os.killpg(admin.pid, signal.SIGINT) if number == signal.SIGINT else admin.send_signal(
            number
        )
        assert admin.wait(timeout=60) == 75
        assert admin.stdout.read() == "lease given back\n"


@pytest.mark.parametrize(
    ("open_run", "code"),
    [
        ("the program's own", 1),
        ('{"run_id": 7}', 0),
        ("unreadable", 0),  # the run says what is wrong
    ],
)
def test_boot_goes_on_with_an_open_run_alone(
    open_run: str, code: int, tmp_path: Path, migrated_sqlite: Path
):
    """A unit that boot starts asks `status` whether the next sync would continue a run."""
    service = unit("pts-continue@.service")["Service"]
    answer = tmp_path / "answer"
    if open_run == "the program's own":
        setting = f"database.url=sqlite:///{migrated_sqlite}"
        call = [sys.executable, "-m", "worker", "status", "--json", "--set", setting]
        answer.write_text(run(call, cwd=ROOT).stdout)
    else:
        answer.write_text(f'{{"open_run": {open_run}}}')
    admin = tmp_path / "pts-admin"
    write_program(admin, f'[ "$*" = "status --json" ] && cat {answer}\n')
    condition = one(service, "ExecCondition").replace("/usr/local/sbin/pts-admin", str(admin))
    assert run(shlex.split(condition)).returncode == code
    assert one(service, "ExecStart") == "/usr/bin/systemctl start --no-block %i.service"
    assert one(unit("pts-continue@.service")["Install"], "WantedBy") == "multi-user.target"


def test_textfile_lies_where_the_units_may_write():
    """The drop-in opens the very folder in which its variable puts the file."""
    service = unit("textfile.conf")["Service"]
    values = dict(value.split("=", 1) for value in service["Environment"])
    textfile = Path(values["PTS_TELEMETRY__TEXTFILE"])
    assert str(textfile.parent) == one(service, "ReadWritePaths")
    assert textfile.suffix == ".prom"
    loaded = load(
        {"database.url": ("sqlite:///pts.db", "--set")},
        environ=values,
        cwd=Path("/"),
        purpose="report",
    )
    assert loaded.settings.telemetry.textfile == textfile
