"""URLs of the store: each leads where it says, or is refused with a sentence."""

import re

import pytest

from worker.core.database_urls import check_roster_url, check_store_url


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("sqlite:pts.db", "must start with sqlite:///"),
        ("sqlite://", "names an in-memory database"),
        ("sqlite:///:memory:", "names an in-memory database"),
        ("sqlite:///%3Amemory%3A", "names an in-memory database"),
        ("sqlite://pts.db", "three slashes"),
        ("sqlite:////data/q?mark.db", "as %3F"),
        ("sqlite:////data/pts.db?mode=ro", "not allowed for SQLite"),
        ("sqlite:///file:pts.db?uri=true&mode=ro", "not allowed for SQLite"),
        ("postgresql://u@h/d?sslmode=disable&sslmode=verify-full", "more than once"),
        ("postgresql://u:p@h/d", "contains a password"),
        ("postgresql://u@h/d?password=p", "contains a password"),
        ("postgresql://u@h/d?service=other", "unknown parameters"),
        ("postgresql://u@h/d?server_settings=1", "unknown parameters"),
    ],
)
def test_refused(url: str, says: str):
    """What would be written elsewhere, lost, or passed over."""
    with pytest.raises(ValueError, match=r"^(?!.*/data)") as caught:
        check_store_url(url)
    assert says in str(caught.value)
    if url.startswith("postgresql"):
        with pytest.raises(ValueError, match=re.escape(str(caught.value))):
            check_roster_url(url)


def test_a_roster_with_a_driver_of_its_own():
    """Another database's driver knows its parameters; PostgreSQL's is the one that verifies."""
    check_roster_url("mssql+aioodbc://u@h/d?driver=x")
    check_roster_url("postgresql+asyncpg://u@h/d")
    with pytest.raises(ValueError, match="contains a password"):
        check_roster_url("mssql+aioodbc://u@h/d?driver=x&PWD=p")
    with pytest.raises(ValueError, match="whose TLS settings the worker does not"):
        check_roster_url("postgresql+psycopg://u@h/d")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u@h/d",
        "postgresql://u@h:5432/d?sslmode=verify-full",
        "postgresql://u@h:5432/d?sslmode=verify-full&sslrootcert=/etc/ssl/db.pem",
        "postgresql://u@h:5432/d?sslmode=disable",
        "postgresql:///d?host=/run/postgresql",
        "postgresql://u@/d?host=a:1&host=b:2&target_session_attrs=primary",
    ],
)
def test_taken(url: str):
    """What the driver takes."""
    check_store_url(url)
