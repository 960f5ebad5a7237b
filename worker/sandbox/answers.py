"""What a fault makes of an answer."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import orjson

from worker.sandbox.faults import Action, Fault
from worker.sandbox.restrictions import SAFETY, Document
from worker.sandbox.web import HTML, Delivery, Headers, Response, header_line, json_reply

_PAGE: Final = (
    b"<!doctype html><html><head><title>Sign in</title></head><body>Sign in</body></html>"
)
_ERROR: Final = {
    "errorCode": "SBX-0001",
    "errorMessage": "Something went wrong.",
    "errorCategory": "Technical",
}


def instead_of_answer(fault: Fault, url: str, now_s: float) -> Response | None:
    """The reply of a fault that needs no answer to spoil, None for any other."""
    match fault.action:
        case Action.STATUS:
            status = fault.status or 503
            headers: Headers = ()
            if (wait := fault.retry_after(now_s)) is not None:
                headers = (header_line("retry-after", wait),)
            return Response(status, fault.body.encode(), headers=headers, delay_s=fault.slow_s)
        case Action.DROP:
            return Response(0, delay_s=fault.slow_s, delivery=Delivery.DROPPED)
        case Action.HTML:
            return Response(fault.status or 200, _PAGE, HTML, delay_s=fault.slow_s)
        case Action.REDIRECT:
            location = header_line("location", f"{url}/moved")
            return Response(fault.status or 307, headers=(location,), delay_s=fault.slow_s)
        case _:
            return None


def spoil_reply(reply: Response, fault: Fault) -> Response:
    """The same answer, spoilt in its bytes or on its way."""
    spoilt = reply
    match fault.action:
        case Action.RESET:
            spoilt = replace(reply, delivery=Delivery.RESET)
        case Action.TRUNCATE:
            spoilt = replace(reply, delivery=Delivery.TRUNCATED)
        case Action.EMPTY_OBJECT:
            spoilt = json_reply({})
        case Action.NULL:
            spoilt = json_reply(None)
        case Action.EMPTY_BODY:
            spoilt = Response(200)
        case Action.ERROR_OBJECT:
            spoilt = json_reply(_ERROR)
        case Action.EMPTY_LIST:
            spoilt = json_reply([])
        case Action.BROKEN_JSON:
            spoilt = replace(reply, body=reply.body[:-1] + b",")
        case Action.BROKEN_UTF8:
            spoilt = replace(reply, body=b'[{"id":"\xff\xfe\xc3"}]')
        case _:
            pass
    return replace(spoilt, delay_s=fault.slow_s)


def spoil_documents(
    documents: list[Document], fault: Fault, area: str, sample_of: Callable[[bool], Document]
) -> list[Document]:
    """The same records, with one of them spoilt; one is made up if there is none.

    Args:
        documents: the right answer.
        fault: the fault.
        area: the area that was asked for.
        sample_of: makes a record, of this person (False) or of another (True).
    """
    match fault.action:
        case Action.OTHER_PERSON:
            return [*documents, sample_of(True)]  # noqa: FBT003 - see the docstring
        case Action.NO_KEY:
            *head, last = documents or [sample_of(False)]  # noqa: FBT003
            return [*head, {name: value for name, value in last.items() if name != "id"}]
        case Action.WRONG_TYPE:
            *head, last = documents or [sample_of(False)]  # noqa: FBT003
            return [*head, _wrong(last, area)]
        case Action.BROKEN_JSON | Action.TRUNCATE | Action.RESET:
            return documents or [sample_of(False)]  # noqa: FBT003
        case _:
            return documents


def _wrong(document: Document, area: str) -> Document:
    if area == SAFETY:
        return document | {"confidentialityCode": 17, "delayDeliveryUntil": {"value": "soon"}}
    return document | {"privacyType": 17, "privacyLevel": ["Soft"]}


def spoil_token(document: dict[str, Any], fault: Fault) -> bytes:
    """A token answer, spoilt."""
    if fault.action is Action.MALFORMED_TOKEN:
        return orjson.dumps(document)[:-20]
    if fault.action is Action.BEARER_TOKEN_TYPE:
        return orjson.dumps(document | {"token_type": "Bearer"})
    return orjson.dumps(document)
