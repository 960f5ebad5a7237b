"""PostgreSQL stays away for longer than a run waits: the fixture began it, this sees the end."""

from tests.deaths.conftest import LongStop

PATIENCE_S = 60.0
"""How long a write is tried again (worker/store/database.py), less a last wait of up to 5 s."""


def test_stopped_for_longer_than_a_run_waits(long_stop: LongStop):
    """The run ends with 69 after one such wait, not one for each write; the next run continues."""
    ended = long_stop.running.wait(200.0)
    assert 69 == ended.code, ended.out + ended.err
    assert "the database is unavailable" in ended.out + ended.err
    assert "Traceback" not in ended.err
    assert PATIENCE_S - 6 < long_stop.took_s() < 1.6 * PATIENCE_S
    long_stop.server.start()
    assert long_stop.ground.before == long_stop.worker.store.published()
    again = long_stop.ground.assert_recovers(long_stop.worker)
    assert again.run["continued"]
