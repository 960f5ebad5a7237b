"""Bad answers that carry canaries wherever a careless program could pick them up."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from tests.support.raw_server import Reply, http
from tests.support.secrecy.bad_answers import CANARY
from tests.support.secrecy.canaries import JWT, OPAQUE, WORD, spaced
from tests.support.standin import Answerer, Ask, Standin

Speaker = Callable[[Ask, str], Reply]
"""Answers a search; knows the token, too."""


def headed(made: Standin, answerer: Answerer) -> Answerer:
    """The same answer, with canaries in its headers."""

    def answer(ask: Ask) -> Reply:
        reply = answerer(ask)
        status, line_end, rest = reply.data.partition(b"\r\n")
        if not status.startswith(b"HTTP/1.1 "):
            return reply
        words = f"{CANARY} {ask.off_id} {_token_of(made)}"
        more = f"X-Request: {words}\r\nSet-Cookie: session={words}\r\n".encode()
        return replace(reply, data=status + line_end + more + rest)

    return answer


def bad(made: Standin, answerer: Answerer) -> Answerer:
    """The same, and the word that may be kept becomes the one that may not."""

    def answer(ask: Ask) -> Reply:
        reply = answerer(ask)
        return replace(reply, data=reply.data.replace(WORD.encode(), CANARY.encode()))

    return headed(made, answer)


def speaking(made: Standin, speaker: Speaker) -> Answerer:
    return lambda ask: speaker(ask, _token_of(made))


def _token_of(made: Standin) -> str:
    return next(reversed(made.tokens), "")


def _words(ask: Ask, token: str) -> str:
    return f"{CANARY} {ask.off_id} {spaced(ask.off_id)} {token} {OPAQUE} {JWT}"


def _status(line: str, *, challenge: str = "", headers: tuple[str, ...] = ()) -> Speaker:
    """A status with a body that says all; ``{words}`` in the challenge too."""

    def speak(ask: Ask, token: str) -> Reply:
        words = _words(ask, token)
        more = [one.format(words=words) for one in headers]
        if challenge:
            more.append("WWW-Authenticate: " + challenge.format(words=words, off_id=ask.off_id))
        body = {"title": words, "errors": {"$": [words]}, words: words}
        return http(body, status=f"{line} {CANARY}", headers=more)

    return speak


def _around(**around: Any) -> Speaker:
    """The records, and something beside them that is made from the identifier."""
    return lambda ask, _: http(
        {"items": ask.records, **{name: make(ask.off_id) for name, make in around.items()}}
    )


def _first_with(name: str, make: Callable[[str], Any]) -> Speaker:
    """The first record with another value."""
    return lambda ask, _: http([{**ask.records[0], name: make(ask.off_id)}, *ask.records[1:]])


def _headed(header: str, *, status: str = "200 OK") -> Speaker:
    """The first record, under a header that holds ``{off_id}`` and ``{token}``."""
    return lambda ask, token: http(
        ask.records[:1], status=status, headers=[header.format(off_id=ask.off_id, token=token)]
    )


SPEAKERS: Final[Mapping[str, Speaker]] = {
    **{line.partition(" ")[0]: _status(line) for line in ("400 Bad", "403 No", "503 Away")},
    "429-in-words": _status("429 Many", headers=("Retry-After: {words}",)),
    # About the authorization. The description is shown, with what may be secret masked.
    "denied": _status("403 No", challenge='DPoP error="insufficient_scope", realm="{words}"'),
    "code-of-everything": _status("401 No", challenge='Bearer error="{words}"'),
    # Numbers, names and addresses.
    "total-is-the-identifier": _around(total=int),
    "header-total": _headed("X-Total-Count: {off_id}"),
    "field-named-so": lambda ask, _: http({"items": [], f"next{ask.off_id}": "x"}),
    "location": _headed("Location: /of/{off_id}?t={token}", status="302 Found"),
    "link-abroad": _headed('Link: <http://{off_id}.example/{token}>; rel="next"'),
    # Values.
    "time-in-words": _first_with("createdTime", lambda off_id: f"{CANARY} {off_id}"),
    "key-too-long": _first_with("id", lambda off_id: f"{off_id} {CANARY} " * 200),
    "error-in-words": lambda ask, token: http({"error": {"message": _words(ask, token)}}),
    "not-http": lambda ask, token: Reply(
        data=f"{_words(ask, token)}\r\n\r\n".encode(), then="close"
    ),
}
"""Of one person each; none of these is an answer."""


def _after_a_nonce() -> Speaker:
    """The records, once a nonce has been asked for."""
    asked: set[tuple[str, str]] = set()

    def speak(ask: Ask, token: str) -> Reply:
        if (ask.off_id, ask.area) in asked:
            return http(ask.records)
        asked.add((ask.off_id, ask.area))
        challenge = f'DPoP error="use_dpop_nonce", error_description="{CANARY}"'
        headers = [f"WWW-Authenticate: {challenge}", f"DPoP-Nonce: {CANARY}"]
        return http({"title": _words(ask, token)}, status="401 No", headers=headers)

    return speak


def _field_named_so(ask: Ask, token: str) -> Reply:
    return http([{**one, ask.off_id: ask.off_id} for one in ask.records])


def good_speakers() -> Mapping[str, Speaker]:
    """Answers that are read completely all the same."""
    return {
        "key-is-the-identifier": _first_with("id", str),
        "identifier-in-the-code": _first_with("confidentialityCode", lambda off_id: f"N {off_id}"),
        "person-is-the-identifier": _first_with("person", str),
        "unknown-field-named-so": _field_named_so,
        "after-a-nonce": _after_a_nonce(),
    }


def more_of_helseid(off_id: str) -> dict[str, Any]:
    """Fields beside a good token that nobody asked for."""
    words = f"{CANARY} {off_id} {OPAQUE}"
    return {"scope": f"nhn:pts/api {words}", "id_token": JWT, "refresh_token": OPAQUE, "of": words}
