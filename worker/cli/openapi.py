"""Reads the search operations of an OpenAPI 3 document, in JSON or YAML.

Reading is lenient: a part that cannot be read becomes an open point of the proposal. The limit on
the number of schemas applies to each area.
"""

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import yaml
from referencing import Registry, Specification
from referencing.exceptions import Unresolvable

from worker.cli.fields import KINDS, Field, Parameter, fields_in, plain
from worker.cli.proposal import Proposal
from worker.core.answer import TELLING
from worker.core.area import ResourceArea
from worker.core.contract import HEADER, AreaContract
from worker.core.paths import DEPTH_MAX
from worker.errors import DataContractError
from worker.masking import masked

_VALUES_MAX: Final = 1_000_000
"""Maximum number of values of a YAML document, with each alias replaced by its value."""
_SCHEMAS_MAX: Final = 20_000
"""Maximum number of schemas read for one area. A schema that is used twice counts twice."""
_DEPTH_MAX: Final = DEPTH_MAX - 4
_SEARCH: Final = re.compile(r"(search|query|find|lookup)$")
_VERSION: Final = re.compile(r"/v(\d+(?:\.\d+)*)(?=/|$)", re.IGNORECASE)
_PLACES: Final = {"query": "query", "header": "headers"}
_REASON_MAX: Final = 300
_CHOICES: Final = ("allOf", "oneOf", "anyOf")
_NAMED_NUMBER: Final = re.compile(r"(?<![\w.])(-?\d+)\s*[=:-]\s*\"?([A-Za-z_]\w*)")
_TAG: Final = re.compile(r"</?\w+>")
_OF_TYPE: Final = {name: name for name in KINDS.values()} | {
    "null": "null", "object": "empty object", "array": "empty list",
}  # fmt: skip
_OF_FORMAT: Final = {"int32": {"integer"}, "int64": {"integer"}, "uri": {"url"}, "url": {"url"}}
_YAML_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_YAML_SCALAR: Final = re.compile(r"true|false|-?(0|[1-9]\d{0,17})")


class Operation(NamedTuple):
    """An operation that could be the search of an area."""

    name: str  # the method and the path
    path: str  # begins with the path of its server
    server: str
    remark: str  # the reasons against it
    levels: tuple[dict[str, Any], dict[str, Any]]  # the path item and the operation
    can_be_called: bool
    is_likely: bool = False  # it can be called, and has the name of a search of the area


