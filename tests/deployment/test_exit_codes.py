"""Each exit code means the same to systemd, to Kubernetes, to cron and on the operator's page."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.support.deployment.deployed import (
    FOR_A_PERSON,
    OPERATIONS,
    OVER,
    RETRIED,
    Workload,
    allow_core_dumps,
    codes,
    cron_commands,
    cron_variables,
    one,
    run,
    unit,
    workloads,
    write_program,
)
from worker.errors import ExitCode

WITH_A_POLICY = [
    one for one in workloads() if one.name in {"pts-backfill", "pts-migrate", "pts-sync"}
]


def test_systemd_restarts_the_nightly_run_only_where_that_helps():
    """Gaps and a held lease are a success; 69, 75 and signals start again, and nothing else.

    So a missing key file (243) and a broken environment (203) alert at once.
    """
    service = unit("pts-sync.service")["Service"]
    assert one(service, "RestartMode") == "direct"  # else each start again would alert
    assert codes(service, "SuccessExitStatus") == OVER
    assert one(service, "Restart") == "on-abnormal"
    assert codes(service, "RestartForceExitStatus") == RETRIED
    assert "RestartPreventExitStatus" not in service


def test_systemd_keeps_the_scheduler_up_unless_a_person_must_look():
    """Being stopped is a clean end of the scheduler; the codes for a person keep it down."""
    service = unit("pts-worker-schedule.service")["Service"]
    assert one(service, "Restart") == "on-abnormal"
    assert codes(service, "SuccessExitStatus") == {ExitCode.STOPPED}
    assert codes(service, "RestartForceExitStatus") == RETRIED - {ExitCode.STOPPED}


@pytest.mark.nightly  # kustomize
@pytest.mark.parametrize("workload", WITH_A_POLICY, ids=str)
def test_kubernetes_retries_a_job_only_where_that_helps(workload: Workload):
    """69 and 75 count towards the retries, each other code ends the Job, disruptions do neither.

    A failed nightly Job names the rule: 1 for gaps and lease, 2 for what a person must see.
    """
    assert workload.pod["restartPolicy"] == "Never"  # else the API refuses the policy
    first, *rules = workload.job["podFailurePolicy"]["rules"]
    assert first == {
        "action": "Ignore",
        "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
    }
    listed = []
    for rule in rules:
        on_exit_codes = rule["onExitCodes"]
        assert on_exit_codes["containerName"] == workload.container["name"]
        assert on_exit_codes["operator"] == "In"
        listed.append((rule["action"], on_exit_codes["values"]))
    # The API takes codes only in order.
    assert listed == [
        ("FailJob", sorted(OVER)),
        ("FailJob", sorted(FOR_A_PERSON)),
        ("Count", sorted(RETRIED)),
    ]
    assert workload.job["backoffLimit"] > 0


@pytest.mark.parametrize("code", sorted(ExitCode), ids=lambda code: code.name)
def test_cron_mails_each_code_that_someone_must_see(code: ExitCode, tmp_path: Path):
    """A line with code and reason, and so a mail, where systemd alerts or starts again."""
    printed = run_cron_line(cron_commands()[0], tmp_path, sync=code, status=0)
    if code in OVER | {ExitCode.OK}:
        assert printed == ""
    else:
        assert printed == (
            f"pts-worker sync: exit code {code:d}: the reason (see {tmp_path / 'log'})\n"
        )
    assert "sync\n" in (tmp_path / "log").read_text()


@pytest.mark.parametrize(("fresh", "calls"), [(True, "status\n"), (False, "status\nsync\n")])
def test_cron_runs_again_only_where_the_night_left_no_fresh_snapshot(
    fresh: bool, calls: str, tmp_path: Path
):
    """The second line looks at the age of the snapshot before it starts another run."""
    run_cron_line(cron_commands()[1], tmp_path, sync=0, status=0 if fresh else 3)
    assert (tmp_path / "calls").read_text() == calls


@pytest.mark.parametrize("code", sorted(ExitCode))
def test_cron_does_not_repeat_what_a_person_must_look_at(code: ExitCode, tmp_path: Path):
    """Neither after the night's run nor after the first repetition; 69 and 75 are repeated."""
    run_cron_line(cron_commands()[0], tmp_path, sync=code, status=3)
    run_cron_line(cron_commands()[1], tmp_path, sync=ExitCode.REFUSED, status=3)
    again = [] if code in FOR_A_PERSON else ["status", "sync"]
    assert (tmp_path / "calls").read_text().split() == ["sync", *again]
    run_cron_line(cron_commands()[1], tmp_path, sync=0, status=3)
    assert (tmp_path / "calls").read_text().split() == ["sync", *again]


