"""Loading the configuration: precedence and origins; and which PTS surely holds no real persons."""

from datetime import timedelta
from pathlib import Path

import click
import pytest

from tests.support.config_files import write
from worker.cli import options
from worker.cli.commands import failures
from worker.config import load
from worker.config.settings import EVERYDAY, KEYS, Sync
from worker.core.area import AREAS
from worker.core.hosts import is_rehearsal


def test_there_are_few_keys():
    """Fifty is what one person can oversee."""
    assert len(KEYS) <= 50
    assert set(EVERYDAY) < set(KEYS)


def test_precedence_and_origins(tmp_path):
    """Flags, then environment, then file, then defaults, each value with where it came from."""
    write(tmp_path, "[sync]\nconcurrency = 1\nretry_attempts = 7\npatience = '5s'\n")
    loaded = load(
        {"sync.concurrency": (3, "--concurrency")},
        environ={"PTS_SYNC__CONCURRENCY": "2", "PTS_SYNC__RETRY_ATTEMPTS": "8", "HOME": "/"},
        cwd=tmp_path,
    )
    sync = loaded.settings.sync
    assert (sync.concurrency, sync.retry_attempts, sync.patience) == (3, 8, timedelta(seconds=5))
    assert loaded.origins["sync.concurrency"] == "flag --concurrency"
    assert loaded.origins["sync.retry_attempts"] == "environment variable PTS_SYNC__RETRY_ATTEMPTS"
    assert loaded.origins["sync.patience"] == f"{tmp_path}/config/worker.toml"
    assert loaded.origins["sync.areas"] == "default"
    assert loaded.config_file == tmp_path / "config/worker.toml"


def test_which_file(tmp_path):
    """``--config`` goes before ``PTS_CONFIG``, which goes before ``config/worker.toml``."""
    for number, name in enumerate(("config/worker.toml", "env.toml", "flag.toml"), 1):
        write(tmp_path, f"[sync]\nconcurrency = {number}\n", name)
    environ = {"PTS_CONFIG": "env.toml"}

    def chosen(environ, config_path=None):
        loaded = load({}, environ=environ, cwd=tmp_path, config_path=config_path)
        return loaded.settings.sync.concurrency

    assert chosen(environ, Path("flag.toml")) == 3
    assert chosen(environ) == 2
    assert chosen({"PTS_CONFIG": ""}) == 1


@pytest.mark.parametrize(
    ("environment", "base_url", "issuer"),
    [
        ("test", "https://api.test.pts.nhn.no", "https://helseid-sts.test.nhn.no"),
        ("production", "https://api.pts.nhn.no", "https://helseid-sts.nhn.no"),
    ],
)
def test_environment_sets_both_addresses(tmp_path, environment, base_url, issuer):
    """One key chooses PTS and HelseID together; an explicit address wins, from any layer."""
    loaded = load({"api.environment": (environment, "--it")}, environ={}, cwd=tmp_path)
    assert loaded.settings.api.base_url == base_url
    assert loaded.settings.helseid.issuer == issuer
    assert loaded.origins["helseid.issuer"] == "api.environment"
    write(tmp_path, '[helseid]\nissuer = "http://127.0.0.1:8801/helseid/"\n')
    loaded = load({"api.environment": (environment, "--it")}, environ={}, cwd=tmp_path)
    assert loaded.settings.helseid.issuer == "http://127.0.0.1:8801/helseid"
    assert loaded.settings.api.base_url == base_url


@pytest.mark.parametrize(
    ("variable", "text", "read", "expected"),
    [
        ("SYNC__AREAS", "patient-privacy, patient-safety", lambda s: s.sync.areas, None),
        ("SYNC__AREAS", "patient-privacy", lambda s: s.sync.areas, ("patient-privacy",)),
        ("SYNC__DEADLINE", "1h30m", lambda s: s.sync.deadline, timedelta(minutes=90)),
        ("SYNC__DEADLINE", "none", lambda s: s.sync.deadline, None),
        ("SYNC__CONCURRENCY", " 8 ", lambda s: s.sync.concurrency, 8),
        ("API__BASE_URL", "http://[::1]:1/", lambda s: s.api.base_url, "http://[::1]:1"),
    ],
)
def test_text_from_the_environment(tmp_path, variable, text, read, expected):
    """Every kind of value can be written in an environment variable."""
    value = read(load({}, environ={f"PTS_{variable}": text}, cwd=tmp_path).settings)
    assert value == (("patient-privacy", "patient-safety") if "," in text else expected)


