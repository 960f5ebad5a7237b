"""Each exit code means the same to systemd, to Kubernetes, to cron and on the operator's page."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

from tests.support.deployment.deployed import (
    CRONTAB,
    FOR_A_PERSON,
    OVER,
    RETRIED,
    ROOT,
    SYSTEMD,
    Workload,
    allow_core_dumps,
    codes,
    cron_commands,
    one,
    run,
    unit,
    workloads,
    write_program,
)
from worker.errors import ExitCode

OPERATIONS: Final = ROOT / "docs" / "operations.md"


CREDENTIALS = ("helseid.jwk.json", "pseudonym.key")
WITH_A_POLICY = [
    one for one in workloads() if one.name in {"pts-backfill", "pts-migrate", "pts-sync"}
]


def cron_variables() -> dict[str, str]:
    """The variables that the crontab sets, and the path that cron does."""
    lines = CRONTAB.read_text().splitlines()
    matches = [match for line in lines if (match := re.fullmatch(r"([A-Z_]+)=(.*)", line))]
    return {"PATH": "/usr/bin:/bin"} | {match[1]: match[2] for match in matches}


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
    assert one(service, "RestartMode") == "direct"
    assert codes(service, "SuccessExitStatus") == {ExitCode.STOPPED}
    assert codes(service, "RestartForceExitStatus") == RETRIED - {ExitCode.STOPPED}


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


CRON_FIRST: Final = {
    ExitCode.GAPS: "status",
    ExitCode.WITHHELD: "status",
    ExitCode.DATA_CONTRACT: "doctor --probe",
    ExitCode.UNAVAILABLE: "doctor --probe",
    ExitCode.REFUSED: "doctor --probe",
}
"""The first command of a mail, if that is not ``doctor``."""


@pytest.mark.parametrize("code", sorted(ExitCode), ids=lambda code: code.name)
def test_cron_mails_each_code_that_someone_must_see(code: ExitCode, tmp_path: Path):
    """A line with code and reason, and so a mail, where systemd alerts or starts again."""
    printed = run_cron_line(cron_commands()[0], tmp_path, sync=code, status=0)
    if code in OVER | {ExitCode.OK}:
        assert printed == ""
    else:
        assert printed == (
            f"pts-worker sync: exit code {code:d}: the reason. First: sudo pts-admin "
            f"{CRON_FIRST.get(code, 'doctor')} (log: {tmp_path / 'log'})\n"
        )
    assert "sync\n" in (tmp_path / "log").read_text()


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (
            "echo 'pts-worker: two keys:\n  - a: unknown\n  → see b'; exit 78",
            "78: two keys: - a: unknown → see b. First: sudo pts-admin doctor",
        ),
        (
            "echo 'run 2 (sync): withheld\n  ! 9 of 9\n  ! run `sync --accept-removals`'; exit 5",
            "5: 9 of 9. First: sudo pts-admin status",
        ),
        (
            "echo 'run 2 (sync)\n  ! empty\n  ! correct it'; exit 65",
            "65: empty. correct it. First: sudo pts-admin doctor --probe",
        ),
        (
            (
                f"echo 'run 2 (sync)\n  ! {'long words ' * 99}\n  ! bad lines\n  ! correct it\n"
                "  ! slower than configured'; exit 5"
            ),
            "long words …. correct it. First: sudo pts-admin status",
        ),
        ("kill -KILL $$", "137: the worker was killed. First: sudo dmesg (is memory short?)"),
        ("exec /nowhere/pts-worker", "/nowhere/pts-worker: not found. First: put the program back"),
        ("exit 78", "78: the log has no reason. First: sudo pts-admin doctor"),
    ],
)
def test_cron_mails_the_reason_of_this_start(script: str, reason: str, tmp_path: Path):
    """With its remedy, never the one of an earlier start, and never an offer to accept removals."""
    (tmp_path / "log").write_text("pts-worker: of an earlier night\n")
    mail = mail_of(cron_commands()[0], tmp_path, script)
    assert reason in mail
    assert "earlier" not in mail


def test_cron_runs_without_its_log(tmp_path: Path):
    """The mail has the reason all the same, and the shell's message about the log."""
    (tmp_path / "log").mkdir()
    mail = mail_of(cron_commands()[0], tmp_path, "echo pts-worker: the reason; exit 78")
    assert "exit code 78: the reason. First: sudo pts-admin doctor (log: " in mail
    assert str(tmp_path / "log") in mail


