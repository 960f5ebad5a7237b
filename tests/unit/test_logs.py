"""Logs: what is written, and what never is."""

import io
import json
import logging
import warnings

import pytest
import structlog

from worker import logs
from worker.core.identity import NationalId

ID = "16858399649"
JWT = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl"
TOKEN = "0paqueT0kenOfHelseID"
WORD = "hemmelig-ord"


def fail(message, note=""):
    """Raise with a local variable that no traceback may show."""
    secret_local = "hemmelig-lokal"
    raise ValueError(message + note[: len(secret_local)])


@pytest.fixture(autouse=True)
def _restored():
    """Logging is global: every test leaves it as it was."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    root.handlers[:], level = before
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.contextvars.clear_contextvars()
    structlog.reset_defaults()


def configured(log_format, level="DEBUG", stream=None):
    stream = io.StringIO() if stream is None else stream
    logs.configure(level, log_format, stream)
    return stream, structlog.get_logger("worker.test")


def test_json_line():
    """One JSON object a line: time in UTC, level, event, then the values as given."""
    stream, log = configured("json")
    structlog.contextvars.bind_contextvars(run=7)
    values = {"persons": 3, "share": 0.5, "areas": ["a", "b"]}
    log.info("run.started", **values)
    line = json.loads(stream.getvalue())
    assert list(line)[:3] == ["timestamp", "level", "event"]
    assert line["timestamp"].endswith("Z")
    del line["timestamp"]
    assert line == {"level": "info", "event": "run.started", "run": 7, **values}


@pytest.mark.promise("8")
@pytest.mark.parametrize("log_format", ["json", "console"])
def test_nothing_personal_is_written(log_format, capsys):
    """Identifiers and tokens are masked at every depth, in exceptions and in libraries' logs.

    Of an exception there is the class and the frames: no text, no note, no local variable.
    """
    stream, log = configured(log_format)
    try:
        fail(f"bad {ID} {JWT} {TOKEN}", WORD)
    except ValueError as error:
        error.add_note(WORD)
        log.exception("failed %s", ID, nested={ID: [ID, {"x": JWT}]}, number=int(ID), cause=error)
    log.info("x", off_id="short", token="short", person=NationalId(ID), raw=ID.encode())
    log.info("y", nested={"client_secret": "short", "list": [{"password": "short"}]})
    logging.getLogger("apscheduler.scheduler").warning("job %s", ID)
    logging.getLogger("asyncio").error("task failed", exc_info=ValueError(ID))
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn(ID, stacklevel=1)
    text = stream.getvalue() + capsys.readouterr().err
    assert text.count("ValueError") >= 3
    assert "job %s" in text
    assert "py.warnings" in text
    assert "test_logs.py" in text
    secrets = (ID, JWT, "short", "hemmelig-lokal", ID[1:], TOKEN, WORD)
    assert [secret for secret in secrets if secret in text] == []


@pytest.mark.promise("8")
@pytest.mark.parametrize(
    ("library", "message", "arguments", "written"),
    [
        (
            "asyncio",
            f"Task exception was never retrieved\nfuture: <Task exception=ValueError('{WORD}')>",
            (),
            "Task exception was never retrieved",
        ),
        ("sqlalchemy.pool", "ending connection %r", (WORD,), "ending connection %r"),
        ("httpx", f"cannot send {{'DPoP': '{TOKEN}'}}", (), "cannot send"),
    ],
    ids=["task", "template", "mapping"],
)
def test_a_library_is_heard_without_its_values(library, message, arguments, written):
    """Of a library's message the words are written, and not what it fills in."""
    stream, _ = configured("json")
    logging.getLogger(library).error(message, *arguments, exc_info=ValueError(WORD))
    assert WORD not in stream.getvalue()
    assert TOKEN not in stream.getvalue()
    assert json.loads(stream.getvalue())["event"] == written


@pytest.mark.promise("8")
@pytest.mark.parametrize(
    ("library", "level", "heard"),
    [
        ("sqlalchemy.engine.Engine", logging.INFO, False),
        ("httpx", logging.INFO, False),
        ("httpx", logging.WARNING, True),
        ("sqlalchemy.pool", logging.ERROR, True),
        ("apscheduler.scheduler", logging.WARNING, True),
        ("apscheduler.scheduler", logging.INFO, False),
    ],
)
def test_libraries_at_debug(library, level, heard):
    """At DEBUG the worker speaks; libraries that would write parameters or headers do not."""
    stream, _ = configured("json", level="DEBUG")
    logging.getLogger(library).log(level, "hello")
    assert bool(stream.getvalue()) == heard
