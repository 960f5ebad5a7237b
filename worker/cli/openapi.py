"""Reads the search operations of an OpenAPI 3 document, in JSON or YAML.

Others have written the document, and it is read leniently: a part that is not understood is an open
point of the proposal. The limits on size count for each area on its own.
"""

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import yaml
from referencing import Registry, Specification
from referencing.exceptions import Unresolvable

from worker.cli.fields import FIELDS_MAX, KINDS, Field, Parameter, plain
from worker.cli.proposal import Proposal
from worker.core.answer import TELLING
from worker.core.area import ResourceArea
from worker.core.contract import HEADER, AreaContract
from worker.core.paths import DEPTH_MAX, PATH_MAX, safe_path
from worker.errors import DataContractError
from worker.masking import masked

_VALUES_MAX: Final = 1_000_000
"""Values of a YAML document, after its aliases are replaced."""
_SCHEMAS_MAX: Final = 20_000
"""Schemas that are looked at for one area: one that is used twice counts twice."""
_SEARCH: Final = re.compile(r"(search|query|find|lookup)$")
_VERSION: Final = re.compile(r"/v(\d+(?:\.\d+)*)(?=/|$)")
_PLACES: Final = {"query": "query", "header": "headers"}
_NAMED_NUMBER: Final = re.compile(r"(?<![\w.])(-?\d+)\s*[=:-]\s*\"?([A-Za-z_]\w*)")
_OF_TYPE: Final = {name: name for name in KINDS.values()} | {
    "null": "null", "object": "empty object", "array": "empty list",
}  # fmt: skip
_OF_FORMAT: Final = {"int32": {"integer"}, "int64": {"integer"}, "uri": {"url"}, "url": {"url"}}
_YAML_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_YAML_NUMBER: Final = re.compile(r"-?(0|[1-9]\d{0,17})")
_YAML_WORDS: Final = {"true": True, "false": False}


class Operation(NamedTuple):
    """An operation that could be the search of an area."""

    method: str
    path: str  # begins with the path of its server
    server: str
    refusal: str  # why the worker cannot call it
    item: dict[str, Any]  # the path item in the document
    body: dict[str, Any]  # the operation in it
    is_likely: bool = False  # named like a search of the area, and the worker can call it

    @property
    def remark(self) -> str:
        """What speaks against it."""
        deprecated = "deprecated" if self.body.get("deprecated") is True else ""
        return "; ".join(filter(None, (deprecated, self.refusal)))