def test_cron_mails_the_reason_of_a_failed_backup(tmp_path: Path):
    """Of the shell, if the folder cannot be made; of the worker otherwise.

    The folder is the worker's alone, and the newest 14 stay.
    """
    (line,) = re.findall(r"(?m)^# 0 7 \* \* \*  pts-worker  (.+)$", CRONTAB.read_text())
    command = line.replace("\\%", "%").replace("/var/lib/pts-worker", str(tmp_path / "state"))
    (tmp_path / "log").write_text("pts-worker: of an earlier night\n")
    (tmp_path / "state").touch()
    mail = mail_of(command, tmp_path, "exit 9")
    assert re.search(r"db backup failed: mkdir: .*state.*\. First: sudo pts-admin doctor", mail)
    (tmp_path / "state").unlink()
    mail = mail_of(command, tmp_path, "echo pts-worker: no room; exit 69")
    assert "db backup failed: no room. First: sudo pts-admin doctor" in mail
    folder = tmp_path / "state" / "backup"
    for day in range(10, 25):
        (folder / f"nightly-2026-01-{day}T060000Z.db").touch()
    assert mail_of(command, tmp_path, 'touch "$3"') == ""
    assert (len(list(folder.iterdir())), oct(folder.stat().st_mode)) == (14, "0o40700")


def mail_of(command: str, folder: Path, script: str) -> str:
    """What cron would mail of a line whose worker is this script."""
    write_program(folder / "worker", f"{script}\n")
    places = {name: str(folder / name.lower()) for name in ("WORKER", "LOG", "CODE")}
    environ = cron_variables() | places | {"TMPDIR": str(folder)}
    done = run(["/bin/sh", "-c", command], env=environ)
    return done.stdout + done.stderr


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


def test_cron_forgets_the_code_of_the_night_before(tmp_path: Path):
    """A night that is killed leaves none, and its repetition must not see an older one."""
    (tmp_path / "code").write_text(f"{ExitCode.REFUSED:d}\n")
    mail_of(cron_commands()[0], tmp_path, "kill -KILL $PPID")
    assert not (tmp_path / "code").exists()


def test_cron_mails_somebody_and_its_log_is_kept_short():
    """Mail goes to a person, and logrotate may write the folder that is the worker's alone."""
    assert "@" in cron_variables()["MAILTO"]
    rotated = CRONTAB.with_name("pts-worker.logrotate").read_text().split("\n")
    (pattern,) = (line.removesuffix(" {") for line in rotated if line.endswith(" {"))
    assert Path(cron_variables()["LOG"]).match(pattern)
    # A run that is on writes to the file that was just renamed.
    assert {"    su pts-worker pts-worker", "    delaycompress"} <= set(rotated)
    assert {"    weekly", "    rotate 12"} <= set(rotated), "a quarter of a year"


@pytest.mark.parametrize("code", [ExitCode.OK, ExitCode.GAPS, ExitCode.UNAVAILABLE])
def test_cron_mails_when_the_copy_is_too_old(code: ExitCode, tmp_path: Path):
    """The third line prints code and reason of `status --max-age`, unless that is 0."""
    printed = run_cron_line(cron_commands()[2], tmp_path, sync=0, status=code)
    old = "the copy is too old; last full publication 2026-01-02: NOT FRESH (--max-age 36h)"
    reasons = {ExitCode.OK: "", ExitCode.GAPS: old, ExitCode.UNAVAILABLE: "the reason"}
    first = CRON_FIRST.get(code, "doctor")
    reason = reasons[code] and (
        f"pts-worker status: exit code {code:d}: {reasons[code]}. First: sudo pts-admin {first}\n"
    )
    assert printed == reason


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


REASON = 'no "key" at $HOME'
JOURNAL: Final = "journal"
BY_HAND = (
    "sudo systemctl reset-failed pts-sync.service; sudo systemctl start --no-block pts-sync.service"
)
"""The commands that start a unit whose retries are used up."""


