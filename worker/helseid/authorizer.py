"""Authorizing calls to PTS with HelseID's tokens, and learning from PTS's answers."""

from collections.abc import Sequence
from typing import Final

import httpx
import structlog

from worker.core.dpop import is_nonce, origin
from worker.core.value import Value
from worker.helseid.challenges import Challenge, parse_challenges
from worker.helseid.discovery import Discovery
from worker.helseid.keys import ClientKey
from worker.helseid.options import HelseIdOptions
from worker.helseid.proof import ProofKey
from worker.helseid.refusals import clean, clock_problem, error_code
from worker.helseid.tokens import TokenSource
from worker.helseid.transport import Caller, clock_ahead_s
from worker.ports import Authorization, HttpResponse, Runtime

_UNAUTHORIZED: Final = 401
_FORBIDDEN: Final = 403
_ORIGINS_MAX: Final = 64
_log = structlog.get_logger(__name__)


class HelseIdChallengeResult(Value, frozen=True, kw_only=True):
    """What an answer means for the authorization.

    Attributes:
        retry: another attempt, with a fresh authorization, may succeed at once.
        refused: why this client is denied; empty if it is not, or not yet.
    """

    retry: bool = False
    refused: str = ""


_FINE: Final = HelseIdChallengeResult()
_RETRY: Final = HelseIdChallengeResult(retry=True)


class HelseIdAuthorizer:
    """The ``Authorizer`` of real runs: DPoP, or bearer where that is asked for.

    A token that PTS refuses is replaced once; if PTS refuses the replacement before it accepted
    any call with it, the client is refused. Thus a PTS that refuses every token costs HelseID one
    more token, not one for each person.
    """

    def __init__(self, tokens: TokenSource, proof_key: ProofKey | None, runtime: Runtime) -> None:
        self._tokens = tokens
        self._proof_key = proof_key
        self._runtime = runtime
        self._nonces: dict[str, str] = {}
        self._replaced = False

    async def authorize(self, method: str, url: str) -> Authorization:
        """A valid token and a fresh proof for this very attempt. See ``Authorizer``.

        Raises:
            RefusedError: HelseID denies the client.
            UnavailableError: HelseID cannot be reached after all retries.
            ConfigurationError: the issuer or the subject token's file is not what it must be.
        """
        token = await self._tokens.token()
        if self._proof_key is None:
            headers = {"Authorization": token.authorization}
            return Authorization(headers=headers, token_id=token.token_id)
        proof = self._proof_key.proof(
            method,
            url,
            iat=int(self._runtime.now().timestamp()),
            jti=self._runtime.new_id(),
            access_token_hash=token.token_hash,
            nonce=self._nonces.get(origin(url)) if self._nonces else None,
        )
        headers = {"Authorization": token.authorization, "DPoP": proof}
        return Authorization(headers=headers, token_id=token.token_id)

    def handle_challenge(
        self, url: str, used: Authorization, answer: HttpResponse
    ) -> HelseIdChallengeResult:
        """Learn the nonce of any answer; on 401 and 403 decide what can help. See ``Authorizer``.

        The caller bounds how often it follows ``retry`` for one request.
        """
        learnt = self._learn_nonce(url, answer)
        if answer.status in {_UNAUTHORIZED, _FORBIDDEN}:
            return self._judge_denial(used, answer, nonce_learnt=learnt)
        if self._replaced and _accepted(answer) and self._tokens.is_current(used.token_id):
            self._replaced = False
        return _FINE

    def _learn_nonce(self, url: str, answer: HttpResponse) -> bool:
        nonce = answer.header("dpop-nonce")
        if nonce is None or self._proof_key is None or not is_nonce(nonce):
            return False
        if len(self._nonces) >= _ORIGINS_MAX:
            self._nonces.clear()
        self._nonces[origin(url)] = nonce
        return True

    def _judge_denial(
        self, used: Authorization, answer: HttpResponse, *, nonce_learnt: bool
    ) -> HelseIdChallengeResult:
        challenges = parse_challenges(answer.headers.get("www-authenticate", ()))
        code, told = _error(challenges, used.headers.get("Authorization", "").partition(" ")[2])
        _log.debug("helseid.call_denied", status=answer.status, code=code, token_id=used.token_id)
        ahead_s = clock_ahead_s(answer.header("date"), self._runtime.now())
        clock = clock_problem(ahead_s, whose="PTS's")
        text = _refused_text(answer.status, code, told, clock)
        if answer.status == _UNAUTHORIZED:
            if code == "use_dpop_nonce" and nonce_learnt:
                return _RETRY
            if code == "invalid_dpop_proof" and not clock:
                return _RETRY
            if code in {"", "invalid_token"}:
                return self._judge_token(used, text)
        return HelseIdChallengeResult(refused=text)

    def _judge_token(self, used: Authorization, text: str) -> HelseIdChallengeResult:
        """Replace a refused token, but not the replacement that was never accepted."""
        if not self._tokens.is_current(used.token_id):
            return _RETRY
        if self._replaced:
            return HelseIdChallengeResult(refused=f"{text}; a fresh token did not help")
        self._tokens.drop(used.token_id)
        self._replaced = True
        return _RETRY


def _accepted(answer: HttpResponse) -> bool:
    """Whether PTS looked past the token: it gave a result, or has none of that person."""
    return answer.status < 300 or answer.status == 404  # noqa: PLR2004


def _error(challenges: Sequence[Challenge], token: str) -> tuple[str, str]:
    """The error code and description, without the token; of several, the one about DPoP counts."""
    named = [challenge for challenge in challenges if challenge.parameters.get("error")]
    named.sort(key=lambda challenge: challenge.scheme != "dpop")
    if not named:
        return "", ""
    parameters = named[0].parameters
    code = error_code(parameters["error"]) or "an error without a code"
    return code, clean(parameters.get("error_description"), without=token)


def _refused_text(status: int, code: str, told: str, clock: str) -> str:
    text = f"PTS answered {status} {code}".rstrip()
    if told:
        text += f" ({told})"
    return f"{text}; {clock}" if clock else text


class HelseId(Value, frozen=True, kw_only=True):
    """The parts of an opened client; ``doctor`` looks at each, a run at the authorizer."""

    caller: Caller
    discovery: Discovery
    tokens: TokenSource
    authorizer: HelseIdAuthorizer


def open_helseid(
    options: HelseIdOptions,
    key: ClientKey,
    runtime: Runtime,
    http: httpx.AsyncClient,
    *,
    discovery: Discovery | None = None,
) -> HelseId:
    """Put the client together. Nothing is called yet.

    Args:
        options: what the configuration says.
        key: the client's key.
        runtime: clock, sleep, randomness and ids.
        http: see ``helseid_client``; the caller closes it.
        discovery: of another client at the same issuer, so that it is read once.

    Raises:
        ConfigurationError: the options cannot be used.
    """
    caller = Caller(http, options, runtime)
    discovery = discovery or Discovery(options.issuer, caller, runtime)
    proof_key = ProofKey() if options.sender_constraint == "dpop" else None
    tokens = TokenSource(
        options, key, proof_key, discovery=discovery, caller=caller, runtime=runtime
    )
    authorizer = HelseIdAuthorizer(tokens, proof_key, runtime)
    return HelseId(caller=caller, discovery=discovery, tokens=tokens, authorizer=authorizer)
