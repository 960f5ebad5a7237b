"""A night in fast motion: a scheduled run fails, is retried, an alert fires, PTS comes back.

Real processes, sockets, database and alert rules. Only the clock is not real: the worker and the
sandbox see the coming 03:30 some seconds ahead (libfaketime shifts it, and does not speed it up),
and ``schedule.retry_wait`` is a second. Hours of waiting are left to promtool: it holds what
``/metrics`` said against the rules, as if each answer had stood for as long as a night's would.
"""

import json
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import yaml

from tests.support.deployment.deployed import ROOT, tool
from tests.support.program import (
    Running,
    Sandbox,
    closed_port,
    environment,
    fetch,
    run,
    start,
    wait_for,
)
from tests.support.standin import standin

OSLO: Final = ZoneInfo("Europe/Oslo")
CRON: Final = "30 3 * * *"
LEADS_S: Final = (11, 30, 90)
"""How far ahead the start is, at each attempt: a busy machine may take longer to start programs."""
PERSONS: Final = 40
RULES: Final = ROOT / "config" / "prometheus" / "pts-worker.rules.yml"
HOURS_AWAY, HOURS_AFTER = 7, 2
"""For how long the answers of ``/metrics`` stand in promtool's night."""
_DAY_S: Final = 86_400
QUIET_S: Final = 3
AWAY: Final = {"area": "pts", "action": "status", "status": 503, "retry_after_s": QUIET_S}
"""PTS in maintenance, and for how long it asks for quiet."""


class Missed(Exception):  # noqa: N818 - no error: it is tried again
    """The programs took longer to start than the start was ahead."""


@dataclass(kw_only=True)
class Night:
    """What was seen.

    Attributes:
        start_at: the scheduled start.
        log: the schedule's log, from standard error.
        pings: what the dead man's switch heard.
        metrics: ``/metrics`` at the start, while PTS was away, and after the publication.
        alerts: which alerts fire, by hours after the start.
        code: the exit code of the schedule at the end.
        runs: the ledger: status and exit code of each run.
    """

    start_at: datetime
    log: list[dict[str, Any]] = field(default_factory=list)
    pings: list[str] = field(default_factory=list)
    metrics: dict[str, str] = field(default_factory=dict)
    alerts: dict[float, list[str]] = field(default_factory=dict)
    code: int = -1
    runs: list[tuple[Any, ...]] = field(default_factory=list)

    def events(self, *names: str) -> list[dict[str, Any]]:
        """The log's lines of these events, in order."""
        return [line for line in self.log if line["event"] in names]


def play(folder: Path, migrated_sqlite: Path) -> Night:
    """Play the night in a folder, and return what was seen. The night before has published.

    Args:
        folder: an empty one.
        migrated_sqlite: a database at the program's schema.
    """
    for number, lead_s in enumerate(LEADS_S):
        try:
            return _play(folder / f"attempt-{number}", migrated_sqlite, lead_s)
        except Missed:
            continue
    raise AssertionError(f"the programs did not start within {LEADS_S[-1]} s")


def _play(folder: Path, migrated_sqlite: Path, lead_s: float) -> Night:
    folder.mkdir(parents=True)
    shutil.copy(migrated_sqlite, folder / "pts.db")
    (folder / "pts.db").chmod(0o600)
    now = datetime.now(UTC)
    start_at = now.astimezone(OSLO).replace(hour=3, minute=30, second=0, microsecond=0)
    if start_at <= now:
        start_at += timedelta(days=1)
    ahead_s = (start_at - now).total_seconds() - lead_s
    night = Night(start_at=start_at.astimezone(UTC))
    with _sandbox(folder / "sandbox", ahead_s) as sandbox, standin() as switch:
        worker = sandbox.install(folder / "worker", f"sqlite:///{folder / 'pts.db'}")
        port = closed_port()
        worker.configure(
            telemetry={
                "http_listen": f"127.0.0.1:{port}",
                "ping_url": f"{switch.origin}/pushed/check",
            },
            schedule={"cron": CRON, "timezone": "Europe/Oslo", "retry_wait": "1s"},
            sync={"retry_after_max": "1s"},
        )
        words = ("--config", str(worker.config))
        sandbox.control(clock_skew_s=-_DAY_S)
        ended = run(
            *words, "sync", folder=worker.folder, env=_shifted(ahead_s - _DAY_S), afresh=True
        )
        assert ended.code == 0, ended.story()
        sandbox.control(clock_skew_s=0, faults=[AWAY], generation=1)
        switch.pushed.clear()
        running = start(
            *words, "schedule", folder=worker.folder, env=_shifted(ahead_s), afresh=True
        )
        try:
            _watch(night, running, port, lambda: sandbox.control(faults=[]))
        finally:
            running.signal(signal.SIGTERM)
            ended = running.wait()
        night.log = [json.loads(line) for line in ended.err.splitlines() if line.startswith("{")]
        night.code, night.runs = ended.code, worker.store.runs()
    night.pings = [_said(push) for push in switch.pushed]
    night.alerts = firing(night, (5.0, 6.5, 8.0), folder)
    return night


