"""``config``: what is in force, and where it came from."""

from tests.support.program import Installation, calls


def test_show_has_value_and_origin_and_hides_secrets(worker: Installation):
    """A flag, a variable, the file, a default; the secret in the ping's URL is not shown."""
    worker.configure(telemetry={"ping_url": "https://hc-ping.com/hunter2"})
    shown, text = calls(
        worker,
        "config show --json --set sync.concurrency=7",
        "config show",
        env={"PTS_LOG__LEVEL": "WARNING"},
    )
    rows = {row["key"]: (row["value"], row["origin"]) for row in shown.document["keys"]}
    assert rows["sync.concurrency"][0] == "7"
    assert "--set sync.concurrency" in rows["sync.concurrency"][1]
    assert rows["log.level"][0] == "WARNING"
    assert "PTS_LOG__LEVEL" in rows["log.level"][1]
    assert "worker.toml" in rows["api.base_url"][1]
    assert rows["schedule.timezone"] == ("Europe/Oslo", "default")
    assert str(worker.config) == shown.document["config_file"]
    assert "hunter2" not in shown.out + shown.err + text.out + text.err
    assert ["sync.concurrency", "16", "default"] in [line.split() for line in text.out.splitlines()]