class OpenApi:
    """A document.

    Args:
        base_path: the path of ``api.base_url``, which a contract's path does not repeat.

    Raises:
        DataContractError: it is no OpenAPI 3 document.
    """

    def __init__(self, content: bytes, base_path: str = "") -> None:
        self._document = _parsed(content)
        if "swagger" in self._document:
            hint = "convert it first: `npx swagger2openapi FILE --outfile openapi3.json`"
            raise DataContractError("a Swagger 2.0 document, not OpenAPI 3", hint=hint)
        if not str(self._document.get("openapi")).startswith("3"):
            raise DataContractError("not an OpenAPI 3 document", hint="it begins with `openapi: 3`")
        resource = Specification.OPAQUE.create_resource(self._document)
        self._resolver = Registry[Any]().with_resource("", resource).resolver()
        self._base_path, self._schemas_left = base_path.rstrip("/"), _VALUES_MAX
        self.operations = [*self._operations()]

    def candidates(self, area: ResourceArea, known: AreaContract) -> list[Operation]:
        """The operations that could be meant, the likeliest first; all if no name fits."""
        words, ranked = (plain(area.table), plain(area.table.rpartition("_")[2])), list[Any]()
        for one in self.operations:
            is_known = one.path.rstrip("/") == known.path.rstrip("/")
            names = plain(one.path), plain(str(one.body.get("operationId")))
            matches = [is_known or word in "".join(names) for word in words]
            is_search = is_known or any(map(_SEARCH.search, names))
            is_likely = any(matches) and is_search and not one.refusal
            version = [
                int(n) for v in _VERSION.findall(one.path.lower())[-1:] for n in v.split(".")
            ]
            kind = any(matches), is_likely, not one.refusal, is_search, *matches
            rank = *kind, one.body.get("deprecated") is not True, version
            ranked.append(((*rank, is_known), one._replace(is_likely=is_likely)))
        ranked.sort(key=lambda pair: pair[0], reverse=True)
        return [one for rank, one in ranked if rank[0]] or [one for _, one in ranked]

    def proposal(
        self,
        area: ResourceArea,
        known: AreaContract,
        candidates: list[Operation],
        chosen: Operation | None,
    ) -> Proposal:
        """An area's part of a contract, if the document has its search."""
        proposal, self._schemas_left = Proposal(area, known, is_complete=True), _SCHEMAS_MAX
        for one in candidates if chosen is None or chosen in candidates else [chosen, *candidates]:
            remark = "; ".join(filter(None, ("chosen" if one is chosen else "", one.remark)))
            name = f"{one.method} {one.path}"
            proposal.operations.append({"operation": name, "server": one.server, "remark": remark})
        if chosen is None:
            option = f"--{area.table.rpartition('_')[2]} PATH"
            proposal.note("path", f"no operation is surely the search of this area: use {option}")
            return proposal
        proposal.table["path"] = chosen.path
        if chosen.remark:
            proposal.note("path", f"this operation: {chosen.remark}", [chosen.path])
        if others := [one.path for one in candidates if one.is_likely and one is not chosen]:
            proposal.note("path", f"the document also has {', '.join(others)}")
        try:
            self._read(proposal, chosen)
        except DataContractError as error:
            text = f"{chosen.path} cannot be read: {error.message}"
            proposal.note("records", f"{text}; {error.hint}" if error.hint else text)
        return proposal

    def _read(self, proposal: Proposal, operation: Operation) -> None:
        """Read the request and the answer of an operation."""
        request = self._schema(operation.body.get("requestBody"))
        proposal.parameters = [*self._parameters(operation, request)]
        proposal.send_person(self._fields(request))
        answers = _in(operation.body, "responses", dict)
        code = next((code for code in ("200", "2XX", "default") if code in answers), "")
        answer = self._merged(answers.get(code))
        names = [name.lower() for name in _in(answer, "headers", dict)]
        headers = {HEADER + name: Field("header") for name in TELLING if name in names}
        statuses = [code for code in (204, 404) if str(code) in answers]
        proposal.read(self._fields(self._schema(answer)), headers, statuses)

    def _parameters(self, operation: Operation, request: Any) -> Iterator[Parameter]:
        """What a request can have in its query, headers and the first level of its body."""
        given = {
            (_in(one, "in", str), _in(one, "name", str)): one
            for part in (operation.item, operation.body)
            for one in map(self._merged, _in(part, "parameters", list))
        }
        for (place, name), one in given.items():
            schema, is_required = self._merged(one.get("schema")), one.get("required") is True
            if place in _PLACES:
                yield Parameter(_PLACES[place], name, is_required, {**one, **schema})
        parts = self._parts(request)
        required = [name for part in parts for name in _in(part, "required", list)]
        for part in parts:
            for name, schema in _in(part, "properties", dict).items():
                yield Parameter("body", name, name in required, self._merged(schema))

    def _operations(self) -> Iterator[Operation]:
        for path, given in _in(self._document, "paths", dict).items():
            item = self._merged(given)
            for method in ("post", "get"):
                if isinstance(body := item.get(method), dict):
                    server, base = self._server(body, item)
                    refusal = self._refusal(method, path, body)
                    yield Operation(method.upper(), base + path, server, refusal, item, body)

    def _refusal(self, method: str, path: str, body: dict[str, Any]) -> str:
        kinds, words = list[str](), list[str]()
        with suppress(DataContractError):
            kinds += _in(self._merged(body.get("requestBody")), "content", dict)
        if method != "post":
            words.append("a GET operation: the worker sends POST, and no identifier in an address")
        if "{" in path:
            words.append("a parameter in its path: write into `path` the path as it is called")
        if kinds and not any("json" in kind or kind == "*/*" for kind in kinds):
            words.append(f"no JSON: it takes {kinds[0]}, which the worker does not send")
        return "; ".join(words)

    def _server(self, *levels: dict[str, Any]) -> tuple[str, str]:
        """The first server of an operation, and the part of its path that a contract repeats."""
        servers = [s for level in (*levels, self._document) for s in _in(level, "servers", list)]
        server: Any = next(iter(servers), {})
        url, path = _in(server, "url", str), ""
        for name, variable in _in(server, "variables", dict).items():
            url = url.replace(f"{{{name}}}", str(_in(variable, "default", object)))
        with suppress(ValueError):
            path = urlsplit(url).path.strip("./")
        path, own = f"/{path}" if path else "", self._base_path
        return url, path.removeprefix(own) if f"{path}/".startswith(f"{own}/") else path

    def _schema(self, message: Any) -> Any:
        """The schema of a request or a response in JSON."""
        content = _in(self._merged(message), "content", dict)
        kinds = (kind for kind in content if "json" in kind and "problem" not in kind)
        return _in(content, next(kinds, "*/*"), dict).get("schema")

    def _fields(self, schema: Any) -> dict[str, Field]:
        """The fields of a message, as ``fields_in`` has those of answers."""
        fields = dict[str, Field]()
        for path, parts in self._leaves([schema], "", ()) if schema else ():
            fields[path and safe_path(path)] = _field(parts)
            if len(fields) > FIELDS_MAX:
                raise DataContractError(f"fields with more than {FIELDS_MAX:,} names")
        return fields

    def _leaves(
        self, schemas: list[Any], path: str, above: tuple[int, ...]
    ) -> Iterator[tuple[str, list[dict[str, Any]]]]:
        """Each leaf with its schemas; an object within itself is one, and a list of scalars."""
        parts, named = (
            [part for schema in schemas for part in self._parts(schema)],
            dict[str, Any](),
        )
        for part in parts:
            for name, schema in _in(part, "properties", dict).items():
                named.setdefault(name, []).append(schema)
        items = [part["items"] for part in parts if isinstance(part.get("items"), dict)]
        inner = [part for item in items for part in self._parts(item)]
        is_list = any("properties" in part or "items" in part for part in inner)
        own = [id(part) for part in parts if part.keys() & {"properties", "items"}]
        is_cut = {*own} & {*above} or len(above) > DEPTH_MAX or len(path) > PATH_MAX
        if is_cut or not (named or is_list):
            yield path, parts
            return
        for name, below in named.items():
            yield from self._leaves(below, f"{path}.{name}" if path else name, (*above, *own))
        if is_list:
            yield from self._leaves(items, f"{path}[]", (*above, *own))

    def _parts(self, schema: Any) -> list[dict[str, Any]]:
        """The schemas that one is made of: its references, ``allOf``, and each choice."""
        parts, left = dict[int, dict[str, Any]](), [schema]
        while left:
            part = left.pop(0)
            if isinstance(part, dict) and id(part) not in parts:
                self._schemas_left -= 1
                if self._schemas_left < 0:
                    raise DataContractError(f"more than {_SCHEMAS_MAX:,} schemas")
                parts[id(part)] = part
                left += [self._target(part["$ref"])] if "$ref" in part else []
                left += [one for key in ("allOf", "oneOf", "anyOf") for one in _in(part, key, list)]
        return [*parts.values()]

    def _target(self, reference: Any) -> Any:
        try:
            return self._resolver.lookup(reference).contents
        except (Unresolvable, ValueError, TypeError, AttributeError):
            hint = "if it leads to another document, bundle both into one file first"
            text = f"the reference {masked(json.dumps(reference))} has no target in the document"
            raise DataContractError(text, hint=hint) from None

    def _merged(self, value: Any) -> dict[str, Any]:
        """An object with the keys of what it refers to; its own come first."""
        return {key: part[key] for part in reversed(self._parts(value)) for key in part}


