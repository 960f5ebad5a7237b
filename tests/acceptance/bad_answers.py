"""Kinds of bad answer, by name: each what PTS might send to one person's search."""

import gzip
import json
from collections.abc import Mapping
from email.utils import formatdate
from typing import Any, Final

from tests.acceptance.standin import SAFETY, Answerer, Ask, off_id_of
from tests.http.engines.raw_server import Reply, http

OTHER: Final = off_id_of(99_001)
"""Somebody else, on no roster."""

CANARY: Final = "kanarifugl-i-kroppen"
"""Stands in bodies that are not understood, and must be found nowhere."""


def _fixed(*arguments: Any, **more: Any) -> Answerer:
    reply = http(*arguments, **more)
    return lambda _: reply


def _text(text: str, **more: Any) -> Answerer:
    return _fixed(text.encode(), **more)


def _changed(**changes: Any) -> Answerer:
    """The last record with other values; ``None`` leaves the field out."""

    def answer(ask: Ask) -> Reply:
        records = json.loads(json.dumps(ask.records))
        for name, value in changes.items():
            if value is None:
                del records[-1][name]
            else:
                records[-1][name] = value
        return http(records)

    return answer


def _wrapped(**around: Any) -> Answerer:
    """No records, and something beside them."""
    return lambda _: http({"items": [], **around})


def _truncated(ask: Ask) -> Reply:
    return http(json.dumps(ask.records).encode()[:-20])


def _short_body(ask: Ask) -> Reply:
    """Less than Content-Length says, cut where the JSON would be complete."""
    return http(b"[]", length=400, then="close")


def _long_body(ask: Ask) -> Reply:
    """Content-Length ends the body before the JSON does."""
    body = json.dumps(ask.records).encode()
    return http(body, length=len(body) - 7, then="close")


def _reset_in_body(ask: Ask) -> Reply:
    return http(json.dumps(ask.records).encode()[:40], length=4000, then="reset")


def _chunked(*chunks: bytes, end: bool, then: str = "close", extra: bytes = b"") -> Answerer:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n"
    data = head + extra + b"\r\n"
    for chunk in chunks:
        data += b"%x\r\n%b\r\n" % (len(chunk), chunk)
    return lambda _: Reply(data=data + (b"0\r\n\r\n" if end else b""), then=then)


def _gzip(body: bytes) -> Answerer:
    return _fixed(body, headers=["Content-Encoding: gzip"])


def _other_person(ask: Ask) -> Reply:
    text = json.dumps(ask.records)
    return http(text.replace(ask.off_id, OTHER).encode())


def _one_of_another(ask: Ask) -> Reply:
    last = json.dumps(ask.records[-1]).replace(ask.off_id, OTHER)
    return http([*ask.records[:-1], json.loads(last)])


def _envelope_of_another(ask: Ask) -> Reply:
    return http({"offId": OTHER, "items": []})


def _keyless(ask: Ask) -> Reply:
    """Not one record has its ``id`` any more: the fallback key would fit, and must not serve."""
    records = [{k: v for k, v in record.items() if k != "id"} for record in ask.records]
    return http(records)


def _same_key_twice(ask: Ask) -> Reply:
    field = "confidentialityCode" if ask.area == SAFETY else "privacyType"
    return http([*ask.records, {**ask.records[0], field: "N"}])


def _wrong_type(ask: Ask) -> Reply:
    field = "confidentialityCode" if ask.area == SAFETY else "privacyType"
    return http([{**ask.records[0], field: 7}, *ask.records[1:]])


def _object_for_type(ask: Ask) -> Reply:
    field = "cause" if ask.area == SAFETY else "restrictionDomain"
    return http([{**ask.records[0], field: {"code": "PPS"}}, *ask.records[1:]])


def _nul_in_text(ask: Ask) -> Reply:
    field = "cause" if ask.area == SAFETY else "restrictionDomain"
    return http([{**ask.records[0], field: "a\0b"}, *ask.records[1:]])


def _bad_time(ask: Ask) -> Reply:
    changes: dict[str, Any] = {"createdTime": "sist tirsdag"}
    return http([{**ask.records[0], **changes}, *ask.records[1:]])


def _as_strings(ask: Ask) -> Reply:
    return http([json.dumps(record) for record in ask.records])


def _lost_fields(ask: Ask) -> Reply:
    return http([{"id": record["id"]} for record in ask.records])


def _twice_in_object(ask: Ask) -> Reply:
    body = json.dumps(ask.records[0])
    return http(f'[{body[:-1]}, "id": "S-another"}}]'.encode())


