"""Access tokens: cached until shortly before they expire, requested by one task at a time.

The client authenticates to HelseID with an assertion (``private_key_jwt``).
"""

import copy
from functools import partial
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.to_thread
import httpx
import structlog

from worker.config.settings import HelseId
from worker.core.value import Value
from worker.errors import ConfigurationError, RefusedError, WorkerError
from worker.helseid.client import Discovery, HelseIdClient, Metadata
from worker.helseid.dpop import ProofKey, token_hash
from worker.helseid.keys import ClientKey
from worker.helseid.refusals import clock_problem, granted_token
from worker.ports import Runtime
from worker.trusted_files import read_trusted

_ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_TYP: Final = "client-authentication+jwt"
_ASSERTION_LIFETIME_S: Final = 30
"""HelseID accepts at most 60 (HelseID reference, section 1)."""
_SINGLE_TENANT_SYSTEM: Final = "urn:oid:2.16.578.1.12.4.1.4.101"
_MULTI_TENANT_SYSTEM: Final = "urn:oid:1.0.6523"
_EXCHANGE_GRANT: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
_SUBJECT_TOKEN_TYPE: Final = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105
_SUBJECT_FILE: Final = "helseid.subject_token_file"
_ABOUT_THE_PROOF: Final = frozenset({"use_dpop_nonce", "invalid_dpop_proof"})
"""Refusals after which a new request is sent, once."""
_LIFETIME_S_MAX: Final = 86_400.0
"""Upper limit on ``expires_in``. HelseID's tokens are valid for minutes."""
_RENEWAL_MARGIN_S_MAX: Final = 30.0
_RENEWAL_SHARE: Final = 0.2
"""A token is renewed 30 s before it expires, or at 80 % of its lifetime if that is later."""
_log = structlog.get_logger(__name__)


class Token(Value, frozen=True, kw_only=True):
    """An access token with the requested scopes.

    Attributes:
        authorization: the ``Authorization`` header. Never logged.
        token_id: a sequence number, safe to log.
        token_hash: ``ath`` of its DPoP proofs.
        renew_at_s: on the runtime's monotonic clock.
    """

    hidden = frozenset({"authorization", "token_hash"})

    authorization: str
    token_id: str
    token_hash: str
    expires_in_s: float
    renew_at_s: float