def _field(parts: list[dict[str, Any]]) -> Field:
    """A leaf's kinds, and its codes with their names, as far as the document has them."""
    kinds, codes = set[str](), dict[str, str]()
    for part in parts:
        declared = part.get("type")
        types = declared if isinstance(declared, list) else [declared]
        values = [value for value in _in(part, "enum", list) if type(value) in KINDS]
        # .NET 10 declares a number as `["integer", "string"]`, or by its format alone.
        of_format = _OF_FORMAT.get(_in(part, "format", str))
        of_values = {KINDS[type(value)] for value in values}
        kinds |= of_values or of_format or {_OF_TYPE.get(str(name), "") for name in types}
        names = _in(part, "x-enumNames", list) or _in(part, "x-enum-varnames", list)
        names = names if len(names) == len(values) else [""] * len(values)
        codes |= {
            str(v): str(name or (v if isinstance(v, str) else ""))
            for v, name in zip(values, names, strict=True)
        }
        told = dict(_NAMED_NUMBER.findall(_in(part, "description", str)))
        codes |= {value: name for value, name in told.items() if not codes.get(value)}
    if "integer" not in kinds:
        codes = {value: name for value, name in codes.items() if not value.lstrip("-").isdigit()}
    return Field("|".join(sorted(kinds - {""})), 1, codes)


