"""Kinds of bad answer, by name: each what PTS might send to one person's search.

They carry canaries wherever a careless program could pick them up.
"""

import gzip
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from tests.support.raw_server import Reply, http
from tests.support.secrecy.canaries import CANARY, JWT, OPAQUE, WORD, spaced
from tests.support.standin import PRIVACY, SAFETY, Answerer, Ask, off_id_of

OTHER: Final = off_id_of(99_001)
"""Somebody else, on no roster."""

CODE: Final = {SAFETY: "confidentialityCode", PRIVACY: "privacyType"}
CAUSE: Final = {SAFETY: "cause", PRIVACY: "restrictionDomain"}
CREATED: Final = dict.fromkeys(CODE, "createdTime")
ID: Final = dict.fromkeys(CODE, "id")


def words(ask: Ask) -> str:
    """Whatever must be found nowhere."""
    return f"{CANARY} {ask.off_id} {spaced(ask.off_id)} {ask.token} {OPAQUE} {JWT}"


def _fixed(*arguments: Any, **more: Any) -> Answerer:
    reply = http(*arguments, **more)
    return lambda _: reply


def _text(text: str, **more: Any) -> Answerer:
    return _fixed(text.encode(), **more)


def _status(line: str, *headers: str) -> Answerer:
    """A status with a body that says all; ``{words}`` in the headers, too."""

    def answer(ask: Ask) -> Reply:
        said = words(ask)
        body = {"title": said, "errors": {"$": [said]}, said: said}
        more = [one.format(words=said) for one in headers]
        return http(body, status=f"{line} {CANARY}", headers=more)

    return answer


def _as_json(ask: Ask) -> bytes:
    return json.dumps(ask.records).encode()


def _first_with(field: Mapping[str, str], make: Callable[[str], object]) -> Answerer:
    """The first record with another value, made of the identifier, in this field of the area."""
    return lambda ask: http(
        [{**ask.records[0], field[ask.area]: make(ask.off_id)}, *ask.records[1:]]
    )


def _wrapped(**around: Any) -> Answerer:
    """No records, and something beside them."""
    return lambda _: http({"items": [], **around})


def _headed(header: str, *, status: str = "200 OK") -> Answerer:
    """The first record, and a header; ``{off_id}`` and ``{token}`` are the search's."""
    return lambda ask: http(
        ask.records[:1],
        status=status,
        headers=[header.format(off_id=ask.off_id, token=ask.token)],
    )


def _bad_second_page(ask: Ask) -> Reply:
    """A first page as it should be, with a token; the second one is a page of HTML."""
    if "continuationToken" in ask.fields:
        return http(b"<html>", kind="text/html")
    return http({"items": ask.records[:1], "continuationToken": "page-2"})


def _inserted(ask: Ask, text: str) -> Reply:
    """The first record with more JSON at its end."""
    return http(f"[{json.dumps(ask.records[0])[:-1]}, {text}}}]".encode())