class TokenSource:
    """Provides the current token and renews it in time.

    One task at a time requests a token. If that task is cancelled, a waiting task takes over. If
    the request fails, all waiting tasks fail with the same error, and later calls try again.

    Attributes:
        proof_key: signs the proofs of token requests and of requests to PTS. None for bearer.

    Raises:
        ConfigurationError: a multi-tenant client has no parent organisation.
    """

    def __init__(
        self, settings: HelseId, key: ClientKey, client: HelseIdClient, runtime: Runtime
    ) -> None:
        self.proof_key = ProofKey() if settings.sender_constraint == "dpop" else None
        self.discovery = Discovery(settings.issuer or "", client, runtime)
        self._settings = settings
        self._organization = _organization_claim(settings)
        self._key = key
        self._client = client
        self._runtime = runtime
        self._lock = anyio.Lock()
        self._token: Token | None = None
        self._issued = 0
        self._requested_at_s = 0.0
        self._failed_requests = 0
        self._last_error: WorkerError | None = None

    async def token(self) -> Token:
        """A token that does not expire soon.

        Raises:
            RefusedError: HelseID denies the client.
            UnavailableError: HelseID cannot be reached after all retries.
            ConfigurationError: the issuer or the subject token file cannot be used.
        """
        if (token := self.current) is not None:
            return token
        # If the request of another task fails while this one waits, both get the same error.
        failed_before = self._failed_requests
        async with self._lock:
            # Another task may have renewed it while this one waited for the lock.
            if (token := self.current) is not None:
                return token
            if self._last_error is not None and self._failed_requests > failed_before:
                raise copy.copy(self._last_error)
            try:
                self._token = await self._request()
            except WorkerError as error:
                self._failed_requests += 1
                self._last_error = error
                raise
            return self._token

    def drop(self) -> None:
        """Discard the current token, which PTS refuses."""
        if self._token is not None:
            _log.info("helseid.token_dropped", token_id=self._token.token_id)
            self._token = None

    @property
    def current(self) -> Token | None:
        """The cached token, or None if it expires soon."""
        token = self._token
        if token is None or self._runtime.monotonic() >= token.renew_at_s:
            return None
        return token

    async def _request(self) -> Token:
        """Request a token. Repeat the request once if the proof is refused (usually: no nonce yet).

        Raises:
            RefusedError: HelseID refuses the client, or the token differs from the request.
        """
        metadata = await self.discovery.metadata()
        grant = await self._grant()

        async def request_token() -> Token:
            return await self._client.call(
                lambda: self._new_request(metadata, grant),
                lambda response: self._read(metadata.token_endpoint, response),
            )

        try:
            return await request_token()
        except RefusedError as error:
            if error.code not in _ABOUT_THE_PROOF:
                raise
        # The first refusal's response had a nonce, which the second proof contains.
        return await request_token()

    async def _grant(self) -> dict[str, str]:
        """The fields of the form for the configured grant."""
        if self._settings.grant == "client_credentials":
            return {"grant_type": "client_credentials"}
        if self._settings.subject_token_file is None:
            raise ConfigurationError(f"{_SUBJECT_FILE}: is not set")
        return {
            "grant_type": _EXCHANGE_GRANT,
            "subject_token": await _subject_token(self._settings.subject_token_file),
            "subject_token_type": _SUBJECT_TOKEN_TYPE,
        }

    def _new_request(self, metadata: Metadata, grant: dict[str, str]) -> httpx.Request:
        """A new request for each attempt, with a new ``jti`` in both assertion and DPoP proof."""
        # Rounded down: a server may reject an ``iat`` in the future.
        issued_s = int(self._runtime.now().timestamp())
        self._requested_at_s = self._runtime.monotonic()
        form = {
            **grant,
            "client_id": self._settings.client_id,
            "scope": self._settings.scope,
            "client_assertion_type": _ASSERTION_TYPE,
            "client_assertion": self._assertion(metadata.issuer, issued_s),
        }
        headers = {}
        if self.proof_key is not None:
            headers["DPoP"] = self.proof_key.proof(
                "POST", metadata.token_endpoint, iat=issued_s, jti=self._runtime.new_id()
            )
        return self._client.http.build_request(
            "POST", metadata.token_endpoint, headers=headers, data=form
        )

    def _assertion(self, issuer: str, issued_s: int) -> str:
        """An assertion for one attempt (HelseID reference, section 1)."""
        claims = {
            "iss": self._settings.client_id,
            "sub": self._settings.client_id,
            "aud": issuer,  # a single audience, so that no other server can replay the assertion
            "iat": issued_s,
            "nbf": issued_s,
            "exp": issued_s + _ASSERTION_LIFETIME_S,
            "jti": self._runtime.new_id(),
        }
        return self._key.sign(typ=_TYP, claims=claims | self._organization)

    def _read(self, endpoint: str, response: httpx.Response) -> Token:
        """The token in a response. Remembers the response's nonce and logs a wrong clock.

        Raises:
            TransientError: it is neither a token nor a refusal.
            RefusedError: HelseID refuses the client, or the token differs from the request.
        """
        clock = clock_problem(response.headers.get("date"), self._runtime.now(), whose="HelseID's")
        if self.proof_key is not None:
            self.proof_key.keep_nonce(endpoint, response.headers.get("dpop-nonce"))
        granted = granted_token(response, clock=clock)
        # HelseID may grant less than requested, for example without signed terms of use.
        granted.require(self._settings.sender_constraint, self._settings.scope.split())
        # A huge `expires_in` must not keep a token for ever.
        lifetime_s = min(granted.expires_in, _LIFETIME_S_MAX)
        margin_s = min(_RENEWAL_MARGIN_S_MAX, _RENEWAL_SHARE * lifetime_s)
        self._issued += 1
        token = Token(
            authorization=f"{'DPoP' if self.proof_key else 'Bearer'} {granted.access_token}",
            token_id=str(self._issued),
            token_hash=token_hash(granted.access_token),
            expires_in_s=lifetime_s,
            # From the request, not the response: the lifetime may have begun before it arrived.
            renew_at_s=self._requested_at_s + lifetime_s - margin_s,
        )
        _log.info(
            "helseid.token_received",
            token_id=token.token_id,
            expires_in_s=token.expires_in_s,
            scope=self._settings.scope,
        )
        if clock:
            _log.warning("helseid.clock_off", problem=clock)
        return token


async def _subject_token(path: Path) -> str:
    """The signed-in person's token. It is used for one request and never stored.

    Raises:
        ConfigurationError: the file cannot be read or does not contain exactly one token.
    """
    read = partial(read_trusted, path, key=_SUBJECT_FILE, is_secret=True)
    token = (await anyio.to_thread.run_sync(read)).strip()
    if not token.isascii() or len(token.split()) != 1:
        raise ConfigurationError(f"{_SUBJECT_FILE}: {path} must contain exactly one token")
    return token.decode("ascii")


def _organization_claim(settings: HelseId) -> dict[str, Any]:
    """The claim of the organisation that the client acts for (HelseID reference, section 3).

    Empty without an organisation. A single-tenant client sends only the child, because HelseID has
    its parent on record.

    Raises:
        ConfigurationError: a multi-tenant client has no parent.
    """
    parent, child = settings.organization_parent, settings.organization_child
    tenancy = settings.tenancy or ("multi-tenant" if parent else "single-tenant")
    if tenancy == "multi-tenant":
        return _assertion_details(_MULTI_TENANT_SYSTEM, _multi_tenant_value(parent, child))
    return _assertion_details(_SINGLE_TENANT_SYSTEM, child) if child else {}


def _multi_tenant_value(parent: str | None, child: str | None) -> str:
    if not parent:
        raise ConfigurationError(
            "helseid.organization_parent: is not set, but the client is multi-tenant",
            hint="set it to the organisation that the client acts for; PTS requires it",
        )
    # Without a child, HelseID's Java library stops here. Its C# library adds a colon.
    return f"NO:ORGNR:{parent}:{child}" if child else f"NO:ORGNR:{parent}"


def _assertion_details(system: str, organization: str) -> dict[str, Any]:
    identifier = {"system": system, "type": "ENH", "value": organization}
    details = {
        "type": "helseid_authorization",
        "practitioner_role": {"organization": {"identifier": identifier}},
    }
    return {"assertion_details": details}