def _watch(night: Night, running: Running, port: int, recover: Callable[[], Any]) -> None:
    """Keep what the schedule shows; let PTS recover after the second failure."""
    wait_for(lambda: "schedule.started" in _log(running, "event"), "the schedule")
    night.metrics["started"] = wait_for(lambda: _filled(port), "the metrics")
    if not _log(running, "next")[0].startswith(f"{night.start_at.astimezone(OSLO):%Y-%m-%d} 03:30"):
        raise Missed
    wait_for(lambda: _log(running, "event").count("schedule.retrying") > 1, "two failures")
    night.metrics["away"] = fetch(port, "/metrics")[1]
    recover()
    wait_for(lambda: "run.published" in _log(running, "event"), "the publication")
    wait_for(lambda: _log(running, "event")[-1] == "schedule.waiting", "the end of the run")
    night.metrics["published"] = fetch(port, "/metrics")[1]


def _log(running: Running, name: str) -> list[str]:
    """The values of a field in the log so far."""
    lines = running.err.read_text("utf-8").splitlines()
    parsed = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]
    return [str(line[name]) for line in parsed if name in line]


def _filled(port: int) -> str:
    """``/metrics`` once it has what the database knows."""
    text = fetch(port, "/metrics")[1]
    return text if "last_published" in text else ""


def _shifted(ahead_s: float) -> dict[str, str]:
    """The environment of a program whose clock is ahead."""
    (library,) = Path(tool("faketime")).parents[1].glob("lib/*/faketime/libfaketime.so.1")
    return environment(
        LD_PRELOAD=str(library),
        FAKETIME=f"{ahead_s:+.3f}s",
        NO_FAKE_STAT="1",
    )


@contextmanager
def _sandbox(folder: Path, ahead_s: float) -> Iterator[Sandbox]:
    """The sandbox, with its clock ahead."""
    folder.mkdir()
    words = ("sandbox", "--folder", str(folder), "--persons", str(PERSONS), "--json")
    running = start(*words, folder=folder, env=_shifted(ahead_s), afresh=True)

    def document() -> Any:
        assert running.process.poll() is None, running.tail()
        text = running.out.read_text("utf-8")
        return text.endswith("}\n") and json.loads(text)["sandbox"]

    try:
        made = wait_for(document, "the sandbox")
        yield Sandbox(folder=folder, control_url=made["control_url"], running=running)
    finally:
        running.signal(signal.SIGTERM)
        running.wait()


def _said(push: bytes) -> str:
    """A ping in one line."""
    return push.decode().replace("/pushed", "", 1).replace("\n", " ").strip()


def firing(night: Night, hours: Sequence[float], folder: Path) -> dict[float, list[str]]:
    """The alerts that fire so many hours after the start, by Prometheus' own rule evaluation."""
    (folder / RULES.name).write_text(RULES.read_text("utf-8"), "utf-8")
    question = 'ALERTS{alertstate="firing"}'
    document = {
        "rule_files": [RULES.name],
        "evaluation_interval": "30m",
        "tests": [
            {
                "interval": "30m",
                "input_series": _series(night),
                # promtool compares and does not list: what nothing equals, it shows.
                "promql_expr_test": [
                    {
                        "expr": question,
                        "eval_time": f"{round(60 * at)}m",
                        "exp_samples": [{"labels": "none_fires", "value": 0}],
                    }
                    for at in hours
                ],
            }
        ],
    }
    file = folder / "night.yml"
    file.write_text(yaml.safe_dump(document), "utf-8")
    command = [tool("promtool"), "test", "rules", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    shown = re.findall(r"got: ?(.*)", done.stdout + done.stderr)
    assert len(shown) == len(hours), done.stdout + done.stderr
    names = (sorted(re.findall(r'alertname="(\w+)"', text)) for text in shown)
    return dict(zip(hours, names, strict=True))


def _series(night: Night) -> list[dict[str, str]]:
    """Each sample as a series: as it was while PTS was away, and then as after the publication.

    Times are seconds after the scheduled start, as promtool's clock begins with 0.
    """
    away, after = (_samples(night.metrics[name]) for name in ("away", "published"))
    epoch_s = night.start_at.timestamp()
    made = []
    for name in sorted(away.keys() | after.keys()):
        values = [away.get(name)] * (2 * HOURS_AWAY) + [after.get(name)] * (2 * HOURS_AFTER + 1)
        shift_s = epoch_s if "_timestamp_seconds" in name else 0.0
        texts = ["_" if value is None else f"{value - shift_s:.3f}" for value in values]
        made.append({"series": name, "values": " ".join(texts)})
    return made


def _samples(text: str) -> dict[str, float]:
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}
