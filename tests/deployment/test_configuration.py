"""Configuration files of both ways to run it load and lack nothing; each call is one it knows."""

import re
import shlex
import tomllib
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path

import pytest

from tests.support.deployment.deployed import (
    CRONTAB,
    KUBERNETES,
    PROGRAM,
    ROOT,
    SYSTEMD,
    allow_core_dumps,
    cron_commands,
    manifests,
    one,
    run,
    unit,
    units,
    workloads,
    write_program,
)
from tools.docs.command_line import described
from worker.config import Loaded, load
from worker.config.needs import Purpose
from worker.core.times import parse_duration

SECRETS = "/run/secrets/pts-worker"


def calls() -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each call of the worker that is written somewhere: where, and its arguments."""
    for name in units("service"):
        for command in unit(name)["Service"]["ExecStart"]:
            if command.startswith(PROGRAM):
                yield name, tuple(shlex.split(command)[1:])
            elif PROGRAM in command:  # in a shell
                script = shlex.split(command)[-1]
                yield name, tuple(shlex.split(script.partition(PROGRAM)[2]))
    for workload in workloads(("production",)):
        args = tuple(str(argument) for argument in workload.container["args"])
        if "command" in workload.container:  # a shell
            args = tuple(shlex.split(args[0].partition("pts-worker ")[2].splitlines()[0]))
        yield workload.name, args
    for command in cron_commands():
        for match in re.finditer(r'"\$WORKER" ([^>]+?) \d?>', command):
            yield CRONTAB.name, tuple(shlex.split(match[1]))


def credentials(name: str) -> dict[str, str]:
    """The files that a unit hands to the worker: name → file."""
    return dict(entry.split(":", 1) for entry in unit(name)["Service"].get("LoadCredential", []))


def variables(name: str, folder: Path) -> dict[str, str]:
    """The environment that a unit gives, with ``%d`` as systemd would fill it in."""
    values = unit(name)["Service"].get("Environment", [])
    return dict(value.replace("%d", str(folder)).split("=", 1) for value in values)


def make_secret(path: Path) -> None:
    """A file with the mode that systemd's credentials and the secret volumes have."""
    path.write_bytes(b"x" * 32)
    path.chmod(0o440)


def load_as_deployed(
    source: Path, folder: Path, environ: Mapping[str, str], purpose: Purpose = "sync"
) -> Loaded:
    """Load a configuration whose files are made up in a folder."""
    for name in ("helseid.jwk.json", "pseudonym.key", "roster.csv"):
        make_secret(folder / name)
    environ = {name: value.replace(SECRETS, str(folder)) for name, value in environ.items()}
    text = source.read_text()
    text = text.replace(SECRETS, str(folder)).replace("/roster/", f"{folder}/")
    text = text.replace("/var/lib/pts-worker/roster.csv", str(folder / "roster.csv"))
    config = folder / "worker.toml"
    config.write_text(text)
    return load(environ=environ, cwd=folder, config_path=config, purpose=purpose)


@pytest.mark.parametrize("name", ["pts-sync.service", "pts-worker-schedule.service"])
def test_unit_gives_the_worker_all_that_a_run_needs(name: str, tmp_path: Path):
    """With the unit's variables and credentials the example configuration is complete."""
    for credential in credentials(name):
        make_secret(tmp_path / credential)
    environ = variables(name, tmp_path)
    assert environ.pop("PTS_CONFIG") == "/etc/pts-worker/worker.toml"
    loaded = load_as_deployed(SYSTEMD / "worker.toml", tmp_path, environ)
    key = loaded.settings.helseid.private_jwk_file
    assert str(key) == str(tmp_path / "helseid-key")