def alert(
    folder: Path, environ: Mapping[str, str], shown: Mapping[str, str], *, version: int = 257
) -> str:
    """What the alert script prints and logs, with stand-ins for systemctl and logger."""
    lines = "\n".join(f"{name}={value}" for name, value in shown.items())
    (folder / "shown").write_text(lines + "\n")
    (folder / JOURNAL).touch()
    write_program(
        folder / "systemctl",
        'for last; do :; done\ncase "$1" in\n'
        f"--version) echo 'systemd {version} (1)' ;;\n"
        f"cat) cat {SYSTEMD}/$last ;;\n"
        f'show) sed -n "s/^${{3#--property=}}=//p" {folder}/shown ;;\nesac\n',
    )
    write_program(folder / "journalctl", f'[ "$1" = --sync ] || cat {folder}/{JOURNAL}\n')
    write_program(
        folder / "logger",
        f'[ "$2" = daemon.alert ] || exit 9\nfor last; do :; done\necho "$last" >{folder}/logged\n',
    )
    done = run(
        ["/bin/sh", str(SYSTEMD / "pts-alert"), "pts-sync.service"],
        env={"PATH": f"{folder}:/usr/bin:/bin", **environ},
    )
    logged = folder / "logged"
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (logged.read_text() if logged.exists() else "")
    return done.stdout.rstrip("\n")


def handed_over(code: int | str, result: str = "exit-code") -> dict[str, str]:
    """What systemd tells the alert of the start that failed."""
    names = ("MONITOR_EXIT_STATUS", "MONITOR_SERVICE_RESULT", "MONITOR_INVOCATION_ID")
    return dict(zip(names, (f"{code}", result, "a1"), strict=True))


FIRST: Final = {
    ExitCode.GAPS: "sudo pts-admin status",
    ExitCode.WITHHELD: "sudo pts-admin status",
    ExitCode.DATA_CONTRACT: "sudo pts-admin doctor --probe",
    ExitCode.UNAVAILABLE: "sudo pts-admin doctor --probe",
    ExitCode.REFUSED: "sudo pts-admin doctor --probe",
    ExitCode.BUG: "sudo journalctl _SYSTEMD_INVOCATION_ID=a1",
}
"""The first command of an alert, if that is not ``doctor``."""


@pytest.mark.parametrize("code", sorted(FOR_A_PERSON | {ExitCode.UNAVAILABLE, ExitCode.GAPS}))
def test_an_alert_is_the_unit_the_code_and_the_reason(code: ExitCode, tmp_path: Path):
    """In one line, in that order, with the first command: the operator's page is ordered alike."""
    text = alert(tmp_path, handed_over(code), {"InvocationID": "a1", "StatusText": REASON})
    first = FIRST.get(code, "sudo pts-admin doctor")
    assert text == f"pts-sync.service failed with exit code {code:d}: {REASON}. First: {first}"


def test_an_alert_is_about_the_start_that_failed(tmp_path: Path):
    """A reset and another start since then change neither its code nor its reason."""
    reset = {"InvocationID": "a1", "StatusText": REASON, "Result": "success"}
    text = alert(tmp_path, handed_over(78), reset)
    assert text.startswith(f"pts-sync.service failed with exit code 78: {REASON}. ")
    again = {"InvocationID": "b2", "StatusText": "reading", "ExecMainStatus": "0"}
    text = alert(tmp_path, handed_over(78), again)
    where = "the reason is in journalctl _SYSTEMD_INVOCATION_ID=a1"
    assert f"exit code 78: {where}. First: sudo pts-admin doctor" in text


@pytest.mark.parametrize(
    ("journal", "reason"),
    [
        (
            "pts-worker: two keys:\n  - a: unknown\n  - b: unknown\n  → see",
            "two keys: - a: unknown",
        ),
        (
            "run 2 (sync): withheld\n  ! withheld: 9 of 9\n  ! check PTS\n",
            "withheld: 9 of 9. First",
        ),
    ],
)
def test_the_journal_has_the_reason_of_an_earlier_start(journal: str, reason: str, tmp_path: Path):
    """An error of the command, and the summary of a run, when another start came since."""
    (tmp_path / JOURNAL).write_text(f'{{"event": "run.started"}}\n{journal}')
    again = {"InvocationID": "b2", "StatusText": "reading", "ExecMainStatus": "0"}
    assert f"exit code 78: {reason}" in alert(tmp_path, handed_over(78), again)


