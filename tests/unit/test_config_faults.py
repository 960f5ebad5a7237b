"""Errors of the configuration: all at once, each with its key and origin."""

from pathlib import Path

import pytest

from tests.support.config_files import write
from worker.config import load
from worker.errors import ConfigurationError

NO_CRON = "must be a cron expression such as '30 3 * * *'"


def problems(tmp_path, *, flags=None, environ=None, **more):
    by_flags = {name: (value, "--it") for name, value in (flags or {}).items()}
    with pytest.raises(ConfigurationError) as caught:
        load(by_flags, environ=environ or {}, cwd=tmp_path, **more)
    assert all(problem in str(caught.value) for problem in caught.value.problems)
    return list(caught.value.problems)


def test_all_faults_at_once(tmp_path):
    """Flags, environment, file, and what is missing for the purpose are reported together."""
    write(tmp_path, '[log]\n[sync]\nconcurrency = "many"\nconcurency = 3\n[synk]\nx = 1\n')
    found = problems(
        tmp_path,
        flags={"sync.retry_attempts": 0, "lease.nope": 1},
        environ={"PTS_LOG__LEVEL": "LOUD", "PTS_LOG__LEVLE": "INFO"},
        purpose="helseid",
    )
    file = tmp_path / "config/worker.toml"
    assert found[:7] == [
        f"sync.concurrency ({file}): must be a whole number",
        f"sync.concurency ({file}): unknown; did you mean sync.concurrency?",
        f"synk ({file}): unknown; did you mean sync?",
        (
            "log.level (environment variable PTS_LOG__LEVEL): must be 'DEBUG', 'INFO', 'WARNING' "
            "or 'ERROR'"
        ),
        "log.levle (environment variable PTS_LOG__LEVLE): unknown; did you mean log.level?",
        "sync.retry_attempts (flag --it): must be greater than or equal to 1",
        "lease.nope (flag --it): unknown; [lease] has ttl_s",
    ]
    missing = [problem.partition(":")[0] for problem in found[7:]]
    assert missing == ["helseid.client_id", "helseid.private_jwk_file", "helseid.issuer"]


def test_what_is_faulty_is_not_missing_too(tmp_path):
    """Nor is a key that a misspelt one meant, nor what another key decides that is faulty."""
    environ = {
        "PTS_API__ENVIRONMENT": "tst",
        "PTS_HELSEID__CLIENTID": "me",
        "PTS_HELSEID__PRIVATE_JWK_FILE": "{}",
        "PTS_ROSTER__URL": "x",
        "PTS_ROSTER__QUERY": "q",
    }
    write(tmp_path, "privacy = 3\n")
    found = problems(tmp_path, environ=environ, purpose="sync")
    assert [line.partition(" ")[0] for line in found] == [
        *("privacy", "api.environment", "helseid.clientid", "helseid.private_jwk_file"),
        "roster.url",
    ]