def test_cron_gives_the_worker_all_that_a_run_needs(tmp_path: Path):
    """With the crontab's variables the same example is complete, and pts-admin sets the same."""
    pattern = r"(?m)^(?:export )?(PTS_[A-Z_]+)=(\S+)$"
    environ = dict(re.findall(pattern, CRONTAB.read_text()))
    by_hand = dict(re.findall(pattern, (CRONTAB.parent / "pts-admin").read_text()))
    assert environ == by_hand | {"PTS_LOG__FORMAT": "json"}
    assert environ.pop("PTS_CONFIG") == "/etc/pts-worker/worker.toml"
    keys = "/etc/pts-worker/keys"
    environ = {name: value.replace(keys, str(tmp_path)) for name, value in environ.items()}
    loaded = load_as_deployed(SYSTEMD / "worker.toml", tmp_path, environ)
    # Otherwise a roster that takes longer than the deadline would begin anew every night.
    assert loaded.settings.sync.continue_within > timedelta(hours=24)


@pytest.mark.parametrize(("sudo", "account"), [({"SUDO_USER": "kari"}, "kari"), ({}, "operator")])
def test_command_by_hand_under_cron_is_the_workers_user(
    sudo: dict[str, str], account: str, tmp_path: Path
):
    """Without systemd pts-admin changes the user itself, and hands on input and exit code.

    The access log has the account that called it, also without sudo.
    """
    write_program(tmp_path / "id", "case $1 in -u) echo 0 ;; *) echo operator ;; esac\n")
    write_program(
        tmp_path / "runuser",
        '[ "$1 $2 $3" = "-u pts-worker --" ] || exit 99\n'
        'shift 3; echo "$#:$*"; ulimit -c; pwd; echo $SUDO_USER; cat; exit 3\n',
    )
    script = (CRONTAB.parent / "pts-admin").read_text().replace("/var/lib/pts-worker", "/")
    done = run(
        ["/bin/sh", "-c", script, "pts-admin", "explain", "--as-of", "2026-01-01 00:00"],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"} | sudo,
        input="from standard input\n",
        preexec_fn=allow_core_dumps,
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        f"4:{PROGRAM} explain --as-of 2026-01-01 00:00",
        "0",
        "/",
        account,
        "from standard input",
    ]
    assert done.returncode == 3


HANDED_OVER = {
    "helseid-key": ("helseid.jwk.json", "PTS_HELSEID__PRIVATE_JWK_FILE"),
    "pseudonym-key": ("pseudonym.key", "PTS_PRIVACY__PSEUDONYM_KEY_FILE"),
    "database-password": ("database.password", "PTS_DATABASE__PASSWORD_FILE"),
}
"""Each credential of the units, with its file and its variable."""


@pytest.mark.parametrize("name", [*units("service"), "postgresql.conf"])
def test_unit_reads_only_credentials_that_it_loads(name: str):
    """Each file under ``%d`` has its ``LoadCredential=``, and the other way round."""
    values = unit(name)["Service"].get("Environment", [])
    read = {value.rpartition("%d/")[2] for value in values if "%d/" in value}
    assert read == set(credentials(name))
    for credential, path in credentials(name).items():
        file, variable = HANDED_OVER[credential]
        assert path == f"/etc/pts-worker/keys/{file}"
        assert f"{variable}=%d/{credential}" in values


def environment(overlay: str, *, is_complete: bool = False) -> dict[str, str]:
    """The variables of an overlay; those that are commented out too if it is to be complete."""
    text = (KUBERNETES / overlay / "environment.env").read_text()
    return dict(re.findall(rf"(?m)^{'(?:# )?' if is_complete else ''}(PTS_\w+)=(.+)$", text))


@pytest.mark.parametrize("is_complete", [False, True])
@pytest.mark.parametrize("overlay", ["production", "test"])
def test_config_maps_have_all_that_a_run_needs(overlay: str, is_complete: bool, tmp_path: Path):
    """With the volumes mounted the ConfigMaps' configuration is complete."""
    made = manifests(overlay)
    assert made["pts-worker-environment"]["data"] == environment(overlay)
    (text,) = made["pts-worker"]["data"].values()
    (tmp_path / "from.toml").write_text(text)
    make_secret(tmp_path / "database.password")
    variables = environment(overlay, is_complete=is_complete)
    settings = load_as_deployed(tmp_path / "from.toml", tmp_path, variables).settings
    assert settings.log.format == "json"
    assert settings.api.environment == overlay
    assert (settings.telemetry.pushgateway_url is not None) == is_complete
    assert settings.database.password_file == tmp_path / "database.password"
    # A Job ends after one night: the next one goes on with its run.
    assert settings.sync.continue_within > timedelta(days=1)


