"""The check of ``doctor`` on the contract with PTS: which one it is, and whether it was proven."""

from worker.app import App
from worker.core.contract import fingerprint
from worker.errors import ConfigurationError, WorkerError
from worker.store.proven import is_proven
from worker.use_cases.checks import CheckResult, fail, ok, skip, warn

_HINT = (
    "`pts-worker doctor --probe --person -` compares the answers for a synthetic person who has "
    "restrictions; docs/first-day.md"
)
_PATIENCE_S = 1.0


async def check_contract(app: App, *, has_store: bool = True) -> CheckResult:
    """The contract can be read, and live answers have once been as it declares them.

    Args:
        has_store: the ledger can be asked whether they have.
    """
    try:
        contract = app.contract()
        wanted = app.contract_read()
    except ConfigurationError as error:
        return fail("contract", error)
    marks = {name: fingerprint(contract[name]) for name in app.settings.sync.areas}
    origin = app.contract_origin()
    named = ", ".join(f"{name} {mark}" for name, mark in marks.items())
    text = f"{origin or 'the one that comes with the program'}: {named}"
    facts = {"origin": origin, "fingerprints": marks}
    if not has_store:
        return ok("contract", text, **facts)
    try:
        async with app.database(patience_s_max=_PATIENCE_S) as store:
            proven = await store.read(is_proven, wanted)
    except WorkerError:  # the check of the database reports it
        return skip("contract", "first the database")
    if not proven:
        return warn("contract", f"{text}; no probe has proven it yet", _HINT, **facts)
    return ok("contract", f"{text}; a probe has proven it", **facts)