def _loop(ask: Ask) -> Reply:
    """A next link that leads to itself."""
    return http({"items": ask.records[:1], "nextLink": f"{ask.url}?cursor=a"})


def _endless(ask: Ask) -> Reply:
    """Another page each time, for ever, without a record."""
    page = int(ask.fields.get("page") or 1)
    return http({"items": [], "page": page, "pageSize": 10, "total": 1_000_000})


def _loop_of_tokens(ask: Ask) -> Reply:
    """The same token again and again."""
    return http({"items": [], "continuationToken": "x"})


def _wrong_total(ask: Ask) -> Reply:
    return http({"items": ask.records, "total": len(ask.records) + 1})


def _nothing_of_three(ask: Ask) -> Reply:
    return http({"items": [], "total": 3})


def _unknown_continuation(ask: Ask) -> Reply:
    return http({"items": ask.records[:1], "hasMore": True, "scrollId": "YWJj"})


def _foreign_link(ask: Ask) -> Reply:
    return http(ask.records[:1], headers=['Link: <http://127.0.0.2:9/x>; rel="next"'])


def _identifier_in_link(ask: Ask) -> Reply:
    return http(ask.records[:1], headers=[f'Link: <{ask.url}?after={ask.off_id}>; rel="next"'])


def _bad_second_page(ask: Ask) -> Reply:
    """A first page as it should be, with a token; the second one is a page of HTML."""
    if "continuationToken" in ask.fields:
        return http(b"<html>", kind="text/html")
    return http({"items": ask.records[:1], "continuationToken": "page-2"})


def _failing_second_page(ask: Ask) -> Reply:
    if "cursor" in ask.target:
        return http(status="503 Service Unavailable")
    return http(ask.records[:1], headers=[f'Link: <{ask.url}?cursor=2>; rel="next"'])


def _count_of_two(ask: Ask) -> Reply:
    return http({"items": [], "count": 2})


def _retry_date(ask: Ask) -> Reply:
    when = formatdate(None, usegmt=True)
    return http(status="503 Service Unavailable", headers=[f"Retry-After: {when}"])


def _two_answers(ask: Ask) -> Reply:
    """Garbage after a failure, shaped like the answer to the next request on the connection."""
    first = http({"error": CANARY}, status="200 OK")
    return Reply(data=first.data + http([]).data)


def _nested(ask: Ask) -> Reply:
    record = json.dumps(ask.records[0])
    deep = "[" * 5000 + "]" * 5000
    return http(f'[{record[:-1]}, "deep": {deep}}}]'.encode())


