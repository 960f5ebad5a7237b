"""What HelseID's self-service says of the client: when its key expires, and which scopes it has."""

from datetime import datetime, timedelta
from typing import Final

import anyio
import msgspec
import structlog

from worker.app import App
from worker.core.retry import RetryPolicy
from worker.core.value import Value
from worker.errors import ConfigurationError, RefusedError, WorkerError
from worker.helseid.authorizer import open_helseid
from worker.helseid.self_service import OPTIONS, SCOPE_REFUSALS, ScopeAccess, SelfService

log = structlog.get_logger(__name__)

EXPIRY_WARNING: Final = timedelta(days=30)
"""How long before the client key expires there is a warning."""
ROTATE: Final = "replace it in time: `pts-worker keys rotate`, or in self-service"
_PATIENCE_S: Final = 10.0


class Registration(Value, frozen=True, kw_only=True):
    """The client as self-service has it.

    Attributes:
        is_listed: the key in use is among the registered keys.
        expires_at: when HelseID stops accepting it; None if self-service does not say.
        scopes: approved or not.
    """

    is_listed: bool
    expires_at: datetime | None
    scopes: tuple[ScopeAccess, ...]


async def read_registration(app: App, *, with_scopes: bool) -> Registration:
    """Ask self-service for the client's keys, and its scopes if wanted. Two calls to three.

    Raises:
        ConfigurationError: ``helseid.self_service_url`` is not set, or leads to something else.
        RefusedError: the client may not ask (``code`` in ``SCOPE_REFUSALS``), or is denied.
        UnavailableError: no valid response.
    """
    url = app.settings.helseid.self_service_url
    if url is None:
        raise ConfigurationError("helseid.self_service_url is not set")
    key = app.client_key()
    options = msgspec.structs.replace(
        app.helseid_options(key),
        **OPTIONS,
        retry=RetryPolicy(attempts_max=2),
        attempt_s_max=min(_PATIENCE_S, app.settings.sync.request_timeout_s),
    )
    async with app.helseid_http(options) as http:
        service = SelfService(url, open_helseid(options, key, app.runtime, http))
        own = {key.kid, key.thumbprint()}
        keys = [known for known in await service.keys() if own & {known.kid, known.thumbprint}]
        scopes = await service.scopes() if with_scopes else ()
    # A key that was registered twice is accepted until the later of its dates.
    dates = [known.expires_at for known in keys if known.expires_at is not None]
    return Registration(is_listed=bool(keys), expires_at=max(dates, default=None), scopes=scopes)


async def key_expiry(app: App) -> datetime | None:
    """When the client key expires, for the metrics; None if unknown, which is logged.

    Takes 10 s at most. An expiry within 30 days is logged as a warning.
    """
    try:
        with anyio.fail_after(_PATIENCE_S):
            found = await read_registration(app, with_scopes=False)
    except (WorkerError, TimeoutError) as error:
        reason = error.message if isinstance(error, WorkerError) else "no response in time"
        log.warning("helseid.key_expiry_unknown", reason=reason)
        return None
    if found.expires_at is None:
        log.warning("helseid.key_expiry_unknown", reason=why_unknown(found))
    elif found.expires_at - app.runtime.now() < EXPIRY_WARNING:
        log.warning("helseid.key_expires", expires_at=found.expires_at.isoformat(), hint=ROTATE)
    return found.expires_at


def why_unknown(found: Registration) -> str:
    """Why ``expires_at`` is None."""
    if found.is_listed:
        return "self-service gives no date for the key in use"
    return "self-service does not list the key in use"


def may_not_ask(error: WorkerError) -> bool:
    """Whether the client has not the scope to ask self-service."""
    return isinstance(error, RefusedError) and error.code in SCOPE_REFUSALS
