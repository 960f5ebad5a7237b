"""Authorize requests to PTS with HelseID tokens, and handle challenges in PTS's responses."""

from collections.abc import Sequence
from typing import Final

import httpx
import structlog

from worker.core.dpop import is_nonce, origin
from worker.core.value import Value
from worker.helseid.challenges import Challenge, parse_challenges
from worker.helseid.discovery import Discovery
from worker.helseid.evidence import Step, TokenEvidence
from worker.helseid.keys import ClientKey
from worker.helseid.options import HelseIdOptions
from worker.helseid.proof import ProofKey
from worker.helseid.refusals import clean, clock_problem, error_code
from worker.helseid.tokens import TokenSource
from worker.helseid.transport import HelseIdClient, clock_ahead_s
from worker.ports import Authorization, ChallengeResult, HttpResponse, Runtime

_UNAUTHORIZED: Final = 401
_FORBIDDEN: Final = 403
_ORIGINS_MAX: Final = 64
_ABOUT_THE_TOKEN: Final = frozenset({"", "invalid_token"})
"""Error codes that may concern the token. An API may also use them for a DPoP proof."""
_ABOUT_THE_PROOF: Final = frozenset({"invalid_dpop_proof", "use_dpop_nonce"})
_FINE: Final = ChallengeResult()
_SAME_TOKEN: Final = ChallengeResult(retry=True)
_NEW_TOKEN: Final = ChallengeResult(retry=True, token_replaced=True)
_log = structlog.get_logger(__name__)


class HelseIdAuthorizer:
    """The production ``Authorizer``: DPoP, or bearer if configured.

    After a 401 the request is retried with the same token and a new DPoP proof. If PTS refuses that
    too and has accepted no request since, the token is replaced: once for all requests, and at most
    every 30 s. New proofs are then delayed, and after about 2 s of refusals the client is denied
    for now. See ``TokenEvidence``.
    """

    def __init__(self, tokens: TokenSource, proof_key: ProofKey | None, runtime: Runtime) -> None:
        self._tokens = tokens
        self._proof_key = proof_key
        self._runtime = runtime
        self._nonces: dict[str, str] = {}
        self._evidence = TokenEvidence()

    async def authorize(self, method: str, url: str) -> Authorization:
        """See ``Authorizer.authorize``."""
        token = await self._tokens.token()
        while self._evidence.refusals:
            wait_s = self._evidence.wait_s(self._runtime.monotonic())
            if not wait_s:
                break
            await self._runtime.sleep(wait_s)
            token = await self._tokens.token()
        serial = self._evidence.next_serial()
        if self._proof_key is None:
            headers = {"Authorization": token.authorization}
            return Authorization(headers=headers, token_id=token.token_id, serial=serial)
        proof = self._proof_key.proof(
            method,
            url,
            iat=int(self._runtime.now().timestamp()),
            jti=self._runtime.new_id(),
            access_token_hash=token.token_hash,
            nonce=self._nonces.get(origin(url)) if self._nonces else None,
        )
        headers = {"Authorization": token.authorization, "DPoP": proof}
        return Authorization(headers=headers, token_id=token.token_id, serial=serial)

    def handle_challenge(
        self, url: str, used: Authorization, response: HttpResponse
    ) -> ChallengeResult:
        """Store the nonce of a response; on 401 and 403 decide whether to retry.

        The caller limits how often it retries one request. See ``Authorizer``.
        """
        learnt = self._learn_nonce(url, response)
        if response.status in {_UNAUTHORIZED, _FORBIDDEN}:
            return self._handle_denial(used, response, nonce_learnt=learnt)
        if (
            self._evidence.refusals
            and _accepted(response)
            and self._tokens.is_current(used.token_id)
        ):
            self._evidence.accepted()
        return _FINE

    def _learn_nonce(self, url: str, response: HttpResponse) -> bool:
        nonce = response.header("dpop-nonce")
        if nonce is None or self._proof_key is None or not is_nonce(nonce):
            return False
        if len(self._nonces) >= _ORIGINS_MAX:
            self._nonces.clear()
        self._nonces[origin(url)] = nonce
        return True

    def _handle_denial(
        self, used: Authorization, response: HttpResponse, *, nonce_learnt: bool
    ) -> ChallengeResult:
        challenges = parse_challenges(response.headers.get("www-authenticate", ()))
        token = used.headers.get("Authorization", "").partition(" ")[2]
        code, description = _error(challenges, token)
        _log.debug("helseid.call_denied", status=response.status, code=code, token_id=used.token_id)
        ahead_s = clock_ahead_s(response.header("date"), self._runtime.now())
        clock = clock_problem(ahead_s, whose="PTS's")
        text = _refused_text(response.status, code, description, clock)
        is_final = code not in _ABOUT_THE_TOKEN | _ABOUT_THE_PROOF
        is_nonce_missing = code == "use_dpop_nonce" and not nonce_learnt
        if response.status == _FORBIDDEN or is_final or is_nonce_missing:
            return ChallengeResult(refused=text)
        return self._try_again(used, text, is_token_suspect=code in _ABOUT_THE_TOKEN)

    def _try_again(
        self, used: Authorization, text: str, *, is_token_suspect: bool
    ) -> ChallengeResult:
        """Decide from all responses so far: retry with the same token, with a new one, or not."""
        if not self._tokens.is_current(used.token_id):
            return _NEW_TOKEN
        match self._evidence.refused(
            used.serial, self._runtime.monotonic(), is_token_suspect=is_token_suspect
        ):
            case Step.SAME_TOKEN:
                return _SAME_TOKEN
            case Step.NEW_TOKEN:
                self._tokens.drop()
                return _NEW_TOKEN
            case Step.DENIED:
                renewed = "a new token" if is_token_suspect else "new proofs"
                return ChallengeResult(refused=f"{text}; {renewed} did not help")