KINDS: Final[Mapping[str, Answerer]] = {
    # Not a list at all.
    "html": _text(f"<html>{CANARY}</html>", kind="text/html; charset=utf-8"),
    "html-said-to-be-json": _text(f"<!doctype html><p>{CANARY}</p>"),
    "list-said-to-be-html": _text("[]", kind="text/html"),
    "plain-text": _text("service is down", kind="text/plain"),
    "xml": _text("<restrictions/>", kind="application/xml"),
    "empty-object": _text("{}"),
    "null": _text("null"),
    "true": _text("true"),
    "zero": _text("0"),
    "string": _text('"[]"'),
    "empty-body": _text(""),
    "blanks": _text(" \r\n "),
    "no-content-type-no-body": _text("", kind=None),
    # Errors that call themselves success.
    "error-object": _fixed({"error": {"code": "E1", "message": CANARY}}),
    "items-beside-error": _wrapped(error="overload"),
    "items-beside-errors": _wrapped(errors=["index not ready"]),
    "items-beside-status": _wrapped(status=503),
    "items-beside-success": _wrapped(success=False),
    "items-null": _fixed({"items": None}),
    "items-object": _fixed({"items": {}}),
    "two-lists": _fixed({"items": [], "results": []}),
    "operation-outcome": _fixed({"resourceType": "OperationOutcome", "issue": []}),
    "problem": _fixed({"title": "t", "status": 500}, kind="application/problem+json"),
    "error-code": _fixed({"errorCode": "PI-0016", "errorMessage": CANARY}),
    # Lists of something else.
    "list-of-null": _fixed([None]),
    "list-of-lists": _fixed([[]]),
    "list-of-empty-objects": _fixed([{}]),
    "list-of-strings": _as_strings,
    "list-of-strangers": _fixed([{"color": "red", "id": "1"}]),
    "fields-lost": _lost_fields,
    # Another's records, and records that cannot be told apart.
    "other-person": _other_person,
    "one-of-another": _one_of_another,
    "envelope-of-another": _envelope_of_another,
    "keyless": _keyless,
    "key-null": _changed(id=[]),
    "key-blank": _changed(id="  "),
    "same-key-twice": _same_key_twice,
    "field-twice": _twice_in_object,
    # Changed types.
    "number-for-text": _wrong_type,
    "object-for-text": _object_for_type,
    "bad-time": _bad_time,
    "nul-in-text": _nul_in_text,
    "person-as-list": _changed(person=["a"]),
    # Broken JSON and encoding.
    "truncated": _truncated,
    "trailing": _text("[] []"),
    "trailing-comma": _text("[,]"),
    "nan": _text('[{"confidentialityCode": "N", "id": "x", "delayDays": NaN}]'),
    "single-quotes": _text("['']"),
    "broken-utf8": _fixed(b'[{"id": "\xff\xfe", "confidentialityCode": "N"}]'),
    "latin-1": _fixed('[{"id": "bl\u00e5", "confidentialityCode": "N"}]'.encode("latin-1")),
    "utf-16": _fixed("[]".encode("utf-16")),
    "lone-surrogate": _text('[{"id": "\\ud800", "confidentialityCode": "N"}]'),
    "deep": _nested,
    "deep-alone": _text("[" * 100_000),
    "huge": _text("[" + " " * 17_000_000 + "]"),
    "gzip-bomb": _gzip(gzip.compress(b"[" + b" " * 17_000_000 + b"]", 1)),
    "gzip-broken": _gzip(gzip.compress(b"[]")[:-6] + b"zzzzzz"),
    "gzip-not": _gzip(b"[]"),
    # Statuses.
    "201": _fixed([], status="201 Created"),
    "203": _fixed([], status="203 Non-Authoritative"),
    "204": lambda _: Reply(data=b"HTTP/1.1 204 No Content\r\n\r\n"),
    "206": _fixed([], status="206 Partial Content"),
    "301": _fixed([], status="301 Moved", headers=["Location: /elsewhere"]),
    "307": _fixed([], status="307 Temporary", headers=["Location: /elsewhere"]),
    "304": lambda _: Reply(data=b"HTTP/1.1 304 Not Modified\r\n\r\n"),
    "400": _fixed({"errors": {"$": [CANARY]}}, status="400 Bad Request"),
    "403": _fixed([], status="403 Forbidden"),
    "404": _fixed([], status="404 Not Found"),
    "404-html": _text("<html>", status="404 Not Found", kind="text/html"),
    "409": _fixed([], status="409 Conflict"),
    "429": _fixed([], status="429 Too Many", headers=["Retry-After: 1"]),
    "500": _fixed([], status="500 Oops"),
    "502-html": _text("<html>", status="502 Bad Gateway", kind="text/html"),
    "503-date": _retry_date,
    # The way there.
    "no-answer": lambda _: Reply(data=b"", then="close"),
    "reset": lambda _: Reply(data=b"", then="reset"),
    "reset-in-body": _reset_in_body,
    "short-body": _short_body,
    "long-body": _long_body,
    "chunks-without-end": _chunked(b"[]", end=False),
    "chunk-size-broken": lambda _: Reply(
        data=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n[]\r\n", then="close"
    ),
    "not-http": lambda _: Reply(data=b"SSH-2.0-OpenSSH_9.9\r\n\r\n", then="close"),
    "http-0.9": lambda _: Reply(data=b"[]", then="close"),
    "headers-too-large": _fixed([], headers=["X-Large: " + "x" * 100_000]),
    "slow-start": lambda _: Reply(data=http([]).data, before_s=4.0),
    "slow-drip": lambda _: http([], slices=12, pause_s=0.4),
    "hang-in-body": lambda _: http(b"[", length=2, then="hang"),
    "two-answers": _two_answers,
    # Pages.
    "loop": _loop,
    "loop-of-tokens": _loop_of_tokens,
    "endless": _endless,
    "wrong-total": _wrong_total,
    "nothing-of-three": _nothing_of_three,
    "count-of-two": _count_of_two,
    "unknown-continuation": _unknown_continuation,
    "has-more": _wrapped(hasMore=True),
    "foreign-link": _foreign_link,
    "identifier-in-link": _identifier_in_link,
    "bad-second-page": _bad_second_page,
    "failing-second-page": _failing_second_page,
}
