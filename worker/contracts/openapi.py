"""Reads the search operations of an OpenAPI 3 document, which others have written."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from worker.contracts.shape import NOTHING, Leaf, Shape, refuse_too_many, safe_name
from worker.errors import DataContractError

DEPTH_MAX: Final = 16
"""Levels of objects and arrays in a schema; what lies deeper is left out."""
_REFERENCES_MAX: Final = 16
_STEPS_MAX: Final = 20_000
_NUMBER: Final = re.compile(r"\d+")
_MOST_LIKELY: Final = ("application/json", "text/json")
_UNSTRUCTURED: Final = ("string", "integer", "number", "boolean")


class Parameter(NamedTuple):
    """A parameter of a search.

    Attributes:
        place: ``query`` or ``header``.
        value: what to send, if the document says so; ``{uuid}`` for a new id.
    """

    name: str
    place: str
    is_required: bool
    value: str | None


class Search(NamedTuple):
    """One search operation.

    Attributes:
        others: the paths of other versions of it.
        request, answer: leaves of the bodies.
        has_no_content: 204 is among the answers.
    """

    path: str
    others: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    request: Shape
    answer: Shape
    has_no_content: bool


def searches_of(document: Any, areas: Iterable[str]) -> Mapping[str, Search]:
    """The search operation of each area that the document has: that of the highest version.

    Raises:
        DataContractError: it is no OpenAPI 3 document, a reference leads nowhere, or it is too
            large.
    """
    if not isinstance(document, dict) or not str(document.get("openapi", "")).startswith("3"):
        raise DataContractError("not an OpenAPI 3 document: `openapi` does not say 3")
    reader = _Reader(document)
    found = dict[str, Search]()
    for area in areas:
        paths = sorted((p for p in _search_paths(document) if area in _dashed(p)), key=_version)
        if paths:
            found[area] = reader.search(paths[-1], tuple(paths[:-1]))
    return found


def _search_paths(document: dict[str, Any]) -> Iterator[str]:
    for path, item in _object(document.get("paths")).items():
        if path.endswith("_search") and "post" in _object(item):
            yield path


def _dashed(path: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])|_", "-", path).lower()


def _version(path: str) -> tuple[list[int], str]:
    return [int(number) for number in _NUMBER.findall(path)], path


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


class _Reader:
    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document
        self._steps = 0

    def search(self, path: str, others: tuple[str, ...]) -> Search:
        item = self._document["paths"][path]
        operation = _object(item["post"])
        parameters = [*item.get("parameters", ()), *operation.get("parameters", ())]
        answers = _object(operation.get("responses"))
        ok: Any = next((answers[code] for code in ("200", "2XX", "default") if code in answers), {})
        return Search(
            path=path,
            others=others,
            parameters=tuple(self._parameter(self._there(one)) for one in parameters),
            request=self._shape(operation.get("requestBody")),
            answer=self._shape(ok),
            has_no_content="204" in answers,
        )

    def _parameter(self, declared: dict[str, Any]) -> Parameter:
        schema = self._there(declared.get("schema"))
        known = [schema.get("default"), schema.get("const"), *schema.get("enum", [])[:1]]
        known += [declared.get("example"), schema.get("example")]
        value = next((str(one) for one in known if one is not None), None)
        if schema.get("format") == "uuid" and declared.get("in") == "header":
            value = "{uuid}"
        required = declared.get("required") is True
        return Parameter(str(declared.get("name")), str(declared.get("in")), required, value)

    def _shape(self, message: Any) -> Shape:
        """The shape of a request's or a response's JSON."""
        content = _object(self._there(message).get("content"))
        kinds = sorted(
            (kind for kind in content if "json" in kind), key=_MOST_LIKELY.count, reverse=True
        )
        schema: Any = next((_object(content[kind]).get("schema") for kind in kinds), {})
        found = dict[str, set[str]]()
        self._collect(schema, "", frozenset(), found)
        return {safe_name(path): Leaf(frozenset(kinds)) for path, kinds in found.items()}

    def _collect(
        self, schema: Any, path: str, above: frozenset[int], found: dict[str, set[str]]
    ) -> None:
        """Collect the leaves of a schema, but not within itself again.

        Args:
            above: the schemas that it stands in.
        """
        self._steps += 1
        refuse_too_many(len(found) + (self._steps > _STEPS_MAX) * _STEPS_MAX)
        parts = [*self._parts(schema, _REFERENCES_MAX)]
        kinds = {kind for part in parts for kind in _kinds(part)}
        inside = dict[str, Any]()
        if len(above) < DEPTH_MAX and above.isdisjoint(map(id, parts)):
            for part in parts:
                inside |= {f"{path}[]": part["items"]} if "items" in part else {}
                for name, one in _object(part.get("properties")).items():
                    inside[f"{path}.{name}" if path else name] = one
        for place, one in inside.items():
            self._collect(one, place, above | {*map(id, parts)}, found)
        if not inside or kinds & {*_UNSTRUCTURED, "url"}:
            ending, kind = ("[]", NOTHING) if "array" in kinds else ("", "object")
            found.setdefault(path + ending, set()).update(kinds - {"array"} or {kind})

    def _parts(self, schema: Any, depth: int) -> Iterator[dict[str, Any]]:
        """A schema and those that it is made of: ``allOf``, and each of ``oneOf`` and ``anyOf``."""
        if not depth:
            raise DataContractError("schemas that refer to each other without an end")
        part = self._there(schema)
        for key in ("allOf", "oneOf", "anyOf"):
            for one in part.get(key, ()):
                yield from self._parts(one, depth - 1)
        yield part

    def _there(self, value: Any) -> dict[str, Any]:
        """What a local reference leads to; anything else is itself."""
        for _ in range(_REFERENCES_MAX):
            reference = _object(value).get("$ref")
            if not isinstance(reference, str):
                return _object(value)
            value = self._target(reference)
        raise DataContractError("references that lead to each other without an end")

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


def _kinds(part: Mapping[str, Any]) -> Iterator[str]:
    """The kinds that a schema names: 3.0's ``nullable``, and 3.1's lists of kinds."""
    named = part.get("type")
    for kind in named if isinstance(named, list) else [named]:
        if kind == "string" and part.get("format") in {"uri", "uri-reference", "url"}:
            yield "url"
        elif kind in {*_UNSTRUCTURED, "array", "null"}:
            yield str(kind)
    if part.get("nullable") is True:
        yield "null"