class OpenApi:
    """An OpenAPI 3 document.

    Args:
        base_path: the path of ``api.base_url``, which the path of a contract does not repeat.

    Raises:
        DataContractError: the content is not an OpenAPI 3 document.
    """

    def __init__(self, content: bytes, base_path: str = "") -> None:
        self._document = _parsed(content)
        if _in(self._document, "swagger", object):
            hint = "convert it first: `npx swagger2openapi FILE --outfile openapi3.json`"
            raise DataContractError("a Swagger 2.0 document, not OpenAPI 3", hint=hint)
        if not _in(self._document, "openapi", str).startswith("3"):
            raise DataContractError("not an OpenAPI 3 document", hint="it begins with `openapi: 3`")
        resource = Specification.OPAQUE.create_resource(self._document)
        self._resolver = Registry[Any]().with_resource("", resource).resolver()
        self._base_path, self._schemas_left = base_path.rstrip("/"), _VALUES_MAX
        self.operations = [*self._read_operations()]

    def candidates(self, area: ResourceArea, in_force: AreaContract) -> list[Operation]:
        """The candidates for the search of an area, the likeliest first. All if no name fits."""
        words, ranked = [plain(area.name), plain(area.name.partition("-")[2])], list[Any]()
        for operation in self.operations:
            path, is_in_force = operation.path, operation.path == in_force.path
            names = plain(path), plain(_in(operation.levels[1], "operationId", str))
            matches = [is_in_force or word in "".join(names) for word in words]
            is_search = is_in_force or any(map(_SEARCH.search, names))
            is_likely = any(matches) and is_search and operation.can_be_called
            version = [int(n) for text in _VERSION.findall(path)[-1:] for n in text.split(".")]
            rank = is_likely, operation.can_be_called, is_search, matches, not operation.remark
            ranked.append(((any(matches), *rank, version), operation._replace(is_likely=is_likely)))
        ranked.sort(key=lambda pair: pair[0], reverse=True)
        named = [operation for rank, operation in ranked if rank[0]]
        return named or [operation for _, operation in ranked]

    def proposal(
        self,
        area: ResourceArea,
        in_force: AreaContract,
        candidates: list[Operation],
        chosen: Operation | None,
    ) -> Proposal:
        """The proposal for an area from the chosen operation."""
        proposal, self._schemas_left = Proposal(area, in_force, is_complete=True), _SCHEMAS_MAX
        others = [other for other in candidates if chosen is None or other.name != chosen.name]
        for operation in others if chosen is None else [chosen, *others]:
            remark = "chosen" if operation is chosen else operation.remark
            row = {"operation": operation.name, "server": operation.server, "remark": remark}
            proposal.operations.append(row)
        if chosen is None:
            option = f"--{area.table.rpartition('_')[2]} PATH"
            proposal.note("path", f"no operation is surely the search of this area: use {option}")
            return proposal
        proposal.table["path"] = chosen.path
        if chosen.remark:
            proposal.note("path", f"this operation: {chosen.remark}", [chosen.path])
        try:
            self._read(proposal, chosen)
        except DataContractError as error:
            reason = ": ".join(filter(None, (error.message, error.hint)))
            proposal.note("records", f"{chosen.path} cannot be read: {reason}")
        return proposal

    def _read(self, proposal: Proposal, operation: Operation) -> None:
        """Read the request and the answer of an operation."""
        _, body = operation.levels
        request = self._schema(body.get("requestBody"))
        proposal.parameters = [*self._parameters(operation, request)]
        proposal.send_person(fields_in([self._example(request)]))
        answers = _in(body, "responses", dict)
        code = next((code for code in ("200", "2XX", "default") if code in answers), "")
        answer = self._merged(answers.get(code))
        names = [name.lower() for name in _in(answer, "headers", dict)]
        headers = {HEADER + name: Field("header") for name in TELLING if name in names}
        statuses = [status for status in (204, 404) if str(status) in answers]
        proposal.read([self._example(self._schema(answer))], headers, statuses)

    def _parameters(self, operation: Operation, request: Any) -> Iterator[Parameter]:
        """The parameters in the query and the headers, and the first level of the body."""
        parameters = dict[tuple[str, str], dict[str, Any]]()
        for level in operation.levels:  # those of an operation replace those of its path
            for parameter in map(self._merged, _in(level, "parameters", list)):
                place = _PLACES.get(_in(parameter, "in", str), "")
                schema = self._merged(parameter.get("schema"))
                parameters[place, _in(parameter, "name", str)] = {**schema, **parameter}
        for (place, name), parameter in parameters.items():
            if place:  # no cookie, and no parameter in the path
                yield Parameter(place, name, parameter.get("required") is True, parameter)
        required = {str(n) for part in self._parts(request) for n in _in(part, "required", list)}
        for name, schema in self._merged(request)["properties"].items():
            yield Parameter("body", name, name in required, self._merged(schema))

    def _read_operations(self) -> Iterator[Operation]:
        for path, reference in _in(self._document, "paths", dict).items():
            item = self._merged(reference)
            for method in ("post", "get"):
                body = item.get(method)
                if isinstance(body, dict):
                    remarks = ["deprecated"] if body.get("deprecated") is True else []
                    refusals = [*self._refusals(method, path, body)]
                    server, base = self._server(body, item)
                    yield Operation(
                        name=f"{method.upper()} {base}{path}",
                        path=base + path,
                        server=server,
                        remark="; ".join([*remarks, *refusals]),
                        levels=(item, body),
                        can_be_called=not refusals,
                    )

    def _refusals(self, method: str, path: str, body: dict[str, Any]) -> Iterator[str]:
        """The reasons why the worker cannot call an operation."""
        if method != "post":
            yield "a GET operation: an identifier is never sent in an address"
        if "{" in path:
            yield "a parameter in its path"
        with suppress(DataContractError):
            kinds = [*_in(self._merged(body.get("requestBody")), "content", dict)]
            if kinds and not any("json" in kind or kind == "*/*" for kind in kinds):
                yield f"no JSON: it takes {kinds[0]}, which the worker does not send"

    def _server(self, *levels: dict[str, Any]) -> tuple[str, str]:
        """The first server of an operation, and the part of its path that a contract repeats."""
        servers = [s for level in (*levels, self._document) for s in _in(level, "servers", list)]
        server: Any = next(iter(servers), {})
        url, path, base = _in(server, "url", str), "", self._base_path
        for name, variable in _in(server, "variables", dict).items():
            url = url.replace(f"{{{name}}}", _in(variable, "default", str))
        with suppress(ValueError):
            path = urlsplit(url).path.strip("./")
        path = f"/{path}" if path else ""
        return url, path.removeprefix(base) if f"{path}/".startswith(f"{base}/") else path

    def _schema(self, message: Any) -> Any:
        """The schema of a request or a response in JSON."""
        content = _in(self._merged(message), "content", dict)
        kinds = (kind for kind in content if "json" in kind and "problem" not in kind)
        return _in(content, next(kinds, "*/*"), dict).get("schema")

    def _example(self, schema: Any, above: tuple[Any, ...] = ()) -> Any:
        """An answer as a schema describes it, with a ``Field`` in place of each value.

        An array has one element. An object within itself is a leaf.
        """
        merged = self._merged(schema)
        reference = merged.get("$ref")
        if (reference and reference in above) or len(above) > _DEPTH_MAX:
            return _field(merged)
        inside = (*above, reference)
        if "items" in merged:
            return [self._example(merged["items"], inside)]
        properties = merged["properties"].items()
        return {name: self._example(below, inside) for name, below in properties} or _field(merged)

    def _parts(self, schema: Any) -> list[dict[str, Any]]:
        """A schema and the schemas that it includes: ``$ref``, ``allOf``, and each choice."""
        parts, schemas = dict[int, dict[str, Any]](), [schema]
        for part in schemas:  # grows meanwhile
            if isinstance(part, dict) and id(part) not in parts:
                self._schemas_left -= 1
                if self._schemas_left < 0:
                    raise DataContractError(f"more than {_SCHEMAS_MAX:,} schemas")
                parts[id(part)] = part
                schemas += [self._target(part["$ref"])] if "$ref" in part else []
                schemas += [choice for key in _CHOICES for choice in _in(part, key, list)]
        return [*parts.values()]

    def _target(self, reference: Any) -> Any:
        try:
            return self._resolver.lookup(reference).contents
        except (Unresolvable, ValueError, TypeError, AttributeError):
            hint = "if it leads to another document, bundle both into one file first"
            text = f"the reference {masked(json.dumps(reference))} has no target in the document"
            raise DataContractError(text, hint=hint) from None

    def _merged(self, value: Any) -> dict[str, Any]:
        """The keys of a schema and the schemas that it includes. The first value of a key counts.

        Properties and descriptions are combined.
        """
        merged, properties, texts = dict[str, Any](), dict[str, Any](), list[str]()
        for part in self._parts(value):
            if part.get("type") != "null":  # 3.1 writes a nullable object as a choice with null
                for key, item in part.items():
                    merged.setdefault(key, item)
                for name, schema in _in(part, "properties", dict).items():
                    properties.setdefault(name, schema)
                texts.append(_in(part, "description", str))
        return merged | {"properties": properties, "description": "\n".join(filter(None, texts))}