@pytest.mark.promise("8")
@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("sync.continue_within", 30, "must be a duration such as '30m'"),
        ("sync.continue_within", "0s", "must be longer than 0"),
        ("sync.requests_per_second", "inf", "must be a finite number"),
        ("sync.requests_per_second", True, "must be a number"),
        ("sync.max_removed_share", 1.5, "must be a number from 0 to 1, such as 0.1 for 10 %"),
        ("sync.concurrency", 1.5, "must be a whole number"),
        ("sync.areas", [], "must not be empty"),
        ("sync.areas", "patient-safty", "must be 'patient-safety' or 'patient-privacy'"),
        ("helseid.client_id", 5, "must be a text in quotes"),
        ("helseid.scope", " ", "must not be empty"),
        ("helseid.organization_child", "12", "must be an organisation number of 9 digits"),
        ("helseid.private_jwk_file", '{"kty":"hemmelig"}', "must be a file name, not the content"),
        ("helseid.private_jwk_file", "-----BEGIN PRIVATE KEY-----hemmelig", "must be a file name"),
        ("api.base_url", "http://pts.example", "http:// is allowed for loopback addresses only"),
        ("helseid.issuer", "HTTP://sts.example", "http:// is allowed for loopback addresses only"),
        (
            "helseid.issuer",
            "https://sts.example/.well-known/openid-configuration",
            "must be the address before /.well-known/",
        ),
        ("api.base_url", "https://h/?x=hemmelig", "must not contain a user name, password, "),
        ("api.base_url", "https://h/#hemmelig", "must not contain a user name, password, query or"),
        ("api.base_url", "pts.example", "must be a URL that starts with https://"),
        ("network.proxy_url", "http://u:hemmelig@p", "must not contain a user name, password, "),
        ("database.url", "postgres://u@h/x", "must start with sqlite:/// or postgresql://"),
        ("database.url", "postgresql://u:hemmelig@h/x", "contains a password; write it to a file"),
        ("schedule.cron", "30 2 * *", "must be a cron expression of five fields"),
        ("schedule.cron", "0 3 * * 8", f"{NO_CRON}: Bad day-of-week"),
        ("schedule.timezone", "Europe/Osloo", "is not a time zone"),
        ("telemetry.http_listen", "9464", "must be host:port"),
        ("retention.versions", "29d", "must be at least 30d, or none"),
        ("roster.send_h_numbers", "perhaps", "must be true or false"),
        ("sync.min_completeness", True, "must be a number"),
    ],
)
def test_faults_of_single_values(tmp_path, key, value, problem):
    """Each fault names key and origin and tells what is wrong, never the value."""
    (line,) = problems(tmp_path, flags={key: value})
    name, _, reported = line.partition(" (flag --it): ")
    assert name.partition("[")[0] == key
    assert reported.startswith(problem)
    assert "hemmelig" not in line


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (
            "[sync\n",
            "{file}: not valid TOML: Expected ']' at the end of a table declaration (at line 1, ",
        ),
        ("x = " + "1" * 5_000, "{file}: not valid TOML: "),
        ("x = " + "[" * 50_000, "{file}: not valid TOML: "),
        ('x = """', "(at end of document)"),
        (b"[sync]\n# \xc3\xa6 \xe5\n", "{file}, line 2: the file is not UTF-8"),
        ("[roster]\npath = \u201cx\u201d\n", "write text between straight quotes"),
        ('[roster]\npath = "C:\\Users"\n', "in double quotes as"),
        ("[sync]\nrequests_per_second = 20,5\n", "numbers with a decimal point"),
        ("sync = 3\n", "sync ({file}): must be a section, [sync]"),
        ("[areas.x]\n", "areas ({file}): unknown"),
        ("[log]\ncron = 1\n", "log.cron ({file}): unknown; did you mean s"),
    ],
)
def test_faults_of_the_file(tmp_path, content, problem):
    """A file that is not TOML is reported with line and column, a misplaced key by name."""
    write(tmp_path, content)
    (line,) = problems(tmp_path)
    assert problem.format(file=tmp_path / "config/worker.toml") in line


@pytest.mark.parametrize(
    ("variable", "hint"),
    [
        ("PTS_SYNC_CONCURRENCY", "did you mean PTS_SYNC__CONCURRENCY?"),
        ("PTS_SYNC__RATE", "did you mean sync.requests_per_second?"),
        ("PTS_SYNC__NOPE", "[sync] has concurrency, requests_per_second, areas, "),
    ],
)
def test_misspelt_variables(tmp_path, variable, hint):
    """A misspelt variable is a fault with a hint; what Kubernetes sets for a service is none."""
    environ = {"PTS_SERVICE_HOST": "10.0.0.1", "PTS_PORT_80_TCP": "x", "PTS_SYNC__DEADLINE": ""}
    (line,) = problems(tmp_path, environ={variable: "1", **environ})
    assert variable in line.partition(": ")[0]
    assert ("with one underscore" in line) == ("__" not in variable)
    assert line.partition("; ")[2].startswith(hint)


@pytest.mark.parametrize(
    ("flags", "environ", "start"),
    [
        (
            {},
            {"PTS_ROSTER__PATH": "r", "PTS_ROSTER__URL": "sqlite:///x", "PTS_ROSTER__QUERY": "q"},
            "roster.path (environment variable PTS_ROSTER__PATH) and roster.url (",
        ),
        ({}, {"PTS_ROSTER__QUERY": "q"}, "roster.url and roster.query: one of them is set"),
        (
            {"telemetry.ping_url": "https://hc-ping.com/hemmelig"},
            {},
            "telemetry.ping_url (flag --it): other processes can read the command line",
        ),
    ],
)
def test_contradictions(tmp_path, flags, environ, start):
    """Keys that exclude each other are reported, and a secret that stands on the command line."""
    (line,) = problems(tmp_path, flags=flags, environ=environ)
    assert line.startswith(start)
    assert "hemmelig" not in line


@pytest.mark.parametrize("content", [None, b"\xff", "x" * (1 << 20) + "y"])
def test_a_file_that_cannot_be_read_is_the_one_fault(tmp_path, content):
    """What it would have set is not reported as missing; other errors are."""
    if content is not None:
        write(tmp_path, content)
    config_path = Path("config/worker.toml")
    environ = {"PTS_ROSTER__URL": "sqlite:///ehr.db"}
    more = {"config_path": config_path, "environ": environ, "purpose": "sync"}
    (line,) = problems(tmp_path, **more)
    assert f"{tmp_path}/config/worker.toml" in line
    first, second = problems(tmp_path, **more, flags={"sync.concurrency": "lots"})
    assert (first, second.startswith("sync.concurrency")) == (line, True)
