"""The line of ``doctor`` on the client's registration: expiry of its key, and its scopes."""

from worker.app import App
from worker.core.plurals import counted
from worker.errors import WorkerError
from worker.helseid.self_service import SCOPE
from worker.use_cases.checks import CheckResult, State, ok, skip, warn
from worker.use_cases.registration import (
    EXPIRY_WARNING,
    ROTATE,
    Registration,
    may_not_ask,
    read_registration,
    why_unknown,
)

_NAME = "self-service"
_BY_HAND = "note the date that self-service shows"


async def check_registration(app: App) -> CheckResult:
    """The client key does not expire soon, and each requested scope is approved.

    A sync needs no self-service, so nothing here fails; what cannot be known is called unknown.
    """
    if app.settings.helseid.self_service_url is None:
        return skip(_NAME, "helseid.self_service_url is not set; the key's expiry is unknown")
    try:
        found = await read_registration(app, with_scopes=True)
    except WorkerError as error:
        text = f"the key's expiry is unknown: {error.message}"
        if not may_not_ask(error):
            return warn(_NAME, text, error.hint or _BY_HAND)
        return CheckResult(
            name=_NAME,
            state=State.SKIP,
            text=text,
            hint=f"give it the scope {SCOPE} in self-service, or {_BY_HAND}",
        )
    return _line(app, found)


def _line(app: App, found: Registration) -> CheckResult:
    hints = []
    if found.expires_at is None:
        text = f"the key's expiry is unknown: {why_unknown(found)}"
        hints.append("compare `pts-worker keys public` with the keys in self-service")
    else:
        left = found.expires_at - app.runtime.now()
        text = f"the key expires {found.expires_at:%Y-%m-%d}, in {counted(left.days, 'day')}"
        if left < EXPIRY_WARNING:
            hints.append(ROTATE)
    states = {scope.scope: scope for scope in found.scopes}
    for name in app.settings.helseid.scope.split() if states else ():
        scope = states.get(name)
        if scope is None or not scope.is_ok:
            why = "not registered" if scope is None else f"pending {scope.reason}".strip()
            text += f"; scope {name}: {why}"
            hints.append("ask for the scope in self-service, or wait for its approval")
    approved = [scope.scope for scope in found.scopes if scope.is_ok]
    if approved:
        text += f"; approved scopes {' '.join(approved)}"
    facts = {
        "expires_at": found.expires_at,
        "scopes": {scope.scope: "ok" if scope.is_ok else "pending" for scope in found.scopes},
    }
    if hints:
        return warn(_NAME, text, "; ".join(dict.fromkeys(hints)), **facts)
    return ok(_NAME, text, **facts)