def _parsed(content: bytes) -> dict[str, Any]:
    """The document: JSON if it begins like it, else YAML."""
    text = content.lstrip(b"\xef\xbb\xbf \t\r\n")
    kind = "JSON" if text.startswith(b"{") else "YAML"
    try:
        if kind == "JSON":
            document = json.loads(text, object_pairs_hook=_once)
        else:
            node = yaml.compose(content, Loader=_YAML_LOADER)
            document = _plain(node, iter(range(_VALUES_MAX)))
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = getattr(error, "lineno", mark.line + 1 if mark else 0)
        where = f" (line {line})" if line else ""
        raise DataContractError(f"not {kind} in UTF-8, or nested too deeply{where}") from None
    if not isinstance(document, dict):
        raise DataContractError("not an OpenAPI 3 document", hint="is it a web page?")
    return document


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise DataContractError(f"a key twice in one object: one of {', '.join(fields)[:200]}")
    return fields


def _plain(node: yaml.Node | None, left: Iterator[int]) -> Any:
    """The value of a YAML node as JSON has it: no tag makes anything, and ``NO`` is a text."""
    if next(left, None) is None:
        raise DataContractError(f"a document of more than {_VALUES_MAX:,} values")
    if isinstance(node, yaml.MappingNode):
        if any(not isinstance(key, yaml.ScalarNode) or "merge" in key.tag for key, _ in node.value):
            raise DataContractError("a merge (<<) or a key that is no text: write it out")
        return _once([(key.value, _plain(value, left)) for key, value in node.value])
    if isinstance(node, yaml.SequenceNode):
        return [_plain(value, left) for value in node.value]
    kind, text = node.tag.rpartition(":")[2] if node else "null", node.value if node else ""
    if kind == "int" and _YAML_NUMBER.fullmatch(text):
        return int(text)
    word = _YAML_WORDS.get(text.lower()) if kind == "bool" else None
    return word if word is not None else None if kind == "null" else text


def _in(value: Any, name: str, kind: type) -> Any:
    """The member of an object, if it is of this kind; empty if not."""
    member = value.get(name) if isinstance(value, dict) else None
    return member if isinstance(member, kind) else kind()
