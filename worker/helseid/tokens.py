"""Access tokens: cached until shortly before they expire, requested by one task at a time."""

import copy
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.to_thread
import httpx
import structlog

from worker.core.dpop import token_hash
from worker.core.value import Value
from worker.errors import ConfigurationError, RefusedError, WorkerError
from worker.helseid.assertion import ASSERTION_TYPE, AssertionMaker
from worker.helseid.discovery import Discovery, Metadata
from worker.helseid.evidence import wait_after_refusal_s
from worker.helseid.keys import ClientKey
from worker.helseid.options import GrantKind, HelseIdOptions
from worker.helseid.proof import ProofKey
from worker.helseid.refusals import clock_problem, refusal
from worker.helseid.secret_files import read_secret
from worker.helseid.token_response import (
    granted_scopes,
    is_refusal,
    lifetime_s,
    nonce_from,
    require_type,
    token_document,
)
from worker.helseid.transport import HelseIdClient, HelseIdResponse
from worker.ports import Runtime

_GRANT_TYPES: Final[dict[GrantKind, str]] = {
    "client_credentials": "client_credentials",
    "token_exchange": "urn:ietf:params:oauth:grant-type:token-exchange",
}
_SUBJECT_TOKEN_TYPE: Final = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105
_SUBJECT_FILE: Final = "helseid.subject_token_file"
_NONCE_RETRIES_MAX: Final = 2
_PROOF_RETRIES_MAX: Final = 1
_NONCE_LIFETIME_S: Final = 50.0
"""HelseID's nonces are presumably valid for 60 s (HelseID reference, section 2)."""
_RENEWAL_MARGIN_S_MAX: Final = 30.0
_RENEWAL_SHARE: Final = 0.2
"""A token is renewed 30 s before it expires, or at 80 % of its lifetime if that is later."""
_log = structlog.get_logger(__name__)


class Token(Value, frozen=True, kw_only=True):
    """An access token.

    Attributes:
        authorization: the ``Authorization`` header. Never logged.
        token_id: a sequence number; safe to log.
        token_hash: ``ath`` of its DPoP proofs.
        renew_at_s: on the runtime's monotonic clock.
    """

    hidden = frozenset({"authorization", "token_hash"})

    authorization: str
    token_id: str
    token_hash: str
    expires_in_s: float
    scopes: tuple[str, ...]
    renew_at_s: float


