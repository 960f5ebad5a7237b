"""What a connection to PostgreSQL must prove, by its hosts and its parameters."""

from pathlib import Path

import pytest
from sqlalchemy import make_url

from worker.errors import ConfigurationError
from worker.tls import PostgresTls, open_tls

FAR, NEAR = "postgresql+asyncpg://u@db.example/d", "postgresql+asyncpg://u@127.0.0.1/d"


def opened(url: str) -> PostgresTls:
    return open_tls(make_url(url), key="database.url", ca_file=None)


@pytest.mark.parametrize(
    ("where", "is_local"),
    [
        ("localhost/d", True),
        ("/d?host=/run/postgresql", True),
        ("/d?host=/run/postgresql,localhost&port=1,2", True),
        ("/d?host=localhost:1&host=db.example:2", False),
        ("localhost/d?host=db.example", False),
        ("localhost.example/d", False),
        ("0.0.0.0/d", False),
        ("/d", False),
    ],
)
def test_without_a_parameter(where: str, is_local: bool):
    """Verified in full, unless every place is on this machine; none named is none known."""
    tls = opened(f"postgresql+asyncpg://u@{where}")
    assert (tls.mode, tls.is_local) == ("prefer" if is_local else "verify-full", is_local)
    assert (tls.context is None) is is_local


@pytest.mark.promise("8")
@pytest.mark.parametrize("mode", ["disable", "allow", "prefer", "require", "verify-full"])
def test_each_mode(mode: str):
    """Off this machine: verified, or switched off by name. On it: as libpq has it."""
    assert opened(f"{NEAR}?sslmode={mode}").mode == mode
    if mode in {"disable", "verify-full"}:
        assert opened(f"{FAR}?sslmode={mode}").mode == mode
        return
    with pytest.raises(ConfigurationError, match="can expose the password") as caught:
        opened(f"{FAR}?sslmode={mode}")
    assert "write sslmode=verify-full" in caught.value.hint


@pytest.mark.parametrize("url", [FAR, NEAR])
@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ("sslmode=on", "an sslmode that is unknown"),
        ("sslmode=Verify-Full", "an sslmode that is unknown"),
        ("sslmode=verify-ca", "accepts any certificate"),
        ("sslmode=verify-ca&sslrootcert=system", "accepts any certificate"),
        ("sslrootcert=none.pem", "there is no file"),
        ("port=x", "cannot be used"),
    ],
)
def test_refused(url: str, parameters: str, says: str):
    """What is not known, or verifies nothing."""
    with pytest.raises(ConfigurationError, match=says):
        opened(f"{url}?{parameters}")


def test_a_root_of_its_own(tmp_path: Path):
    """It alone is trusted, and makes a server on this machine prove itself, too."""
    root = tmp_path / "ca.pem"
    root.write_text("nothing", encoding="ascii")
    with pytest.raises(ConfigurationError, match="not a PEM file"):
        opened(f"{NEAR}?sslrootcert={root}")
    assert opened(f"{FAR}?sslrootcert=system").mode == "verify-full"
