"""Kinds of bad answer, by name: each what PTS might send to one person's search."""

import gzip
import json
from collections.abc import Mapping
from typing import Any, Final

from tests.support.raw_server import Reply, http
from tests.support.standin import PRIVACY, SAFETY, Answerer, Ask, off_id_of

OTHER: Final = off_id_of(99_001)
"""Somebody else, on no roster."""

CANARY: Final = "kanarifugl-i-kroppen"
"""Stands in bodies that are not understood, and must be found nowhere."""

CODE: Final = {SAFETY: "confidentialityCode", PRIVACY: "privacyType"}
CAUSE: Final = {SAFETY: "cause", PRIVACY: "restrictionDomain"}


def _fixed(*arguments: Any, **more: Any) -> Answerer:
    reply = http(*arguments, **more)
    return lambda _: reply


def _text(text: str, **more: Any) -> Answerer:
    return _fixed(text.encode(), **more)


def _as_json(ask: Ask) -> bytes:
    return json.dumps(ask.records).encode()


def _first_with(field: Mapping[str, str], value: object) -> Answerer:
    """The first record with another value in this field of the area."""
    return lambda ask: http([{**ask.records[0], field[ask.area]: value}, *ask.records[1:]])


def _wrapped(**around: Any) -> Answerer:
    """No records, and something beside them."""
    return lambda _: http({"items": [], **around})


def _linked(header: str) -> Answerer:
    """The first record, and a header; ``{url}`` and ``{off_id}`` are the search's."""
    return lambda ask: http(
        ask.records[:1], headers=[header.format(url=ask.url, off_id=ask.off_id)]
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
    "error-object": _fixed({"error": {"code": "E1", "message": CANARY}}),
    "items-beside-error": _wrapped(error="overload"),
    # Lists of something else.
    "list-of-null": _fixed([None]),
    # Another's records, and records that cannot be told apart.
    "other-person": lambda ask: http(_as_json(ask).replace(ask.off_id.encode(), OTHER.encode())),
    # Not one record has its key any more: the fallback key would fit, and must not serve.
    "keyless": lambda ask: http(
        [{k: v for k, v in record.items() if k != "id"} for record in ask.records]
    ),
    "same-key-twice": lambda ask: http([*ask.records, {**ask.records[0], CODE[ask.area]: "N"}]),
    "field-twice": lambda ask: _inserted(ask, '"id": "S-another"'),
    # Changed types.
    "bad-time": _first_with(dict.fromkeys(CODE, "createdTime"), "sist tirsdag"),
    "nul-in-text": _first_with(CAUSE, "a\0b"),
    # Broken JSON and encoding.
    "truncated": lambda ask: http(_as_json(ask)[:-20]),
    "broken-utf8": _fixed(b'[{"id": "\xff\xfe", "confidentialityCode": "N"}]'),
    "deep": lambda ask: _inserted(ask, '"deep": ' + "[" * 5000 + "]" * 5000),
    "huge": _text("[" + " " * 17_000_000 + "]"),
    "gzip-bomb": _fixed(
        gzip.compress(b"[" + b" " * 17_000_000 + b"]", 1), headers=["Content-Encoding: gzip"]
    ),
    # Statuses.
    "204": lambda _: Reply(data=b"HTTP/1.1 204 No Content\r\n\r\n"),
    "400": _fixed({"errors": {"$": [CANARY]}}, status="400 Bad Request"),
    "403": _fixed([], status="403 Forbidden"),
    "404": _fixed([], status="404 Not Found"),
    "429": _fixed([], status="429 Too Many", headers=["Retry-After: 1"]),
    "500": _fixed([], status="500 Oops"),
    # The way there.
    "no-answer": lambda _: Reply(data=b"", then="close"),
    "reset": lambda _: Reply(data=b"", then="reset"),
    # Less than Content-Length says, cut where the JSON would be complete; and the other way round.
    "short-body": _fixed(b"[]", length=400, then="close"),
    "long-body": lambda ask: http(_as_json(ask), length=len(_as_json(ask)) - 7, then="close"),
    "not-http": lambda _: Reply(data=b"SSH-2.0-OpenSSH_9.9\r\n\r\n", then="close"),
    "headers-too-large": _fixed([], headers=["X-Large: " + "x" * 100_000]),
    "slow-drip": lambda _: http([], slices=12, pause_s=5.0),
    "hang-in-body": lambda _: http(b"[", length=2, then="hang"),
    # The second is shaped like the answer to the next request on the connection.
    "two-answers": lambda _: Reply(data=http({"error": CANARY}).data + http([]).data),
    # Pages.
    "loop": lambda ask: http({"items": ask.records[:1], "nextLink": f"{ask.url}?cursor=a"}),
    "wrong-total": lambda ask: http({"items": ask.records, "total": len(ask.records) + 1}),
    "unknown-continuation": lambda ask: http(
        {"items": ask.records[:1], "hasMore": True, "scrollId": "YWJj"}
    ),
    "foreign-link": _linked('Link: <http://127.0.0.2:9/x>; rel="next"'),
    "bad-second-page": _bad_second_page,
}

SLOW: Final = ("slow-drip", "hang-in-body")
"""Those that last until the time for a request is over."""


def kinds(*, slow: bool) -> dict[str, Answerer]:
    """All of them, or all that take no time."""
    return {name: answerer for name, answerer in KINDS.items() if slow or name not in SLOW}
