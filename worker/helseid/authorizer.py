"""Authorize requests to PTS with HelseID tokens, and handle challenges in PTS's responses.

An API built like NHN's sample answers every invalid DPoP proof with ``Bearer
error="invalid_token"`` (PTS reference, section 13), so a refusal does not show whether the token or
the proof is invalid. Retrying the same token with a new proof does.
"""

import math
import re
from collections.abc import Iterable, Mapping
from typing import Final

import httpx
import structlog

from worker.core.value import Value
from worker.helseid.client import HelseIdClient
from worker.helseid.keys import ClientKey
from worker.helseid.options import HelseIdOptions
from worker.helseid.refusals import clean, clock_problem, error_code
from worker.helseid.tokens import TokenSource
from worker.http.response import HttpResponse
from worker.ports import Runtime

_REPLACEMENT_INTERVAL_S: Final = 60.0
"""Minimum time between two token replacements."""
_PROOFS_REFUSED: Final = 2
"""Refusals in a row after which the token is replaced; before it the proof was."""
_UNAUTHORIZED: Final = 401
_FORBIDDEN: Final = 403
_ACCEPTED: Final = (*range(200, 300), 404)
"""PTS accepted the token: it returned a result, or does not know the person."""
_ABOUT_THE_TOKEN: Final = frozenset({"", "invalid_token"})
"""Error codes that may concern the token. An API may also use them for a DPoP proof."""
_ABOUT_THE_PROOF: Final = frozenset({"invalid_dpop_proof", "use_dpop_nonce"})
_PARAMETER: Final = re.compile(
    r"""(?<![\w-])(error|error_description)[ \t]*+=[ \t]*+(?:"((?:[^"\\]|\\.)*+)|([^\s,"]++))""",
    re.IGNORECASE | re.DOTALL,
)
_LENGTH_MAX: Final = 8192
_log = structlog.get_logger(__name__)


class Authorization(Value, frozen=True, kw_only=True):
    """The authorization of one attempt.

    Attributes:
        headers: ``Authorization`` and, with DPoP, ``DPoP``. Never logged.
        token_id: identifies the access token; safe to log.
        serial: increases with each authorization.
    """

    hidden = frozenset({"headers"})

    headers: Mapping[str, str]
    token_id: str
    serial: int = 0


class ChallengeResult(Value, frozen=True, kw_only=True):
    """What a response means for the authorization; see ``HelseIdAuthorizer.handle_challenge``.

    Attributes:
        retry: an immediate retry with a new authorization may succeed.
        token_replaced: the retry will use another token.
        refused: why this client is denied for now; empty if it is not.
    """

    retry: bool = False
    token_replaced: bool = False
    refused: str = ""


_SAME_TOKEN: Final = ChallengeResult(retry=True)
_NEW_TOKEN: Final = ChallengeResult(retry=True, token_replaced=True)