KINDS: Final[Mapping[str, Answerer]] = {
    # Not a list at all.
    "html": _text(f"<html>{CANARY}</html>", kind="text/html; charset=utf-8"),
    "empty-object": _text("{}"),
    "null": _text("null"),
    # Errors that call themselves success.
    "error-object": lambda ask: http({"error": {"code": "E1", "message": words(ask)}}),
    "items-beside-error": _wrapped(error="overload"),
    # Lists of something else.
    "list-of-null": _fixed([None]),
    # Another's records, and records that cannot be told apart.
    "other-person": lambda ask: http(_as_json(ask).replace(ask.off_id.encode(), OTHER.encode())),
    # Not one record has its key any more: the fallback key would fit, and must not serve.
    "keyless": lambda ask: http(
        [{k: v for k, v in record.items() if k != "id"} for record in ask.records]
    ),
    "key-too-long": _first_with(ID, lambda off_id: f"{off_id} {CANARY} " * 200),
    "same-key-twice": lambda ask: http([*ask.records, {**ask.records[0], CODE[ask.area]: "N"}]),
    "field-twice": lambda ask: _inserted(ask, '"id": "S-another"'),
    # Changed types.
    "bad-time": _first_with(CREATED, lambda off_id: f"{CANARY} {off_id}"),
    "nul-in-text": _first_with(CAUSE, lambda _: "a\0b"),
    # Broken JSON and encoding.
    "truncated": lambda ask: http(_as_json(ask)[:-20]),
    "broken-utf8": _fixed(b'[{"id": "\xff\xfe", "confidentialityCode": "N"}]'),
    "deep": lambda ask: _inserted(ask, '"deep": ' + "[" * 5000 + "]" * 5000),
    "huge": _text("[" + " " * 17_000_000 + "]"),
    "gzip-bomb": _fixed(
        gzip.compress(b"[" + b" " * 17_000_000 + b"]", 1), headers=["Content-Encoding: gzip"]
    ),
    # Statuses. The description of a challenge is shown, with what may be secret masked.
    "204": lambda _: Reply(data=b"HTTP/1.1 204 No Content\r\n\r\n"),
    "400": _status("400 Bad"),
    "403": _status("403 No"),
    "404": _status("404 Where"),
    "429": _status("429 Many", "Retry-After: {words}"),
    "500": _status("500 Oops"),
    "503": _status("503 Away"),
    "denied": _status(
        "403 No", 'WWW-Authenticate: DPoP error="insufficient_scope", realm="{words}"'
    ),
    "code-of-everything": _status("401 No", 'WWW-Authenticate: Bearer error="{words}"'),
    # The way there.
    "no-answer": lambda _: Reply(data=b"", then="close"),
    "reset": lambda _: Reply(data=b"", then="reset"),
    # Less than Content-Length says, cut where the JSON would be complete; and the other way round.
    "short-body": _fixed(b"[]", length=400, then="close"),
    "long-body": lambda ask: http(_as_json(ask), length=len(_as_json(ask)) - 7, then="close"),
    "not-http": lambda ask: Reply(data=f"{words(ask)}\r\n\r\n".encode(), then="close"),
    "headers-too-large": _fixed([], headers=["X-Large: " + "x" * 100_000]),
    "slow-drip": lambda _: http([], slices=12, pause_s=5.0),
    "hang-in-body": lambda _: http(b"[", length=2, then="hang"),
    # The second is shaped like the answer to the next request on the connection.
    "two-answers": lambda _: Reply(data=http({"error": CANARY}).data + http([]).data),
    # Pages.
    "loop": lambda ask: http({"items": ask.records[:1], "nextLink": f"{ask.url}?cursor=a"}),
    "wrong-total": lambda ask: http({"items": ask.records, "total": int(ask.off_id)}),
    "header-total": _headed("X-Total-Count: {off_id}"),
    "field-named-so": lambda ask: http({"items": [], f"next{ask.off_id}": "x"}),
    "unknown-continuation": lambda ask: http(
        {"items": ask.records[:1], "hasMore": True, "scrollId": "YWJj"}
    ),
    "foreign-link": _headed('Link: <http://{off_id}.example/{token}>; rel="next"'),
    "location": _headed("Location: /of/{off_id}?t={token}", status="302 Found"),
    "bad-second-page": _bad_second_page,
}

SLOW: Final = ("slow-drip", "hang-in-body")
"""Those that last until the time for a request is over."""


def kinds(*, slow: bool) -> dict[str, Answerer]:
    """All of them, or all that take no time."""
    return {name: answerer for name, answerer in KINDS.items() if slow or name not in SLOW}


def _after_a_nonce() -> Answerer:
    """The records, once a nonce has been asked for."""
    asked: set[tuple[str, str]] = set()

    def answer(ask: Ask) -> Reply:
        if (ask.off_id, ask.area) in asked:
            return http(ask.records)
        asked.add((ask.off_id, ask.area))
        challenge = f'DPoP error="use_dpop_nonce", error_description="{CANARY}"'
        headers = [f"WWW-Authenticate: {challenge}", f"DPoP-Nonce: {CANARY}"]
        return http({"title": words(ask)}, status="401 No", headers=headers)

    return answer


def good_kinds() -> Mapping[str, Answerer]:
    """Answers that are read completely all the same."""
    return {
        "key-is-the-identifier": _first_with(ID, str),
        "identifier-in-the-code": _first_with(CODE, lambda off_id: f"N {off_id}"),
        "person-is-the-identifier": _first_with(dict.fromkeys(CODE, "person"), str),
        "unknown-field-named-so": lambda ask: http(
            [{**one, ask.off_id: ask.off_id} for one in ask.records]
        ),
        "after-a-nonce": _after_a_nonce(),
    }


def headed(answerer: Answerer) -> Answerer:
    """The same answer, with canaries in its headers."""

    def answer(ask: Ask) -> Reply:
        reply = answerer(ask)
        status, line_end, rest = reply.data.partition(b"\r\n")
        if not status.startswith(b"HTTP/1.1 "):
            return reply
        said = f"{CANARY} {ask.off_id} {ask.token}"
        more = f"X-Request: {said}\r\nSet-Cookie: session={said}\r\n".encode()
        return replace(reply, data=status + line_end + more + rest)

    return answer


def refused(answerer: Answerer) -> Answerer:
    """The same, and the word that may be kept becomes the one that may not."""

    def answer(ask: Ask) -> Reply:
        reply = answerer(ask)
        return replace(reply, data=reply.data.replace(WORD.encode(), CANARY.encode()))

    return headed(answer)
