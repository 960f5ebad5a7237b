"""Responses of injected faults."""

from dataclasses import replace
from typing import Final

from worker.sandbox.faults import Action, Fault
from worker.sandbox.restrictions import Document, Restriction
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


def corrupt_restrictions(
    found: list[Restriction], fault: Fault, *, spare: Restriction, of_other: Restriction
) -> list[Restriction]:
    """The restrictions with one of them corrupted.

    Args:
        spare: a restriction of this person, used if there is none.
        of_other: a restriction of another person.
    """
    *head, last = found or [spare]
    match fault.action:
        case Action.EMPTY_LIST:
            return []
        case Action.OTHER_PERSON:
            return [*found, of_other]
        case Action.NO_KEY:
            return [*head, replace(last, id="")]
        case Action.WRONG_TYPE:
            return [*head, replace(last, values=last.values | _with_wrong_types(last.values))]
        case Action.BROKEN_JSON | Action.TRUNCATE | Action.RESET:
            return found or [spare]
        case _:
            return found


def _with_wrong_types(values: Document) -> Document:
    if "privacy_type" in values:
        return {"privacy_type": 17, "privacy_level": ["Soft"]}
    return {"confidentiality_code": 17, "delay_delivery_until": {"value": "soon"}}
