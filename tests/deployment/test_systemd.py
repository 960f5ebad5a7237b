"""The units are complete, agree with one another and shut the process in."""

import re
import shlex
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.deployment.deployed import PROGRAM, SYSTEMD, one, unit, units
from worker.core.durations import parse_duration

WORKERS = [name for name in units("service") if "User" in unit(name)["Service"]]

HARDENING = {
    "NoNewPrivileges": "yes",
    "CapabilityBoundingSet": "",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "ProtectKernelModules": "yes",
    "ProtectKernelTunables": "yes",
    "ProtectControlGroups": "yes",
    "PrivateTmp": "yes",
    "PrivateDevices": "yes",
    "RestrictAddressFamilies": "AF_INET AF_INET6 AF_UNIX",
    "RestrictNamespaces": "yes",
    "RestrictSUIDSGID": "yes",
    "LockPersonality": "yes",
    "UMask": "0077",
    "LimitCORE": "0",  # a core dump would hold tokens and identifiers
}


def test_there_is_a_unit_for_each_way_to_run():
    """The nightly run, its shards, the scheduler and the look at the snapshot's age."""
    assert WORKERS == [
        "pts-freshness.service",
        "pts-sync-shard@.service",
        "pts-sync.service",
        "pts-worker-schedule.service",
    ]


def test_shards_have_the_day_for_a_key():
    """What systemd hands to the shell makes the same key on every machine; the number is the %i."""
    (command,) = unit("pts-sync-shard@.service")["Service"]["ExecStart"]
    shell, option, script = shlex.split(command)
    script = script.replace("%i", "3").replace("%%", "%").replace("$$", "$")
    script = script.replace(PROGRAM, "printf '%s\\n'").replace("exec ", "")
    done = subprocess.run(
        [shell, option, script], capture_output=True, text=True, check=True, timeout=60
    )
    day = datetime.now(UTC).date()
    words = done.stdout.split()
    assert words[:4] == ["sync", "--shard", "3/4", "--run-key"]
    assert words[4] in {str(day), str(day - timedelta(days=1))}
    assert words[5:] == ["--wait", "30m"]


def test_the_shards_unit_is_the_nightly_one():
    """But for which part of the run it is, nothing differs."""
    whole, shard = unit("pts-sync.service"), unit("pts-sync-shard@.service")
    differing = {("Unit", "Description"), ("Service", "ExecStart")}
    assert {(name, key) for name in whole for key in whole[name]} == {
        (name, key) for name in shard for key in shard[name]
    }
    assert differing == {
        (name, key) for name in whole for key in whole[name] if whole[name][key] != shard[name][key]
    }


@pytest.mark.parametrize("name", WORKERS)
def test_unit_shuts_the_process_in(name: str):
    """It may write its state folder and use the network, and nothing else; it is not root."""
    service = unit(name)["Service"]
    assert {key: one(service, key) for key in HARDENING} == HARDENING
    assert service["SystemCallFilter"] == ["@system-service", "~@privileged @resources"]
    assert one(service, "User") == "pts-worker"
    assert one(service, "StateDirectory") == "pts-worker"
    assert one(service, "WorkingDirectory") == "/var/lib/pts-worker"
    assert "ReadWritePaths" not in service


@pytest.mark.parametrize("name", WORKERS)
def test_unit_ends_and_tells(name: str):
    """A stuck process is ended, a stop leaves the worker its 10 s, and a failure alerts."""
    sections = unit(name)
    service = sections["Service"]
    if one(service, "Type") == "oneshot":
        assert parse_duration(one(service, "TimeoutStartSec").replace("min", "m"))
    if name != "pts-freshness.service":
        assert parse_duration(one(service, "TimeoutStopSec")).total_seconds() > 10
    assert one(sections["Unit"], "OnFailure") == "pts-alert@%n.service"
    assert (SYSTEMD / "pts-alert@.service").exists()


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
    """A machine that was down at the time runs when it is up; not all start at one second."""
    timer = unit("pts-sync.timer")["Timer"]
    assert one(timer, "Persistent") == "true"
    assert parse_duration(one(timer, "RandomizedDelaySec").replace("min", "m"))


def test_retries_end_before_the_next_night():
    """The starts that are allowed fit into the interval that counts them, and it into a day."""
    sections = unit("pts-sync.service")
    every = parse_duration(one(sections["Service"], "RestartSec").replace("min", "m"))
    interval = parse_duration(one(sections["Unit"], "StartLimitIntervalSec"))
    assert every * int(one(sections["Unit"], "StartLimitBurst")) < interval
    assert interval < parse_duration("24h")


def test_command_by_hand_runs_as_the_units_do(tmp_path: Path):
    """pts-admin hands the units' credentials and configuration to the command, and its input."""
    worker = tmp_path / "pts-worker"
    worker.write_text('#!/bin/sh\nenv | grep ^PTS_ | sort\necho "$#:$*"\ncat\nexit 3\n')
    keys = tmp_path / "keys"
    keys.mkdir()
    credential_folder = tmp_path / "credentials"
    credential_folder.mkdir()
    for name in ("helseid.jwk.json", "pseudonym.key", "database.password"):
        (keys / name).touch()
    # A stand-in that does of systemd-run what matters here: options, credentials, the command.
    (tmp_path / "systemd-run").write_text(
        "#!/bin/sh\nwhile :; do case $1 in\n"
        "--property=LoadCredential=*) pair=${1#--property=LoadCredential=}\n"
        f'  cp "${{pair#*:}}" "{credential_folder}/${{pair%%:*}}" || exit 99 ;;\n'
        '--setenv=*) export "${1#--setenv=}" ;;\n--*) ;;\n*) break ;;\nesac; shift; done\n'
        f'CREDENTIALS_DIRECTORY={credential_folder} exec "$@"\n'
    )
    script = (SYSTEMD / "pts-admin").read_text()
    script = script.replace(PROGRAM, str(worker)).replace("/etc/pts-worker/keys", str(keys))
    for file in (worker, tmp_path / "systemd-run"):
        file.chmod(0o755)
    done = subprocess.run(
        ["/bin/sh", "-c", script, "pts-admin", "explain", "--as-of", "2026-01-01 00:00"],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        input="from standard input\n",
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "PTS_CONFIG=/etc/pts-worker/worker.toml",
        f"PTS_DATABASE__PASSWORD_FILE={credential_folder}/database-password",
        f"PTS_HELSEID__PRIVATE_JWK_FILE={credential_folder}/helseid-key",
        f"PTS_PRIVACY__PSEUDONYM_KEY_FILE={credential_folder}/pseudonym-key",
        "3:explain --as-of 2026-01-01 00:00",
        "from standard input",
    ]
    assert done.returncode == 3