class HelseIdAuthorizer:
    """Authorizes each attempt, with DPoP or, if configured, bearer; handles challenges.

    After a 401 the request is retried with the same token and a new DPoP proof. If PTS refuses that
    too, the token is replaced; after one more refusal the client is denied for now.

    These steps are taken for all requests together. Those under way are refused for the same
    reason, so a refusal counts only if its proof was made after the one before was known. Any
    accepted request begins anew: the token is valid, and the refusals concern proofs, perhaps at
    one replica only. While PTS refuses everything, a token is replaced once a minute at most.
    """

    def __init__(self, tokens: TokenSource, runtime: Runtime) -> None:
        self.tokens = tokens
        self.discovery = tokens.discovery
        self._runtime = runtime
        self._refusals = 0
        self._made = 0
        self._made_at_refusal = 0
        self._replaced_s = -math.inf

    async def authorize(self, method: str, url: str) -> Authorization:
        """A valid token and a new DPoP proof for one attempt.

        Raises:
            RefusedError: HelseID denies the client.
            UnavailableError: HelseID cannot be reached after all retries.
            ConfigurationError: the issuer or the subject token file cannot be used.
        """
        token = await self.tokens.token()
        headers = {"Authorization": token.authorization}
        if self.tokens.proof_key is not None:
            headers["DPoP"] = self.tokens.proof_key.proof(
                method,
                url,
                iat=int(self._runtime.now().timestamp()),
                jti=self._runtime.new_id(),
                access_token_hash=token.token_hash,
            )
        self._made += 1
        return Authorization(headers=headers, token_id=token.token_id, serial=self._made)

    def handle_challenge(
        self, url: str, used: Authorization, response: HttpResponse
    ) -> ChallengeResult:
        """Store the nonce of a response; on 401 and 403 decide whether to retry.

        The caller limits how often it retries one request.
        """
        proofs = self.tokens.proof_key
        is_nonce_new = proofs is not None and proofs.learn(url, response.header("dpop-nonce"))
        if response.status == _UNAUTHORIZED and is_nonce_new:
            return _SAME_TOKEN  # the proof was refused for its nonce; that says nothing more
        if response.status in {_UNAUTHORIZED, _FORBIDDEN}:
            return self._handle_denial(used, response)
        if (
            self._refusals
            and response.status in _ACCEPTED
            and self.tokens.is_current(used.token_id)
        ):
            self._refusals = 0
        return ChallengeResult()

    def _handle_denial(self, used: Authorization, response: HttpResponse) -> ChallengeResult:
        code, description = challenge_error(response.headers.get("www-authenticate", ()))
        _log.debug("helseid.call_denied", status=response.status, code=code, token_id=used.token_id)
        text = f"PTS answered {response.status} {code}".rstrip()
        token = used.headers["Authorization"].partition(" ")[2]
        if reason := clean(description, without=token):
            text += f" ({reason})"
        if clock := clock_problem(response.header("date"), self._runtime.now(), whose="PTS's"):
            text += f"; {clock}"
        is_final = code not in _ABOUT_THE_TOKEN | _ABOUT_THE_PROOF
        if response.status == _FORBIDDEN or is_final:
            return ChallengeResult(refused=text)
        return self._try_again(used, text, is_token_suspect=code in _ABOUT_THE_TOKEN)

    def _try_again(
        self, used: Authorization, text: str, *, is_token_suspect: bool
    ) -> ChallengeResult:
        """Decide from all responses so far: retry with the same token, with a new one, or not."""
        if not self.tokens.is_current(used.token_id):
            return _NEW_TOKEN
        if used.serial > self._made_at_refusal:
            self._refusals += 1
            self._made_at_refusal = self._made
            if self._refusals >= _PROOFS_REFUSED and is_token_suspect and self._is_replaceable():
                self._replaced_s = self._runtime.monotonic()
                self.tokens.drop()
                return _NEW_TOKEN
        if self._refusals <= _PROOFS_REFUSED:
            return _SAME_TOKEN
        renewed = "a new token" if is_token_suspect else "new proofs"
        return ChallengeResult(refused=f"{text}; {renewed} did not help")

    def _is_replaceable(self) -> bool:
        return self._runtime.monotonic() - self._replaced_s >= _REPLACEMENT_INTERVAL_S


def challenge_error(values: Iterable[str]) -> tuple[str, str]:
    """The first error code and description of a ``WWW-Authenticate`` header; empty without.

    Which scheme they belong to makes no difference. Only the first 8,192 characters are read.
    """
    found: dict[str, str] = {}
    for name, quoted, plain in _PARAMETER.findall(", ".join(values)[:_LENGTH_MAX]):
        found.setdefault(name.casefold(), quoted or plain)
    code = found.get("error")
    if not code:
        return "", ""
    return error_code(code) or "an error without a code", found.get("error_description", "")


def open_helseid(
    options: HelseIdOptions, key: ClientKey, runtime: Runtime, http: httpx.AsyncClient
) -> HelseIdAuthorizer:
    """A HelseID client, which a run authorizes its requests with. Sends no request yet.

    Args:
        http: see ``helseid_client``; the caller closes it.

    Raises:
        ConfigurationError: the options are invalid.
    """
    client = HelseIdClient(http, options.retry, runtime)
    return HelseIdAuthorizer(TokenSource(options, key, client, runtime), runtime)
