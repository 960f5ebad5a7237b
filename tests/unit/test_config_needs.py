"""What each purpose needs, and the files that are named."""

from typing import get_args

import pytest

from worker.config import load
from worker.config.needs import Purpose, database_url, unmet


@pytest.fixture
def files(tmp_path):
    """Files that serve, as environment variables."""
    for name, content in (
        ("jwk", b"{}"),
        ("pseudonym.key", bytes(32)),
        ("password", b"p@ss/w \r\n"),
    ):
        path = tmp_path / name
        path.write_bytes(content)
        path.chmod(0o600)
    return {
        "PTS_API__ENVIRONMENT": "test",
        "PTS_HELSEID__CLIENT_ID": "client",
        "PTS_HELSEID__PRIVATE_JWK_FILE": str(tmp_path / "jwk"),
        "PTS_PRIVACY__PSEUDONYM_KEY_FILE": "pseudonym.key",
        "PTS_ROSTER__PATH": "roster.csv",
    }


def lacks(cwd, environ, purpose):
    return [*unmet(load({}, environ=environ, cwd=cwd).settings, purpose)]


def keys(problems):
    return [problem.partition(":")[0] for problem in problems]


PTS = ["api.base_url", "helseid.client_id", "helseid.private_jwk_file", "helseid.issuer"]


@pytest.mark.parametrize(
    ("purpose", "missing"),
    [
        ("sync", [*PTS, "roster.path", "privacy.pseudonym_key_file"]),
        ("backfill", [*PTS, "privacy.pseudonym_key_file"]),
        ("read-pts", PTS),
        ("helseid", PTS[1:]),
        ("person", ["privacy.pseudonym_key_file"]),
    ],
)
def test_all_that_is_missing_is_reported(tmp_path, purpose, missing):
    """With nothing set, each purpose tells everything that it needs, and what to do."""
    problems = lacks(tmp_path, {}, purpose)
    assert keys(problems) == missing
    assert all(" → " in problem and "PTS_" in problem for problem in problems)


@pytest.mark.parametrize("purpose", get_args(Purpose))
def test_enough_is_enough(tmp_path, files, purpose):
    """A whole configuration serves every purpose."""
    assert lacks(tmp_path, files, purpose) == []
    load({}, environ=files, cwd=tmp_path, purpose=purpose)


@pytest.mark.parametrize(
    ("change", "missing"),
    [
        ({"PTS_PRIVACY__IDENTITY": "plain", "PTS_PRIVACY__PSEUDONYM_KEY_FILE": ""}, []),
        ({"PTS_HELSEID__GRANT": "token_exchange"}, ["helseid.subject_token_file"]),
        ({"PTS_HELSEID__TENANCY": "multi-tenant"}, ["helseid.organization_parent"]),
        ({"PTS_ROSTER__PATH": "", "PTS_ROSTER__URL": "sqlite:///x", "PTS_ROSTER__QUERY": "q"}, []),
    ],
)
def test_needs_that_depend_on_other_keys(tmp_path, files, change, missing):
    """Some keys are needed only while another has a certain value."""
    assert keys(lacks(tmp_path, files | change, "sync")) == missing


def test_a_new_pseudonym_key_is_for_a_new_database(tmp_path, files):
    """Without its key a database needs that very key, which is said before how to make one."""
    files["PTS_PRIVACY__PSEUDONYM_KEY_FILE"] = "none"
    (line,) = lacks(tmp_path, files, "sync")
    assert line.startswith(f"privacy.pseudonym_key_file: there is no file {tmp_path}/none → use")
    assert "Only for a new database, create one with `pts-worker keys pseudonym" in line


def test_a_folder_in_the_place_of_a_key(tmp_path, files):
    """It has the same remedy as every other trusted file."""
    (tmp_path / "jwk").unlink()
    (tmp_path / "jwk").mkdir(0o700)
    (line,) = lacks(tmp_path, files, "sync")
    assert line.endswith("cannot be read: is a directory; name a file in it")


def test_the_contract_is_a_file_that_others_may_read(tmp_path, files):
    """It holds no secret, and is missing before anything is asked."""
    files["PTS_API__CONTRACT_FILE"] = "pts.toml"
    assert lacks(tmp_path, files, "read-pts") == [
        f"api.contract_file: there is no file {tmp_path}/pts.toml → check the path"
    ]
    (tmp_path / "pts.toml").touch(0o644)
    assert lacks(tmp_path, files, "read-pts") == []


def test_password_from_a_file(tmp_path, files):
    """A file's password is put in and quoted, without its line end; without one the URL stays."""
    environ = {
        "PTS_DATABASE__URL": "postgresql://u@h:5433/x?sslmode=disable",
        "PTS_DATABASE__PASSWORD_FILE": "password",
        "PTS_ROSTER__URL": "sqlite:///x.db",
        "PTS_ROSTER__QUERY": "q",
    }
    settings = load({}, environ=environ, cwd=tmp_path).settings
    expected = "postgresql://u:p%40ss%2Fw%20@h:5433/x?sslmode=disable"
    assert database_url(settings, "database") == expected
    assert database_url(settings, "roster") == f"sqlite:///{tmp_path}/x.db"


@pytest.mark.parametrize(
    ("issuer", "mode", "refused"),
    [
        ("http://127.0.0.1:8801/helseid", 0o644, False),
        ("http://127.0.0.1:8801/helseid", 0o646, True),
        ("https://helseid-sts.nhn.no", 0o644, True),
        ("https://helseid-sts.nhn.no", 0o640, False),
    ],
)
def test_open_secrets_are_for_rehearsals(tmp_path, files, issuer, mode, refused):
    """Against a stand-in on this machine others may read a secret, but nobody may write it."""
    files = files | {"PTS_HELSEID__ISSUER": issuer}
    (tmp_path / "jwk").chmod(mode)
    if refused:
        (line,) = lacks(tmp_path, files, "sync")
        assert f"every account on this machine can {'write' if mode == 0o646 else 'access'}" in line
        assert f"chmod 0600 {tmp_path}/jwk" in line
    else:
        assert lacks(tmp_path, files, "sync") == []