def test_sqlite_component_needs_no_password(tmp_path: Path):
    """Its database is a file on the volume, which the group of the pod may write."""
    made = manifests("production", "sqlite")
    (text,) = made["pts-worker"]["data"].values()
    (tmp_path / "from.toml").write_text(text)
    variables = made["pts-worker-environment"]["data"]
    database = load_as_deployed(tmp_path / "from.toml", tmp_path, variables).settings.database
    assert (database.url, database.group_readable) == ("sqlite:////data/pts.db", True)


def test_a_backup_has_time_for_a_large_database():
    """An hour at least, and over before the next one. systemd's own limit would be 90 s."""
    service = unit("pts-worker-backup.service")["Service"]
    limits = [parse_duration(one(service, "TimeoutStartSec")), *job_limits("pts-backup")]
    assert timedelta(hours=1) < min(limits) <= max(limits) < timedelta(hours=24)


def test_the_worker_ends_a_run_before_the_platform_does():
    """The run's own deadline comes first, with time for its stop and for waiting for the lease."""
    for source, limit in (
        (SYSTEMD, parse_duration(one(unit("pts-sync.service")["Service"], "RuntimeMaxSec"))),
        *((KUBERNETES / "base", limit) for limit in job_limits("pts-sync", "pts-backfill")),
    ):
        sync = tomllib.loads((source / "worker.toml").read_text())["sync"]
        slack = limit - parse_duration(sync["deadline"])
        assert slack > timedelta(minutes=30, seconds=10)  # --wait 30m, and 10 s to stop


def job_limits(*names: str) -> list[timedelta]:
    """The ``activeDeadlineSeconds`` of each CronJob in every overlay."""
    return [
        timedelta(seconds=workload.job["activeDeadlineSeconds"])
        for workload in workloads()
        if workload.name in names
    ]


def test_each_call_is_one_that_the_worker_knows():
    """The command exists, and has each option that is used."""
    known = dict(described())
    for where, arguments in calls():
        command = known.get(arguments[:2]) or known[arguments[:1]]
        options = {option for param in command.params for option in param.opts}
        assert {word for word in arguments if word.startswith("--")} <= options, where


def test_every_platform_calls_alike():
    """Too old is 36 h, as the alert rule has it; the night waits for a backfill that has the lease.

    Cron repeats a night without a publication since its start, which was at most 3 h before.
    """
    found = {
        (where, arguments[0], arguments[2])
        for where, arguments in calls()
        if arguments[1:2] in {("--max-age",), ("--wait",)}
    }
    assert found == {
        *((where, "status", "36h") for where in ("pts-freshness.service", "pts-freshness")),
        *((CRONTAB.name, "status", age) for age in ("6h", "36h")),
        *((where, "sync", "30m") for where in ("pts-sync.service", "pts-sync")),
    }
    # Twice, so that a person is still at work.
    assert one(unit("pts-freshness.timer")["Timer"], "OnCalendar").startswith("*-*-* 08,14:00:00 ")
    assert manifests()["pts-freshness"]["spec"]["schedule"] == "0 8,14 * * *"
    assert re.search(r"(?m)^0 8,14 \* \* \* .*--max-age 36h", CRONTAB.read_text())


def test_ci_has_the_programs_that_the_tests_ask_for():
    """What `tool()` would skip elsewhere is installed in CI."""
    (programs,) = re.findall(r"for program in (.+); do", (ROOT / ".ci" / "run").read_text())
    sources = [path.read_text() for path in (ROOT / "tests").rglob("*.py")]
    asked = {name for text in sources for name in re.findall(r'\btool\("([\w-]+)"\)', text)}
    assert asked - {"systemd-analyze"} - set(programs.split()) == set()
