"""Responses of injected faults."""

from dataclasses import replace
from typing import Any, Final

import orjson

from worker.sandbox.faults import Action, Fault
from worker.sandbox.restrictions import SAFETY, Document
from worker.sandbox.web import HTML, Delivery, Headers, Response, header_line, json_response

_PAGE: Final = (
    b"<!doctype html><html><head><title>Sign in</title></head><body>Sign in</body></html>"
)
_ERROR: Final = {
    "errorCode": "SBX-0001",
    "errorMessage": "Something went wrong.",
    "errorCategory": "Technical",
}

_INSTEAD: Final = {
    Action.EMPTY_OBJECT: json_response({}),
    Action.NULL: json_response(None),
    Action.EMPTY_BODY: Response(200),
    Action.ERROR_OBJECT: json_response(_ERROR),
    Action.EMPTY_LIST: json_response([]),
}
"""Responses that come instead of the normal one."""


def fault_response(fault: Fault, url: str, now_s: float) -> Response | None:
    """The response of a fault that replaces the normal one; None for other faults."""
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


def corrupt_response(response: Response, fault: Fault) -> Response:
    """The response with its body or delivery corrupted by the fault."""
    corrupted = _INSTEAD.get(fault.action, response)
    match fault.action:
        case Action.RESET:
            corrupted = replace(response, delivery=Delivery.RESET)
        case Action.TRUNCATE:
            corrupted = replace(response, delivery=Delivery.TRUNCATED)
        case Action.BROKEN_JSON:
            corrupted = replace(response, body=response.body[:-1] + b",")
        case Action.BROKEN_UTF8:
            corrupted = replace(response, body=b'[{"id":"\xff\xfe\xc3"}]')
        case _:
            pass
    return replace(corrupted, delay_s=fault.slow_s)


def corrupt_documents(
    documents: list[Document], fault: Fault, area: str, *, sample: Document, of_other: Document
) -> list[Document]:
    """The records with one of them corrupted.

    Args:
        sample: a record of this person, used if there is none.
        of_other: a record of another person.
    """
    match fault.action:
        case Action.OTHER_PERSON:
            return [*documents, of_other]
        case Action.NO_KEY:
            *head, last = documents or [sample]
            return [*head, {name: value for name, value in last.items() if name != "id"}]
        case Action.WRONG_TYPE:
            *head, last = documents or [sample]
            return [*head, _with_wrong_types(last, area)]
        case Action.BROKEN_JSON | Action.TRUNCATE | Action.RESET:
            return documents or [sample]
        case _:
            return documents


def _with_wrong_types(document: Document, area: str) -> Document:
    if area == SAFETY:
        return document | {"confidentialityCode": 17, "delayDeliveryUntil": {"value": "soon"}}
    return document | {"privacyType": 17, "privacyLevel": ["Soft"]}


def corrupt_token(document: dict[str, Any], fault: Fault) -> bytes:
    """The token response, corrupted by the fault."""
    if fault.action is Action.MALFORMED_TOKEN:
        return orjson.dumps(document)[:-20]
    if fault.action is Action.BEARER_TOKEN_TYPE:
        return orjson.dumps(document | {"token_type": "Bearer"})
    return orjson.dumps(document)