def _field(schema: dict[str, Any]) -> Field:
    """The kinds and the named codes that the document has for a leaf."""
    values = [value for value in _in(schema, "enum", list) if type(value) in KINDS]
    names = _in(schema, "x-enumNames", list) or _in(schema, "x-enum-varnames", list)
    codes = {str(value): value if isinstance(value, str) else "" for value in values}
    if len(names) == len(values):
        codes = {str(value): str(name) for value, name in zip(values, names, strict=True)}
    types = _in(schema, "type", list) or [schema.get("type")]
    # .NET 10 declares a number as `["integer", "string"]`, or by its format alone.
    kinds = {KINDS[type(value)] for value in values} or _OF_FORMAT.get(_in(schema, "format", str))
    kinds = kinds or {_OF_TYPE.get(str(name), "") for name in types}
    if "integer" in kinds:
        described = dict(_NAMED_NUMBER.findall(_TAG.sub(" ", schema["description"])))
        codes |= {value: name for value, name in described.items() if not codes.get(value)}
    return Field("|".join(sorted(kinds - {""})), 1, codes)


def _parsed(content: bytes) -> Any:
    """The document, in JSON or YAML."""
    try:
        with suppress(ValueError):
            return json.loads(content, object_pairs_hook=_object)
        return _plain(yaml.compose(content, Loader=_YAML_LOADER), iter(range(_VALUES_MAX)))
    except (yaml.YAMLError, RecursionError) as error:
        reason = masked(" ".join(str(error).split())[:_REASON_MAX])
        raise DataContractError(f"neither JSON nor YAML in UTF-8: {reason}") from None


def _plain(node: yaml.Node | None, left: Iterator[int]) -> Any:
    """The value of a YAML node as JSON has it: no tag makes anything, and ``NO`` is a text."""
    if next(left, None) is None:
        raise DataContractError(f"a document of more than {_VALUES_MAX:,} values")
    if isinstance(node, yaml.MappingNode):
        if any(not isinstance(key, yaml.ScalarNode) or key.value == "<<" for key, _ in node.value):
            raise DataContractError("a merge (<<) or a key that is no text: write it out")
        return _object([(key.value, _plain(value, left)) for key, value in node.value])
    if isinstance(node, yaml.SequenceNode):
        return [_plain(value, left) for value in node.value]
    if node is None or node.tag.endswith(":null"):
        return None
    is_json = node.tag.endswith((":bool", ":int")) and _YAML_SCALAR.fullmatch(node.value.lower())
    return json.loads(node.value.lower()) if is_json else node.value


def _object(members: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """An object. A repeated key would hide a value, and parsers differ in which one."""
    values = dict(members)
    if len(values) < len(members):
        raise DataContractError("an object has a key twice: correct the document")
    return values


def _in(value: Any, name: str, kind: type) -> Any:
    """The member of an object. An empty value if it is absent or of another type."""
    member = value.get(name) if isinstance(value, dict) else None
    return member if isinstance(member, kind) else kind()
