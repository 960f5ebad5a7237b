"""Which hosts are this machine: where tokens may go without TLS."""

import pytest

from worker.core.hosts import is_loopback


@pytest.mark.parametrize("host", ["localhost", "LocalHost", "127.0.0.1", "127.8.9.10", "::1"])
def test_this_machine(host):
    """The name, in either case, and every address that the standards keep for it."""
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", [None, "", "localhost.example.com", "pts.example.com", "10.0.0.1", "128.0.0.1", "::2"]
)
def test_another_machine(host):
    """No host, other names and other addresses are somewhere else."""
    assert not is_loopback(host)
