"""Authorizes requests to PTS with HelseID tokens, and classifies PTS's refusals.

An API built like NHN's sample answers every invalid DPoP proof with ``Bearer
error="invalid_token"`` (PTS reference, section 13), so a refusal does not show whether the token or
the proof is invalid. Repeating the request with the same token and a new proof shows it.
"""

import math
import re
from collections.abc import Iterable, Mapping
from typing import Final

import httpx
import structlog

from worker.config.settings import HelseId
from worker.errors import DeniedError
from worker.helseid.client import HelseIdClient
from worker.helseid.keys import ClientKey
from worker.helseid.refusals import CLOCK_HINT, clock_problem, error_code, refusal_of
from worker.helseid.tokens import Token, TokenSource
from worker.http.response import HttpResponse
from worker.ports import Runtime

_REPLACEMENT_INTERVAL_S: Final = 60.0
"""Minimum time between two token replacements."""
_REPEATS: Final = 2
"""A refused request is repeated with a new proof and any new nonce, then with a new token."""
_UNAUTHORIZED: Final = 401
_ERROR: Final = re.compile(r'\berror="([^"]*)"', re.IGNORECASE)
_log = structlog.get_logger(__name__)


class HelseIdAuthorizer:
    """Authorizes each attempt, with DPoP or, if configured, bearer.

    Attributes:
        tokens: provides the token of an attempt.
    """

    def __init__(self, tokens: TokenSource, runtime: Runtime) -> None:
        self.tokens = tokens
        self._runtime = runtime
        self._replaced_s = -math.inf

    def headers(self, method: str, url: str, token: Token) -> Mapping[str, str]:
        """The token and a new DPoP proof for one attempt. Send them at once: a proof ages."""
        headers = {"Authorization": token.authorization}
        if self.tokens.proof_key is not None:
            headers["DPoP"] = self.tokens.proof_key.proof(
                method,
                url,
                iat=int(self._runtime.now().timestamp()),
                jti=self._runtime.new_id(),
                access_token_hash=token.token_hash,
            )
        return headers

    def keep_nonce(self, url: str, response: HttpResponse) -> None:
        """Keep the nonce of a response, if it has one, for the next proofs."""
        if self.tokens.proof_key is not None:
            self.tokens.proof_key.keep_nonce(url, response.header("dpop-nonce"))

    def refusal(self, token: Token, response: HttpResponse, refusals: int) -> DeniedError | None:
        """The error if PTS denies this client. None if the request is to be repeated.

        Args:
            token: the request's.
            response: 401 or 403.
            refusals: refusals of this request so far, with this one.
        """
        code = challenge_error(response.headers.get("www-authenticate", ()))
        _log.debug(
            "helseid.call_denied", status=response.status, code=code, token_id=token.token_id
        )
        # A 403 is about the client's rights, which a new proof or token does not change.
        if response.status == _UNAUTHORIZED and refusals <= _REPEATS:
            # A new proof alone did not help, so the token must be the reason.
            if refusals == _REPEATS:
                self._replace(token)
            return None
        text = f"PTS answered {refusal_of(response.status, code)}"
        if clock := clock_problem(response.header("date"), self._runtime.now(), whose="PTS's"):
            text += f"; {clock}"
        is_clock = clock and response.status == _UNAUTHORIZED
        return DeniedError(text, status=response.status, hint=CLOCK_HINT if is_clock else "")

    def _replace(self, token: Token) -> None:
        """Discard a refused token, unless it was already replaced, or another one recently was."""
        now_s = self._runtime.monotonic()
        # Many requests with the same token fail together: the first one replaces it for all.
        is_due = now_s - self._replaced_s >= _REPLACEMENT_INTERVAL_S
        if is_due and self.tokens.current is token:
            self._replaced_s = now_s
            self.tokens.drop()


def challenge_error(values: Iterable[str]) -> str:
    """The error code of a ``WWW-Authenticate`` header, or empty."""
    match = _ERROR.search(", ".join(values))
    return error_code(match[1]) if match else ""


def open_helseid(
    settings: HelseId, key: ClientKey, runtime: Runtime, http: httpx.AsyncClient
) -> HelseIdAuthorizer:
    """An authorizer for the requests of a run. Sends no request yet.

    Args:
        http: see ``helseid_client``. The caller closes it.

    Raises:
        ConfigurationError: the settings are incomplete.
    """
    client = HelseIdClient(http, runtime)
    return HelseIdAuthorizer(TokenSource(settings, key, client, runtime), runtime)
