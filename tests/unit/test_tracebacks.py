"""Tracebacks: where, what kind of fault, what it came from; and never a value."""

import re
import sqlite3
import sys
import threading
from types import SimpleNamespace

import pytest
import sqlalchemy

from worker.errors import ContractError, describe, install_safe_hooks, safe_traceback

SECRETS = ("16858399649", "0paqueT0kenOfHelseID", "hemmelig-ord")
TEXT = " ".join(SECRETS)
WORKER = "worker.errors."


def secrets_in(text):
    return [secret for secret in SECRETS if secret in text]


def deep(error):
    """Raise with a local variable that no traceback may show."""
    local = TEXT
    assert local
    raise error


def raised(error):
    with pytest.raises(type(error)) as caught:
        deep(error)
    return caught.value


def chained(cause=None, context=None, *, error):
    """What is raised from a cause, or while a context is handled."""
    try:
        try:
            deep(cause or context)
        except Exception as before:
            if cause:
                raise error from before
            raise error  # noqa: B904 - the context is what is wanted
    except type(error) as caught:
        return caught
    raise AssertionError


def heads(text):
    """The lines that tell an exception."""
    return [line.strip() for line in text.splitlines() if re.match(r"[\w.]*(Error|Group)\b", line)]


@pytest.mark.promise("8")
def test_where_and_what_without_the_text():
    """File, line, function and source of each frame, and the class; not the text, nor a note."""
    error = raised(ValueError(TEXT))
    error.add_note(TEXT)
    text = safe_traceback(error)
    assert secrets_in(text) == []
    assert re.search(r'  File ".*test_tracebacks.py", line \d+, in deep\n    raise error', text)
    assert text.startswith("Traceback (most recent call last):\n")
    assert text.endswith("\nValueError\n")


def test_causes_and_contexts():
    """What an exception came from stands before it."""
    cause = chained(cause=KeyError(TEXT), error=ContractError("no key"))
    text = safe_traceback(cause)
    assert secrets_in(text) == []
    assert heads(text) == ["KeyError", "worker.errors.ContractError: no key"]
    context = safe_traceback(chained(context=KeyError(TEXT), error=ValueError(TEXT)))
    assert heads(context) == ["KeyError", "ValueError"]


@pytest.mark.promise("8")
def test_groups():
    """The exceptions of a group are reported, however deep, up to a number; its text is not."""
    inner = ExceptionGroup(TEXT, [raised(KeyError(TEXT))])
    group = raised(ExceptionGroup(TEXT, [inner, *(ValueError(TEXT) for _ in range(200))]))
    text = safe_traceback(group)
    assert secrets_in(text) == []
    assert heads(text)[:4] == ["ExceptionGroup", "ExceptionGroup", "KeyError", "ValueError"]
    assert len(heads(text)) < 50


def database_error():
    """What SQLite says of a row that it does not take, as SQLAlchemy raises it."""
    engine = sqlalchemy.create_engine("sqlite://")
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql("CREATE TABLE t (x TEXT UNIQUE)")
            for _ in range(2):
                connection.execute(sqlalchemy.text("INSERT INTO t VALUES (:x)"), {"x": TEXT})
    except sqlalchemy.exc.IntegrityError as error:
        return error
    finally:
        engine.dispose()
    raise AssertionError


class PostgresError(Exception):
    sqlstate = "23505"


class SpeakingError(Exception):
    sqlstate = TEXT


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (FileNotFoundError(2, TEXT, TEXT), "FileNotFoundError: ENOENT"),
        (OSError(TEXT), "OSError"),
        (database_error(), "sqlalchemy.exc.IntegrityError: SQLITE_CONSTRAINT_UNIQUE"),
        (sqlite3.OperationalError(TEXT), "sqlite3.OperationalError"),
        (PostgresError(TEXT), f"{__name__}.PostgresError: 23505"),
        (SpeakingError(TEXT), f"{__name__}.SpeakingError"),
        (
            ContractError("not a time", field="[0].at"),
            f"{WORKER}ContractError: not a time (at [0].at)",
        ),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
def test_codes(error, line):
    """A system's code is reported, since it holds no value; its text is not, but ours is."""
    assert describe(error) == line


@pytest.fixture
def hooks():
    """Python's hooks, put back afterwards."""
    before = sys.excepthook, threading.excepthook, sys.unraisablehook
    install_safe_hooks()
    yield sys.excepthook, threading.excepthook, sys.unraisablehook
    sys.excepthook, threading.excepthook, sys.unraisablehook = before


@pytest.mark.promise("8")
def test_nor_does_python_print_a_text(hooks, capsys):
    """What nobody caught, in any thread or finalizer, is reported without its text."""
    main, thread, unraisable = hooks
    error = raised(ValueError(TEXT))
    main(ValueError, error, error.__traceback__)
    thread(SimpleNamespace(exc_value=error))
    unraisable(SimpleNamespace(exc_value=error))
    thread(SimpleNamespace(exc_value=SystemExit(TEXT)))
    unraisable(SimpleNamespace(exc_value=None))
    printed = capsys.readouterr().err
    assert secrets_in(printed) == []
    assert printed.count("\nValueError\n") == 3
