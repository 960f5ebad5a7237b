"""Reads the search operations of an OpenAPI 3 document, which others have written.

A schema becomes a made-up value that it describes, so that a document is read as answers are.
"""

import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from worker.contracts.proposal import PERSON_NAMES, Draft, name_of
from worker.contracts.shape import shape_of
from worker.core.contract import OFF_ID, UUID, AreaContract
from worker.errors import DataContractError

_DEPTH_MAX: Final = 16
"""Levels of objects and lists in a schema, and of schemas that are made of others."""
_SCHEMAS_MAX: Final = 20_000
_SAMPLES: Final[Mapping[Any, Any]] = {
    "string": "", "integer": 0, "number": 0.5, "boolean": False, "array": [], "object": {}
}  # fmt: skip
_ADDRESSES: Final = ("uri", "uri-reference", "url")
_NUMBER: Final = re.compile(r"\d+")
_OWN_HEADERS: Final = frozenset({"authorization", "dpop", "content-type", "accept"})


class OpenApi:
    """A document.

    Raises:
        DataContractError: it is no OpenAPI 3 document.
    """

    def __init__(self, document: Any) -> None:
        if not str(_object(document).get("openapi", "")).startswith("3"):
            raise DataContractError("not an OpenAPI 3 document: `openapi` does not say 3")
        self._document = document
        self._schemas = 0

    def search(self, area: str, known: AreaContract) -> tuple[Draft, Any]:
        """The request of an area's search, in its highest version, and a made-up answer.

        The draft has no path if the document has no search of it.

        Raises:
            DataContractError: a reference leads nowhere, or the document is too large.
        """
        items = _object(self._document.get("paths"))
        paths = [path for path in items if path.endswith("_search") and area in _dashed(path)]
        if not paths:
            return Draft("the document has no search of it"), None
        *others, path = sorted(paths, key=_version)
        draft = Draft(f"POST {path}", path=path, query={}, headers={}, body=known.body)
        draft.table["naive_times"] = known.naive_times
        if others:
            draft.propose("path", f"the highest version; there is also {', '.join(others)}")
        operation = _object(_object(items[path]).get("post"))
        for part in (_object(items[path]), operation):
            for parameter in _list(part.get("parameters")):
                self._declare_parameter(draft, self._whole(parameter))
        _declare_body(draft, self._body(operation.get("requestBody")))
        answers = _object(operation.get("responses"))
        draft.table["empty_status"] = [204] if "204" in answers else []
        codes = (code for code in ("200", "2XX", "default") if code in answers)
        return draft, self._body(answers.get(next(codes, "")))

    def _declare_parameter(self, draft: Draft, parameter: Mapping[str, Any]) -> None:
        key = {"query": "query", "header": "headers"}.get(str(parameter.get("in")))
        name = str(parameter.get("name"))
        if key is None or name.lower() in _OWN_HEADERS:
            return
        if key == "query":
            draft.sendable[name] = key
        schema = self._whole(parameter.get("schema"))
        known = [schema.get("default"), *_list(schema.get("enum"))[:1], schema.get("const")]
        value = next((one for one in (*known, parameter.get("example")) if one is not None), None)
        if key == "headers" and schema.get("format") == "uuid":
            draft.table[key][name] = UUID
        elif parameter.get("required") is True and value is not None:
            draft.table[key][name] = str(value)
            draft.propose(key, f"the value of {name}; ask NHN")
        elif parameter.get("required") is True:
            draft.propose(key, f"{name} is required; ask what to send")

    def _body(self, message: Any) -> Any:
        """A request's or a response's JSON, made up."""
        content = _object(self._whole(message).get("content"))
        # application/problem+json is JSON as well, and comes last.
        kinds = sorted((kind for kind in content if "json" in kind), key=lambda kind: "+" in kind)
        schema = _object(content[kinds[0]]).get("schema") if kinds else None
        return self._sample(schema, frozenset(), _DEPTH_MAX)

    def _sample(self, schema: Any, above: frozenset[int], depth: int) -> Any:
        """A value that the schema describes; empty within itself, and where it is too deep.

        Args:
            above: the schemas that it stands in.
        """
        parts = [*self._parts(schema, _DEPTH_MAX)]
        inside = above | {*map(id, parts)}
        if depth and above.isdisjoint(map(id, parts)):
            found = (_object(part.get("properties")).items() for part in parts)
            properties = dict(itertools.chain.from_iterable(found))
            if properties:
                return {n: self._sample(one, inside, depth - 1) for n, one in properties.items()}
            for part in parts:
                if "items" in part:
                    element = self._sample(part["items"], inside, depth - 1)
                    return [] if element is None else [element]
        return next((value for part in parts for value in _samples(part)), None)

    def _parts(self, schema: Any, depth: int) -> Iterator[dict[str, Any]]:
        """A schema and all that it is made of: references, ``allOf``, and each choice."""
        self._schemas += 1
        if not depth or self._schemas > _SCHEMAS_MAX:
            raise DataContractError("too many schemas, or some that lead to each other in a circle")
        part = _object(schema)
        yield part
        if isinstance(part.get("$ref"), str):
            yield from self._parts(self._target(part["$ref"]), depth - 1)
        for key in ("allOf", "oneOf", "anyOf"):
            for one in _list(part.get(key)):
                yield from self._parts(one, depth - 1)

    def _whole(self, value: Any) -> dict[str, Any]:
        """An object with all that it refers to."""
        return {key: one for part in self._parts(value, _DEPTH_MAX) for key, one in part.items()}

    def _target(self, reference: str) -> Any:
        if not reference.startswith("#/"):
            raise DataContractError(
                "a reference to another document", hint="bundle the document into one file first"
            )
        value: Any = self._document
        for part in reference[2:].split("/"):
            value = _object(value).get(part.replace("~1", "/").replace("~0", "~"))
        if value is None:
            raise DataContractError("a reference that leads nowhere in the document")
        return value


def _declare_body(draft: Draft, request: Any) -> None:
    """Where the person's identifier goes; other fields are left out."""
    fields = [path for path in shape_of([request]) if path]
    draft.sendable |= dict.fromkeys(fields, "body")
    persons = [path for path in fields if name_of(path) in PERSON_NAMES and "[]" not in path]
    if not persons:
        draft.propose("body", "no property of the request is called offId")
        return
    body: Any = OFF_ID
    for name in reversed(persons[0].split(".")):
        body = {name: body}
    draft.table["body"] = body


def _samples(part: Mapping[str, Any]) -> Iterator[Any]:
    """A value for each kind that a schema names; 3.1 has lists of kinds."""
    for kind in (*_list(part.get("type")), part.get("type")):
        if kind == "string" and part.get("format") in _ADDRESSES:
            yield "https://"
        elif isinstance(kind, str) and kind in _SAMPLES:
            yield _SAMPLES[kind]


def _dashed(path: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])|_", "-", path).lower()


def _version(path: str) -> tuple[list[int], str]:
    return [int(number) for number in _NUMBER.findall(path)], path


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