class TokenSource:
    """Provides the current token and renews it in time.

    One task at a time requests a token. If that task is cancelled, a waiting task takes over. If
    the request fails, all waiting tasks fail with the same error, and later calls try again.

    A refusal is final at once for a client that never got a token, and after 10 to 20 s of repeated
    refusals for one that did.

    Args:
        granted: the clients that HelseID has given a token in this process; changed here.

    Raises:
        ConfigurationError: the options contradict each other.
    """

    def __init__(
        self,
        options: HelseIdOptions,
        key: ClientKey,
        proof_key: ProofKey | None,
        *,
        discovery: Discovery,
        client: HelseIdClient,
        runtime: Runtime,
        granted: set[str] | None = None,
    ) -> None:
        if options.grant == "token_exchange" and options.subject_token_file is None:
            raise ConfigurationError(
                f"{_SUBJECT_FILE}: is not set, but helseid.grant is token_exchange"
            )
        if not options.scope.split():
            raise ConfigurationError("helseid.scope: is empty")
        self._options = options
        self._proof_key = proof_key
        self._assertions = AssertionMaker(options, key)
        self._discovery = discovery
        self._client = client
        self._runtime = runtime
        self._lock = anyio.Lock()
        self._token: Token | None = None
        self._issued = 0
        self._granted = set() if granted is None else granted
        self._name = f"{options.issuer} {options.client_id} {key.kid} {options.scope}"
        self._nonce: str | None = None
        self._nonce_until_s = 0.0
        self._failures = 0
        self._failure: WorkerError | None = None
        self.clock_ahead_s: float | None = None
        """How far this machine's clock was ahead of HelseID's at the last response, if known."""

    async def token(self) -> Token:
        """A token that does not expire soon.

        Raises:
            RefusedError: HelseID denies the client.
            UnavailableError: HelseID cannot be reached after all retries.
            ConfigurationError: the issuer or the subject token file cannot be used.
        """
        if (token := self._current()) is not None:
            return token
        failures_before = self._failures
        async with self._lock:
            if (token := self._current()) is not None:
                return token
            if self._failure is not None and self._failures > failures_before:
                raise copy.copy(self._failure)
            try:
                self._token = await self._request_token()
            except WorkerError as error:
                self._failures += 1
                self._failure = error
                raise
            self._failure = None
            return self._token

    def drop(self) -> None:
        """Discard the current token, which PTS refuses."""
        if self._token is not None:
            _log.info("helseid.token_dropped", token_id=self._token.token_id)
            self._token = None

    def is_current(self, token_id: str) -> bool:
        """Whether ``token`` would return this token."""
        token = self._current()
        return token is not None and token.token_id == token_id

    def _current(self) -> Token | None:
        token = self._token
        if token is None or self._runtime.monotonic() >= token.renew_at_s:
            return None
        return token

    async def _request_token(self) -> Token:
        """Repeat the request until HelseID issues a token or refuses for good."""
        metadata = await self._discovery.metadata()
        refusals = 0
        while True:
            try:
                token = await self._request_with_nonce(metadata)
            except RefusedError as error:
                refusals += 1
                wait_s = self._wait_after_s(refusals)
                if wait_s is None:
                    _log.debug("helseid.refused", code=error.code)
                    raise
                _log.warning("helseid.refused_once", code=error.code, wait_s=wait_s)
                await self._runtime.sleep(wait_s)
            else:
                self._granted.add(self._name)
                return token

    def _wait_after_s(self, refusals: int) -> float | None:
        """Seconds before the next request after a refusal; None if it is final."""
        if self._name not in self._granted:
            return None
        wait_s = wait_after_refusal_s(
            refusals,
            attempts_max=self._options.retry.attempts_max,
            jitter=self._runtime.uniform(),
        )
        if wait_s is None:
            self._granted.discard(self._name)
        return wait_s

    async def _request_with_nonce(self, metadata: Metadata) -> Token:
        """Request a token; answer demands for a nonce and, once, a refused proof.

        Raises:
            RefusedError: HelseID refuses the client, or the token is not what was asked for.
        """
        nonce_retries = proof_retries = 0
        while True:
            try:
                return await self._request_once(metadata)
            except RefusedError as error:
                if error.code == "use_dpop_nonce" and nonce_retries < _NONCE_RETRIES_MAX:
                    self._require_nonce(error)
                    nonce_retries += 1
                elif error.code == "invalid_dpop_proof" and proof_retries < _PROOF_RETRIES_MAX:
                    self._nonce = None
                    proof_retries += 1
                else:
                    raise

    async def _request_once(self, metadata: Metadata) -> Token:
        requested_at_s = 0.0

        async def request() -> httpx.Request:
            nonlocal requested_at_s
            requested_at_s = self._runtime.monotonic()
            return await self._new_request(metadata)

        return await self._client.call(
            request, lambda response: self._token_from(response, requested_at_s)
        )

    async def _new_request(self, metadata: Metadata) -> httpx.Request:
        """A new request for each attempt, with a new ``jti`` in both assertion and DPoP proof."""
        now = self._runtime.now()
        endpoint = metadata.token_endpoint
        form = {
            "grant_type": _GRANT_TYPES[self._options.grant],
            "client_id": self._options.client_id,
            "scope": " ".join(self._options.scope.split()),
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": self._assertions.make(
                issuer=metadata.issuer, now=now, jti=self._runtime.new_id()
            ),
        }
        if self._options.subject_token_file is not None and self._options.grant == "token_exchange":
            form["subject_token"] = await _subject_token(self._options.subject_token_file)
            form["subject_token_type"] = _SUBJECT_TOKEN_TYPE
        headers = {}
        if self._proof_key is not None:
            is_fresh = self._runtime.monotonic() < self._nonce_until_s
            headers["DPoP"] = self._proof_key.proof(
                "POST",
                endpoint,
                iat=int(now.timestamp()),
                jti=self._runtime.new_id(),
                nonce=self._nonce if is_fresh else None,
            )
        return self._client.new_request("POST", endpoint, headers=headers, data=form)

    def _require_nonce(self, refused: RefusedError) -> None:
        if self._nonce is None or self._proof_key is None:
            raise RefusedError(
                "HelseID requires a DPoP nonce but sent none", code=refused.code, hint=refused.hint
            ) from None

    def _token_from(self, response: HelseIdResponse, requested_at_s: float) -> Token:
        """The token in a response.

        Raises:
            NoAnswerError: it is neither a token nor a refusal.
            RefusedError: HelseID refuses the client, or the token is not what was asked for.
        """
        document = token_document(response)
        self.clock_ahead_s = response.clock_ahead_s
        if (nonce := nonce_from(response)) is not None:
            self._nonce = nonce
            self._nonce_until_s = self._runtime.monotonic() + _NONCE_LIFETIME_S
        elif is_refusal(response):
            self._nonce = None
        if is_refusal(response):
            error = refusal(
                document.get("error"),
                document.get("error_description"),
                status=response.status,
                clock_ahead_s=response.clock_ahead_s,
            )
            _log.debug("helseid.token_denied", status=response.status, code=error.code)
            raise error
        require_type(document, self._options.sender_constraint)
        scopes = granted_scopes(document, self._options.scope.split())
        return self._new_token(document, scopes, requested_at_s)

    def _new_token(
        self, document: dict[str, Any], scopes: tuple[str, ...], requested_at_s: float
    ) -> Token:
        access_token, expires_in_s = document["access_token"], lifetime_s(document) or 0.0
        margin_s = min(_RENEWAL_MARGIN_S_MAX, _RENEWAL_SHARE * expires_in_s)
        self._issued += 1
        scheme = "DPoP" if self._options.sender_constraint == "dpop" else "Bearer"
        token = Token(
            authorization=f"{scheme} {access_token}",
            token_id=str(self._issued),
            token_hash=token_hash(access_token),
            expires_in_s=expires_in_s,
            scopes=scopes,
            renew_at_s=requested_at_s + expires_in_s - margin_s,
        )
        _log.info(
            "helseid.token_received",
            token_id=token.token_id,
            expires_in_s=expires_in_s,
            scope=" ".join(scopes),
        )
        if problem := clock_problem(self.clock_ahead_s, whose="HelseID's"):
            _log.warning("helseid.clock_off", problem=problem)
        return token


async def _subject_token(path: Path) -> str:
    """The signed-in person's token. It is used for one request and never stored.

    Raises:
        ConfigurationError: the file cannot be read or does not hold exactly one token.
    """
    content = await anyio.to_thread.run_sync(lambda: read_secret(path, key=_SUBJECT_FILE))
    token = content.strip()
    if not token.isascii() or len(token.split()) != 1:
        raise ConfigurationError(f"{_SUBJECT_FILE}: {path} must hold exactly one token")
    return token.decode("ascii")