def test_cron_mails_when_the_snapshot_is_too_old(tmp_path: Path):
    """The third line prints only when `status --max-age` says so."""
    assert run_cron_line(cron_commands()[2], tmp_path, sync=0, status=0) == ""
    assert "too old" in run_cron_line(cron_commands()[2], tmp_path, sync=0, status=3)


def test_crontab_lines_hold_no_percent_sign():
    """An unescaped percent sign is to cron the end of the command."""
    assert len(cron_commands()) == 3
    assert not [command for command in cron_commands() if "%" in command]


def test_operators_page_has_every_exit_code():
    """The table in docs/operations.md has one row a code, in order, with what systemd does."""
    rows = re.findall(r"(?m)^\| (\d+) \|.*\| ([^|]+) \| ([^|]+) \|$", OPERATIONS.read_text())
    assert [int(code) for code, _, _ in rows] == sorted(ExitCode)
    for code, systemd, kubernetes in rows:
        alert, retried = int(code) in FOR_A_PERSON, int(code) in RETRIED
        assert (systemd == "alert") == alert
        assert systemd.startswith("again") == retried
        assert kubernetes.startswith("another pod") == retried


def of_alert(folder: Path, key: str, **shown: object) -> subprocess.CompletedProcess[str]:
    """Run a line of the alert unit, with stand-ins for systemctl and logger."""
    properties = "\n".join(f"{name}={value}" for name, value in shown.items())
    (folder / "shown").write_text(properties + "\n")
    write_program(
        folder / "systemctl",
        'for last; do :; done\n[ "$1 $last" = "show pts-sync.service" ] || exit 9\n'
        f'case $2 in --value) sed -n "s/^${{3#--property=}}=//p" {folder}/shown ;;\n'
        f"*) cat {folder}/shown ;; esac\n",
    )
    write_program(folder / "logger", 'for last; do :; done\necho "$last"\n')
    (line,) = unit("pts-alert@.service")["Service"][key]
    return run(
        shlex.split(line.replace("%i", "pts-sync.service").replace("$$", "$")),
        env={"PATH": f"{folder}:/usr/bin:/bin"},
    )


@pytest.mark.parametrize(
    ("status", "state", "pages"),
    [
        *((code, "failed", True) for code in sorted(FOR_A_PERSON | {ExitCode.UNAVAILABLE})),
        (9, "failed", True),  # killed
        (ExitCode.STOPPED, "failed", False),
        (ExitCode.UNAVAILABLE, "auto-restart", False),  # a systemd before 254
    ],
)
def test_nobody_is_paged_for_a_stop_or_before_the_last_start(
    status: int, state: str, pages: bool, tmp_path: Path
):
    """The alert unit looks at how the failed one ended, and whether it is started again."""
    done = of_alert(tmp_path, "ExecCondition", SubState=state, ExecMainStatus=f"{status:d}")
    assert done.returncode == (0 if pages else 1)


@pytest.mark.parametrize(
    ("status", "result", "reason", "said"),
    [
        (78, "exit-code", 'no "key" at $HOME', '78 (exit-code): no "key" at $HOME'),
        (243, "exit-code", "", "243 (exit-code): see journalctl --unit pts-sync.service"),
    ],
)
def test_the_alert_says_exit_code_and_reason(
    status: int, result: str, reason: str, said: str, tmp_path: Path
):
    """In one line: what the worker left in its unit's status, or where to look."""
    done = of_alert(tmp_path, "ExecStart", ExecMainStatus=status, Result=result, StatusText=reason)
    assert done.stdout == f"pts-sync.service failed with exit code {said}\n"


def run_cron_line(command: str, folder: Path, *, sync: int, status: int) -> str:
    """Run a crontab line with a stand-in for the worker; what cron would mail.

    Lines that are run in the same folder see what earlier ones left.
    """
    stub = folder / "worker"
    write_program(
        stub,
        f'echo "$1" | tee -a {folder}/calls\nulimit -c >>{folder}/core\n'
        "echo pts-worker: the reason >&2\n"
        f'case "$1" in status) exit {status} ;; *) exit {sync:d} ;; esac\n',
    )
    done = run(
        ["/bin/sh", "-c", command],
        env=cron_variables()
        | {"WORKER": str(stub), "LOG": str(folder / "log"), "CODE": str(folder / "code")},
        preexec_fn=allow_core_dumps,
    )
    assert done.stderr == ""
    assert set((folder / "core").read_text().split()) == {"0"}  # it would hold tokens
    return done.stdout
