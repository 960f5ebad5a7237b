"""The nightly backups, as the unit and the CronJob make them: run, thinned out and copied back."""

import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from tests.support.deployment.deployed import KUBERNETES, PROGRAM, unit, write_program
from tests.support.made_databases import MakeDatabase
from tests.support.program import Installation
from tests.support.standin import Standin, person

KEPT = 14
ROWS = "SELECT local_ref, restriction_id FROM report_patient_safety_current ORDER BY 1, 2"


def unit_commands(folder: Path) -> list[list[str]]:
    """What systemd executes, in its order; the working directory is the state folder."""
    service = unit("pts-worker-backup.service")["Service"]
    lines = [line for key in ("ExecStart", "ExecStartPost") for line in service[key]]
    commands = []
    for line in lines:
        shell, option, script = line.split(" ", 2)
        script = script.strip("'").replace("%%", "%").replace("$$", "$")
        commands.append([shell, option, script.replace(PROGRAM, str(folder / "pts-worker"))])
    return commands


def pod_commands(folder: Path) -> list[list[str]]:
    """What the container executes, with the volume in a folder."""
    document = yaml.safe_load((KUBERNETES / "base" / "cronjob-backup.yaml").read_text())
    job = document["spec"]["jobTemplate"]["spec"]
    (container,) = job["template"]["spec"]["containers"]
    (script,) = container["args"]
    script = script.replace("/backup/", f"{folder}/backup/")
    return [[*container["command"], script.replace("pts-worker db", f"{folder}/pts-worker db")]]


@pytest.fixture(params=[unit_commands, pod_commands], ids=["unit", "CronJob"])
def backup(request: pytest.FixtureRequest, tmp_path: Path) -> list[list[str]]:
    write_program(tmp_path / "pts-worker", f'exec {sys.executable} -m worker "$@"\n')
    (tmp_path / "backup").mkdir(mode=0o700)
    commands: list[list[str]] = request.param(tmp_path)
    return commands


def execute(worker: Installation, commands: list[list[str]], **more: str) -> int:
    """Execute until one fails, as systemd does; returns the last exit code."""
    environment = {"PTS_CONFIG": str(worker.config), "PATH": os.environ["PATH"]} | more
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    for command in commands:
        done = subprocess.run(command, cwd=worker.folder, env=environment, check=False, timeout=300)
        if done.returncode:
            return done.returncode
    return 0


def test_a_backup_can_be_restored_and_the_newest_stay(
    standin: Standin, tmp_path: Path, sqlite_url: str, backup: list[list[str]]
) -> None:
    """Each is checked and named by its time; the oldest go, once the new one is there."""
    person(standin, 1, safeties=2)
    worker = standin.install(tmp_path, sqlite_url)
    assert worker.sync().code == 0
    rows = worker.store.rows(ROWS)
    assert len(rows) == 2
    folder = tmp_path / "backup"
    older = [folder / f"nightly-2026-01-{day:02}T060000Z.db" for day in range(1, KEPT + 4)]
    by_hand = [folder / "pts-2025-12-31.db", folder / "notes.txt"]
    for path in (*older, *by_hand):
        path.touch()
    assert execute(worker, backup, TZ="JST-9") == 0
    found = sorted(folder.glob("nightly-*.db"))
    assert found[:-1] == older[4:]
    made_at = datetime.strptime(f"{found[-1].stem}+0000", "nightly-%Y-%m-%dT%H%M%SZ%z")
    assert abs(datetime.now(UTC) - made_at) < timedelta(hours=1), "the Z of the name is UTC"
    assert (len(found), oct(found[-1].stat().st_mode & 0o777)) == (KEPT, "0o600")
    assert all(path.exists() for path in by_hand), "only its own files are counted and removed"

    shutil.copy(found[-1], worker.store.path)
    assert worker.run("db", "check").code == 0
    assert worker.store.rows(ROWS) == rows

    (worker.folder / "pseudonym.key").write_bytes(bytes(range(48)))
    before = sorted(folder.iterdir())
    assert execute(worker, backup) == 78
    assert sorted(folder.iterdir()) == before, "a backup that fails removes nothing"


def test_a_volume_that_its_group_can_write(
    standin: Standin, tmp_path: Path, make_sqlite: MakeDatabase
) -> None:
    """As Kubernetes' `fsGroup` makes them; `components/sqlite` sets database.group_readable."""
    person(standin, 1, safeties=1)
    worker = standin.install(tmp_path, make_sqlite())
    worker.configure(database={"group_readable": True})
    group = 10001 if os.geteuid() == 0 else os.getgid()  # only root can give folders away
    for folder in (worker.store.path.parent, tmp_path / "backup"):
        folder.mkdir(exist_ok=True)
        os.chown(folder, -1, group)
        folder.chmod(0o2770)
    copy = str(tmp_path / "backup" / "pts.db")
    for words in (["sync"], ["db", "backup", copy]):
        ended = worker.run(*words)
        assert ended.code == 0, ended.story()
    shutil.copyfile(copy, worker.store.path)
    assert worker.sync().code == 0