def test_the_last_alert_of_an_outage_has_the_commands(tmp_path: Path):
    """After the last retry `systemctl start` starts nothing; at most 400 characters."""
    shown = {"InvocationID": "a1", "StatusText": "x" * 173, "NRestarts": "7"}
    text = alert(tmp_path, handed_over(69), shown)
    assert text.endswith(f"No more retries. Then: {BY_HAND}")
    assert len(text) <= 400
    (tmp_path / JOURNAL).write_text("pts-worker: " + "long words " * 99)
    text = alert(tmp_path, handed_over(69), shown | {"InvocationID": "b2"})
    assert len(text) <= 400
    assert " long words …. First: sudo pts-admin doctor --probe. " in text
    text = alert(tmp_path, handed_over(69), shown | {"NRestarts": "0"})
    assert "No more retries" not in text
    for code in (ExitCode.OK, *sorted(OVER)):
        text = alert(tmp_path, handed_over(code, "start-limit-hit"), shown)
        assert "it was started too often; its last start succeeded. First: sudo pts-admin" in text
        assert ("pts-admin status. " in text) == (code != ExitCode.LEASE_HELD)


def test_an_alert_names_the_file_that_is_missing(tmp_path: Path):
    """Systemd's own codes: 203 is a program, 243 a credential."""
    program = "{ path=/opt/pts-worker/bin/pts-worker ; argv[]=/opt/pts-worker/bin/pts-worker }"
    shown = {"InvocationID": "a1", "StatusText": "", "ExecStart": program}
    text = alert(tmp_path, handed_over(203), shown)
    assert "203: the program /opt/pts-worker/bin/pts-worker is missing" in text
    text = alert(tmp_path, handed_over(243), shown)
    missing = [f"the credential /etc/pts-worker/keys/{name}" for name in CREDENTIALS]
    assert [one for one in missing if f"{one} is missing" not in text] == []
    assert text.endswith(f"First: put it back, then {BY_HAND}")


@pytest.mark.parametrize(
    ("version", "state", "code", "is_sent"),
    [
        (257, "failed", ExitCode.STOPPED, False),
        (257, "auto-restart", ExitCode.UNAVAILABLE, True),  # of another start
        (254, "auto-restart", ExitCode.UNAVAILABLE, True),
        (253, "auto-restart", ExitCode.UNAVAILABLE, False),
        (252, "failed", ExitCode.UNAVAILABLE, True),
    ],
)
def test_no_alert_for_a_stop_or_before_the_last_start(
    version: int, state: str, code: ExitCode, is_sent: bool, tmp_path: Path
):
    """A systemd before 254 starts the alert at each restart."""
    shown = {"SubState": state, "InvocationID": "a1", "StatusText": REASON}
    text = alert(tmp_path, handed_over(code), shown, version=version)
    assert bool(text) == is_sent


@pytest.mark.parametrize(("status", "ended"), [("78", "exit code 78"), ("KILL", "signal (KILL)")])
def test_a_systemd_that_hands_nothing_over(status: str, ended: str, tmp_path: Path):
    """Before 251 the unit itself is asked; a signal has its name."""
    shown = {"ExecMainStatus": status, "Result": "signal", "InvocationID": "a1", "StatusText": "x"}
    assert alert(tmp_path, {}, shown).startswith(f"pts-sync.service failed with {ended}: ")


def test_an_alert_of_a_kill_has_its_commands(tmp_path: Path):
    """What the worker did at its end, where to look, and how to start it again."""
    shown = {"InvocationID": "a1", "StatusText": "9 persons", "NRestarts": "7"}
    text = alert(tmp_path, handed_over("KILL", "signal"), shown)
    assert (
        "signal (KILL): the worker was killed at: 9 persons. First: sudo journalctl --dmesg" in text
    )
    assert text.endswith(BY_HAND)


def run_cron_line(command: str, folder: Path, *, sync: int, status: int) -> str:
    """Run a crontab line with a stand-in for the worker; what cron would mail.

    Lines that are run in the same folder see what earlier ones left.
    """
    stub = folder / "worker"
    write_program(
        stub,
        f'echo "$1" | tee -a {folder}/calls\nulimit -c >>{folder}/core\n'
        f'[ "$1-{status:d}" != status-3 ] || echo "last full publication     2026-01-02: NOT FRESH '
        '(--max-age 36h)"\n'
        "echo pts-worker: the reason >&2\n"
        f'case "$1" in status) exit {status:d} ;; *) exit {sync:d} ;; esac\n',
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
