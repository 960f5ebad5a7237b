"""``/metrics`` of a scheduler that has just started: what earlier processes did is in it."""

from pathlib import Path

from tests.support.http.reports import reported
from tests.support.program import calls, closed_port, fetch, wait_for
from tests.support.raw_server import http
from tests.support.standin import Standin, off_id_of, persons


def test_a_restart_shows_the_last_full_run(standin: Standin, tmp_path: Path, sqlite_url: str):
    """Its totals and exit code, as those of a sync; backfills since then change neither."""
    persons(standin, range(8), safeties=1, privacies=1)
    worker = standin.install(tmp_path, sqlite_url)
    standin.script[off_id_of(3), ""] = lambda _: http(b"{}")
    assert worker.sync().code == 3
    standin.script.clear()
    backfills = calls(worker, *["backfill --failed"] * 6)
    assert [ended.code for ended in backfills] == [0] * 6
    port = closed_port()
    worker.configure(telemetry={"http_listen": f"127.0.0.1:{port}"})
    running = worker.start("schedule", "--cron", "0 0 1 1 *")
    running.until_logged("schedule.waiting")
    status, text = wait_for(lambda: fetch(port, "/metrics"), "the metrics")
    assert running.stop().code == 0
    samples = reported(text)
    assert status == 200
    assert samples["exit_code run=sync"] == 3.0
    assert samples["persons kind=total run=sync"] == 8.0
    assert samples["stale_persons"] == 0.0, "the backfill has read the person since"
    assert [name for name in samples if "run=backfill" in name] == []
