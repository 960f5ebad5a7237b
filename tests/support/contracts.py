"""Contracts with PTS in many shapes, as documents; the sandbox can answer by each of them."""

import copy
import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

DEFAULT: Final = Path(__file__).parents[2] / "worker/areas/pts.toml"

Document = dict[str, dict[str, Any]]


def contract(**changes: Any) -> Document:
    """The contract that comes with the program, with these keys of both areas changed."""
    document = tomllib.loads(DEFAULT.read_text(encoding="utf-8"))
    return {area: {**table, **copy.deepcopy(changes)} for area, table in document.items()}


def as_toml(document: Document) -> str:
    """The document as a file, for the sandbox and the worker alike."""
    lines = []
    for area, table in document.items():
        lines.append(f"[{area}]")
        lines += [f"{json.dumps(key)} = {_inline(value)}" for key, value in table.items()]
    return "\n".join(lines) + "\n"


def _inline(value: Any) -> str:
    """JSON's texts, numbers and truth values are TOML's too."""
    if isinstance(value, list):
        return f"[{', '.join(map(_inline, value))}]"
    if isinstance(value, dict):
        fields = (f"{json.dumps(name)} = {_inline(part)}" for name, part in value.items())
        return f"{{{', '.join(fields)}}}"
    return json.dumps(value)


def _enveloped(paging: Mapping[str, Any] | str, **changes: Any) -> Document:
    return contract(records="items", paging=paging, **changes)


PAGED: Final[Mapping[str, Document]] = {
    "link": contract(paging={"style": "link"}),
    "next_link": contract(
        records="value",
        paging={"style": "next_link", "field": "@odata.nextLink"},
        total="@odata.count",
        query={"$top": "50"},
    ),
    "token": _enveloped({"style": "token", "field": "meta.next", "send_as": "after"}),
    "token in the query": _enveloped(
        {"style": "token", "field": "next", "send_as": "next", "send_in": "query"},
        query={"view": "all"},
    ),
    "page": _enveloped(
        {
            "style": "page",
            "send_as": "page",
            "field": "page.number",
            "pages": "page.count",
            "more": "page.hasNext",
        },
        total="page.total",
        body={"offId": "{off_id}", "page": 1, "pageSize": 50},
    ),
    "page, untold": contract(
        paging={"style": "page", "send_as": "p", "send_in": "query", "first": 0}
    ),
    "offset": _enveloped(
        {"style": "offset", "send_as": "skip", "field": "skip"}, total="header:X-Total-Count"
    ),
    "offset, untold": contract(paging={"style": "offset", "send_as": "skip", "send_in": "query"}),
    "reference": _enveloped({"style": "reference", "field": "pagingReference"}),
    "reference in the query": _enveloped(
        {"style": "reference", "field": "next.id", "send_as": "from", "send_in": "query"}
    ),
}
"""A contract of each style of paging, by its name and what is special about it."""


def _wrong_encoding() -> Document:
    """A contract that shares as little as possible with the default one."""
    document = contract(
        query={"api-version": "1.0"},
        headers={"nhn-event-id": "{uuid}", "nhn-source-system": "pts-worker"},
        body={"search": {"by": [{"kind": "PNR", "value": "{off_id}"}]}, "take": 50},
        records="data.list[0].hits",
        no_records="empty",
        empty_status=[204],
        expect={"isSuccess": True, "data.version": 2},
        answer_person=["data.patient"],
        total="data.count",
        ignore=["traceId", "data.warnings", "header:X-Powered-By"],
        naive_times="Europe/Oslo",
        extra={"source": "system.name", "tags": {"each": "tags", "code": "code"}},
    )
    safety, privacy = document["patient-safety"], document["patient-privacy"]
    rule = "accessRestriction[isCurrent=true]"
    safety |= {
        "path": "/safety",
        "id": "object.kind+object.key",
        "person": ["owner.ids[type=PNR].value"],
        "values": {
            "confidentiality_code": {"0": "N", "1": "NORU", "7": "NORN_EPO"},
            "cause": {"10": "Manual", "20": "Automated"},
        },
    }
    safety["columns"] |= {
        "confidentiality_code": f"{rule}.code",
        "cause": f"{rule}.cause",
        "delay_days": f"{rule}.delay.days",
        "delay_delivery_until": [f"{rule}.delay.until", "until"],
        "created_by": "author",
        "source_created_at": "stamps[0].at",
        "source_modified_at": "stamps[1].at",
    }
    privacy |= {"path": "/privacy", "id": "key", "person": []}
    privacy["columns"] |= {
        "restricted_from": "valid[0].start",
        "restricted_to": "valid[0].end",
        "time_ranges": {"each": "periods", "from": "start", "to": "end"},
    }
    return document


SHAPES: Final[Mapping[str, Document]] = {
    "default": contract(),
    **PAGED,
    "unlike": _wrong_encoding(),
}