def test_roster_of_a_higher_layer_replaces_the_other_kind(tmp_path):
    """A file named by flag takes the place of a query in the file, and the other way round."""
    write(tmp_path, '[roster]\nurl = "sqlite:///ehr.db"\nquery = "select 1"\n')
    roster = load({"roster.path": ("-", "--roster")}, environ={}, cwd=tmp_path).settings.roster
    assert (roster.path, roster.url, roster.query) == ("-", None, None)
    write(tmp_path, '[roster]\npath = "r.csv"\n')
    environ = {"PTS_ROSTER__URL": "sqlite:///ehr.db", "PTS_ROSTER__QUERY": "select 1"}
    roster = load({}, environ=environ, cwd=tmp_path).settings.roster
    assert (roster.path, roster.query) == (None, "select 1")


def test_paths_in_the_file_start_at_its_folder(tmp_path):
    """Wherever the worker is started; flags and environment start at the working directory."""
    text = """
    [roster]
    path = "r.csv"
    [privacy]
    pseudonym_key_file = "../keys/k"
    [database]
    url = "sqlite:///a%3Fb.db"
    [telemetry]
    textfile = "/abs/m.prom"
    """
    (tmp_path / "else?where").mkdir()
    write(tmp_path, text, "else?where/w.toml")
    loaded = load(
        {"tls.ca_file": ("ca.pem", "--it")},
        environ={"PTS_DATABASE__PASSWORD_FILE": "p"},
        cwd=tmp_path,
        config_path=Path("else?where/w.toml"),
    )
    found, folder = loaded.settings, tmp_path / "else?where"
    assert found.roster.path == str(folder / "r.csv")
    assert found.privacy.pseudonym_key_file == folder / "../keys/k"
    assert found.database.url == f"sqlite:///{tmp_path}/else%3Fwhere/a%3Fb.db"
    assert found.telemetry.textfile == Path("/abs/m.prom")
    assert found.tls.ca_file == tmp_path / "ca.pem"
    assert found.database.password_file == tmp_path / "p"
    write(tmp_path, '\ufeff[roster]\npath = "-"\n')  # a mark of Windows' editors
    assert load({}, environ={}, cwd=tmp_path).settings.roster.path == "-"


REAL, TEST = "https://api.pts.nhn.no", "https://api.test.pts.nhn.no"


@pytest.mark.parametrize(
    ("environment", "base_url", "expected"),
    [
        ("test", TEST, True),
        ("test-internet", "https://api-internett.test.pts.nhn.no", True),
        ("test", "https://pts.example", True),
        ("test", REAL, False),
        ("test", "https://API.pts.nhn.no/v1", False),
        ("production", REAL, False),
        ("production", TEST, False),
        ("production", "http://127.0.0.1:8080", False),  # a tunnel
        (None, "http://127.0.0.1:8080", True),  # the sandbox
        (None, "http://[::1]:8080", True),
        (None, "http://localhost", True),
        (None, REAL, False),
        (None, TEST, False),
        (None, "https://pts.example", False),
        (None, None, False),
    ],
)
def test_only_what_is_surely_a_test(environment, base_url, expected):
    """Whatever may be a way to production counts as production."""
    assert is_rehearsal(environment, base_url) == expected


def test_every_area_is_read_by_default():
    """An area that a literal leaves out would not be read, and nothing would report it."""
    names = tuple(area.name for area in AREAS)
    assert Sync().areas == names
    backfill = click.command()(options.area(lambda: None))
    for command in (backfill, failures.command.commands["list"]):
        (area,) = (param for param in command.params if param.opts == ["--area"])
        assert isinstance(area.type, click.Choice)
        assert tuple(area.type.choices) == names
