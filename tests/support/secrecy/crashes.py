"""Bugs with an identifier, a token and a body at hand."""

from collections.abc import Mapping
from typing import Final

from tests.support.secrecy.canaries import WORD
from tests.support.secrecy.nights import Night
from tests.support.standin import SAFETY

CRASHES: Final[Mapping[str, tuple[str, str, str]]] = {
    "page": (
        "worker.pts.reader",
        "read_answer",
        "lambda status, headers, body, contract, off_id: (off_id, body)",
    ),
    "request": (
        "worker.http.transport",
        "Transport.post",
        "lambda self, url, headers, body, **more: (headers, body)",
    ),
    "batch": (
        "worker.store.runs.run_store",
        "RunStore.apply",
        "lambda self, reads: [(one.person.off_id.reveal(), one.areas) for one in reads]",
    ),
    "pseudonym": (
        "worker.core.identity",
        "PseudonymKey.pseudonym",
        "lambda self, off_id: off_id.reveal()",
    ),
}
"""Where the program is broken: module, function, and what its exception's text is made of."""

_BREAK: Final = """
import importlib, inspect
owner = importlib.import_module({module!r})
*path, name = {path!r}.split(".")
for part in path:
    owner = getattr(owner, part)
real, speak = getattr(owner, name), {speak}

def fail(*given, **named):
    text = str(speak(*given, **named))
    with open("tmp/reported", "w") as reported:
        reported.write(text)
    raise RuntimeError(text)

async def fail_later(*given, **named):
    fail(*given, **named)

setattr(owner, name, fail_later if inspect.iscoroutinefunction(real) else fail)
"""

_REFUSE: Final = {
    "sqlite": """
        CREATE TRIGGER refusing BEFORE INSERT ON patient_safety_version
        WHEN NEW.cause LIKE '%refuse%' BEGIN SELECT RAISE(ABORT, 'refused'); END
        """,
    "postgresql": """
        ALTER TABLE patient_safety_version ADD CONSTRAINT refusing
        CHECK (cause NOT LIKE '%refuse%') NOT VALID
        """,
}
"""Lets the database refuse a row, and say so with the row's values."""

_ALLOW: Final = {
    "sqlite": "DROP TRIGGER refusing",
    "postgresql": "ALTER TABLE patient_safety_version DROP CONSTRAINT refusing",
}


def broken(name: str) -> str:
    """Code that breaks the program at one place."""
    module, path, speak = CRASHES[name]
    return _BREAK.format(module=module, path=path, speak=speak)


def crash(night: Night) -> None:
    """One bug after the other; a row that the database refuses; a ledger that makes no sense.

    PTS answers well meanwhile, so that each bug is met.
    """
    night.made.script.clear()
    somebody = night.healthy[0]
    for name, command, given in (
        *((name, "sync", "") for name in CRASHES),
        ("pseudonym", "explain", f"{somebody}\n"),
        ("pseudonym", "erase --json", f"{somebody}\n"),
    ):
        night.call(command, given, label=f"({name}) ", before=broken(name))
        reported = night.worker.folder / "tmp" / "reported"
        night.crashes[f"({name}) {command}"] = reported.read_text() if reported.exists() else ""
        reported.unlink(missing_ok=True)

    night.call("sync", label="(mended) ")
    store = night.worker.store
    dialect = "sqlite" if store.is_sqlite else "postgresql"
    store.rows(_REFUSE[dialect])
    night.made.people[night.healthy[3]][SAFETY][0]["cause"] = f"refuse {WORD}"
    night.call("sync", label="(row) ")
    night.crashes["(row) sync"] = WORD
    store.rows(_ALLOW[dialect])

    store.rows("UPDATE run SET areas = 'no json' WHERE published_at IS NULL")
    night.call("sync", label="(ledger) ")
    night.crashes["(ledger) sync"] = ""
