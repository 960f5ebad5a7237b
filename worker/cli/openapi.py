"""Reads the search operations of an OpenAPI 3 document, which others have written.

A schema becomes a made-up value that it describes, so that a document is read as answers are.
"""

import json
from collections.abc import Mapping
from itertools import chain
from typing import Any, Final

from worker.cli.proposal import PERSON_NAMES, Draft, name_of, plain, propose, shape_of
from worker.core.area import ResourceArea
from worker.core.contract import OFF_ID, UUID, AreaContract
from worker.errors import DataContractError

_DEPTH_MAX: Final = 16
"""Levels of schemas that are made of others."""
_PARTS_MAX: Final = 100_000
"""Parts of schemas in one document; with each level of references they may double."""
_SAMPLES: Final[Mapping[Any, Any]] = {"string": "", "integer": 0, "number": 0.5, "boolean": False}
_ADDRESSES: Final = ("uri", "uri-reference", "url")
_OWN_HEADERS: Final = frozenset({"authorization", "dpop", "content-type", "accept"})


class OpenApi:
    """A document in JSON.

    Raises:
        DataContractError: it is no OpenAPI 3 document.
    """

    def __init__(self, content: bytes) -> None:
        try:
            self._document = _object(json.loads(content))
        except (ValueError, RecursionError):
            hint = "a document in YAML has to be converted to JSON first"
            raise DataContractError("not an OpenAPI document in JSON", hint=hint) from None
        if not str(self._document.get("openapi", "")).startswith("3"):
            raise DataContractError("not an OpenAPI 3 document: `openapi` does not say 3")
        self._parts_left = _PARTS_MAX

    def draft(self, area: ResourceArea, known: AreaContract) -> Draft:
        """An area's part of a contract, or the known one if the document has no search of it.

        Raises:
            DataContractError: a reference leads nowhere, or no contract can be made of it.
        """
        items = _object(self._document.get("paths"))
        paths = [p for p in items if p.endswith("_search") and plain(area.table) in plain(p)]
        draft = Draft(known)
        if not paths:
            draft.facts.append("the document has no search of it")
            return draft
        path = max(paths)
        draft.table |= {"path": path, "query": {}, "headers": {}}
        operation = _object(_object(items[path]).get("post"))
        for part in (_object(items[path]), operation):
            for parameter in _list(part.get("parameters")):
                self._declare_parameter(draft, self._whole(parameter))
        _declare_body(draft, self._body(operation.get("requestBody")))
        answers = _object(operation.get("responses"))
        draft.table["empty_status"] = [204] if "204" in answers else []
        codes = (code for code in ("200", "2XX", "default") if code in answers)
        propose(area, draft, shape_of([self._body(answers.get(next(codes, "")))]))
        return draft

    def _declare_parameter(self, draft: Draft, parameter: Mapping[str, Any]) -> None:
        key = {"query": "query", "header": "headers"}.get(str(parameter.get("in")))
        name, schema = str(parameter.get("name")), self._whole(parameter.get("schema"))
        if key is None or name.lower() in _OWN_HEADERS:
            return
        is_new, is_required = schema.get("format") == "uuid", parameter.get("required") is True
        known = (schema.get("default"), *_list(schema.get("enum")), parameter.get("example"))
        value = next((str(one) for one in known if one is not None), "")
        if key == "headers" and is_new:
            draft.table[key][name] = UUID
        elif is_required and value:
            draft.table[key][name] = value
        elif is_required:
            draft.propose(key, f"{name} is required; ask what to send")

    def _body(self, message: Any) -> Any:
        """A request's or a response's JSON, made up."""
        content = _object(self._whole(message).get("content"))
        # application/problem+json is JSON as well, and comes last.
        kinds = sorted((kind for kind in content if "json" in kind), key=lambda kind: "+" in kind)
        return self._sample(_object(content[kinds[0]]).get("schema") if kinds else None)

    def _sample(self, schema: Any, above: frozenset[Any] = frozenset()) -> Any:
        """A value that the schema describes; none within itself.

        Args:
            above: the references that it stands in.
        """
        whole = self._whole(schema)
        reference = whole.get("$ref")
        if reference in above:
            return None
        inside = above | ({reference} if reference else set())
        if properties := whole["properties"]:
            return {name: self._sample(one, inside) for name, one in properties.items()}
        if "items" in whole:
            return [self._sample(whole["items"], inside)]
        kinds = [*_list(whole.get("type")), whole.get("type")]
        if "string" in kinds and whole.get("format") in _ADDRESSES:
            return "https://"
        return next((_SAMPLES[kind] for kind in kinds if str(kind) in _SAMPLES), None)

    def _whole(self, value: Any, depth: int = _DEPTH_MAX) -> dict[str, Any]:
        """An object with all that it is made of: references, ``allOf``, and each choice.

        Its ``properties`` are those of all parts.
        """
        self._parts_left -= 1
        if not depth or not self._parts_left:
            raise DataContractError("schemas that lead to each other in a circle, or too often")
        own = _object(value)
        parts = [self._target(str(own["$ref"]))] if "$ref" in own else []
        parts += [one for key in ("allOf", "oneOf", "anyOf") for one in _list(own.get(key))]
        parts = [one for one in parts if _object(one).get("type") != "null"]
        made = [*(self._whole(one, depth - 1) for one in parts), own]
        properties = (_object(one.get("properties")).items() for one in made)
        whole = {key: one for part in made for key, one in part.items()}
        return whole | {"properties": dict(chain.from_iterable(properties))}

    def _target(self, reference: str) -> Any:
        value: Any = self._document if reference.startswith("#/") else None
        for part in reference[2:].split("/"):
            value = _object(value).get(part.replace("~1", "/").replace("~0", "~"))
        if value is None:
            hint = "if it leads to another document, bundle both into one file first"
            raise DataContractError("a reference that leads nowhere in the document", hint=hint)
        return value


def _declare_body(draft: Draft, request: Any) -> None:
    """Where the person's identifier goes; other fields are left out."""
    fields = (path for path in shape_of([request]) if "[]" not in path)
    persons = [path for path in fields if name_of(path) in PERSON_NAMES]
    if not persons:
        draft.propose("body", "no property of the request is called offId")
        return
    body: Any = OFF_ID
    for name in reversed(persons[0].split(".")):
        body = {name: body}
    draft.table["body"] = body


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
