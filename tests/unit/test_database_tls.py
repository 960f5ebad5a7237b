"""What a connection to PostgreSQL must prove, by its hosts and its parameters."""

import pytest

from worker.core.database_tls import SslMode, TlsDemand, demand_of, hosts_of

FAR, NEAR = ["db.example"], ["127.0.0.1"]
SAFE = {SslMode.DISABLE, SslMode.VERIFY_CA, SslMode.VERIFY_FULL}


@pytest.mark.parametrize(
    ("hosts", "is_local"),
    [
        (["localhost"], True),
        (["/run/postgresql"], True),
        (["/run/postgresql", "localhost"], True),
        (["localhost", "db.example"], False),
        (["localhost.example"], False),
        (["0.0.0.0"], False),  # noqa: S104 - a name in a URL
        ([""], False),
        ([], False),
    ],
)
def test_without_a_parameter(hosts: list[str], is_local: bool):
    """Verified in full, unless every place is on this machine; none named is none known."""
    mode = SslMode.PREFER if is_local else SslMode.VERIFY_FULL
    assert demand_of(hosts, {}) == TlsDemand(mode=mode, root=None, is_local=is_local)


@pytest.mark.promise("8")
@pytest.mark.parametrize("name", ["sslmode", "ssl"])
@pytest.mark.parametrize("mode", SslMode)
def test_each_mode(mode: SslMode, name: str):
    """Off this machine: verified, or switched off by name. On it: as libpq has it."""
    root = {"sslrootcert": "ca.pem"} if mode is SslMode.VERIFY_CA else {}
    near = demand_of(NEAR, {name: mode.value, **root})
    assert (near.mode, near.is_open) == (mode, False)
    if mode in SAFE:
        far = demand_of(FAR, {name: mode.value, **root})
        assert (far.mode, far.is_open) == (mode, mode is SslMode.DISABLE)
        return
    with pytest.raises(ValueError, match=f"has {name}={mode}, .*write sslmode=verify-full"):
        demand_of(FAR, {name: mode.value})


def test_a_root_of_its_own():
    """It alone is trusted; ``system`` is the machine's; libpq's require with one is verify-ca."""
    assert demand_of(FAR, {"sslrootcert": "ca.pem"}).root == "ca.pem"
    assert demand_of(NEAR, {"sslrootcert": "ca.pem"}).mode is SslMode.VERIFY_FULL
    assert demand_of(FAR, {"sslrootcert": "system"}).root is None
    assert demand_of(FAR, {"sslmode": "require", "sslrootcert": "ca.pem"}).mode is SslMode.VERIFY_CA


@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        ("postgresql://u:p@db.example:5433/d", ["db.example"]),
        ("postgresql:///d?host=/run/postgresql", ["/run/postgresql"]),
        ("postgresql://u@/d?host=a:1&host=b:2", ["a", "b"]),
        ("postgresql://u@/d?host=a,b&port=1,2", ["a", "b"]),
        ("postgresql://u@localhost/d?host=db.example", ["db.example"]),
        ("postgresql:///d", []),
    ],
)
def test_the_hosts_of_a_url(url: str, hosts: list[str]):
    """Before the path, or as parameters, which the driver takes first."""
    assert hosts_of(url) == hosts