def _accepted(response: HttpResponse) -> bool:
    """Whether PTS accepted the token: it returned a result, or 404 for the person."""
    return response.status < 300 or response.status == 404  # noqa: PLR2004


def _error(challenges: Sequence[Challenge], token: str) -> tuple[str, str]:
    """The error code and description, with the token masked. A DPoP challenge takes precedence."""
    errors = [challenge for challenge in challenges if challenge.parameters.get("error")]
    errors.sort(key=lambda challenge: challenge.scheme != "dpop")
    if not errors:
        return "", ""
    parameters = errors[0].parameters
    code = error_code(parameters["error"]) or "an error without a code"
    return code, clean(parameters.get("error_description"), without=token)


def _refused_text(status: int, code: str, description: str, clock: str) -> str:
    text = f"PTS answered {status} {code}".rstrip()
    if description:
        text += f" ({description})"
    return f"{text}; {clock}" if clock else text


class HelseId(Value, frozen=True, kw_only=True):
    """The parts of a HelseID client. A run uses the authorizer; ``doctor`` checks each part."""

    discovery: Discovery
    tokens: TokenSource
    authorizer: HelseIdAuthorizer


def open_helseid(
    options: HelseIdOptions,
    key: ClientKey,
    runtime: Runtime,
    http: httpx.AsyncClient,
    *,
    granted: set[str] | None = None,
) -> HelseId:
    """Build a HelseID client. Sends no request.

    Args:
        http: see ``helseid_client``; the caller closes it.
        granted: shared by the clients of a process that come one after the other (``TokenSource``).

    Raises:
        ConfigurationError: the options are invalid.
    """
    client = HelseIdClient(http, options, runtime)
    discovery = Discovery(
        options.issuer, client, runtime, endpoint_host=options.token_endpoint_host
    )
    proof_key = ProofKey() if options.sender_constraint == "dpop" else None
    tokens = TokenSource(
        options,
        key,
        proof_key,
        discovery=discovery,
        client=client,
        runtime=runtime,
        granted=granted,
    )
    authorizer = HelseIdAuthorizer(tokens, proof_key, runtime)
    return HelseId(discovery=discovery, tokens=tokens, authorizer=authorizer)
