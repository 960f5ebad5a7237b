"""Reads the search operations of an OpenAPI 3 document, in JSON or YAML.

Others have written the document, and it is read leniently: a part that is not understood is an open
point of the proposal. The limits on size count for each area on its own.
"""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import yaml
from referencing import Registry, Specification
from referencing.exceptions import Unresolvable

from worker.cli.proposal import FIELDS_MAX, KINDS, PERSON_NAMES, Field, Proposal, names_of, plain
from worker.core.answer import TELLING
from worker.core.area import ResourceArea
from worker.core.contract import HEADER, OFF_ID, UUID, AreaContract
from worker.core.paths import DEPTH_MAX, PATH_MAX, UNNAMED, leaves, safe_path
from worker.errors import DataContractError
from worker.masking import masked

_VALUES_MAX: Final = 1_000_000
"""Values of a YAML document, after its aliases are replaced."""
_SCHEMAS_MAX: Final = 20_000
"""Schemas that are looked at for one area: one that is used twice counts twice."""
_EXAMPLE_MAX: Final = 60
_METHODS: Final = ("post", "get")
_OWN_HEADERS: Final = frozenset({"authorization", "dpop", "content-type", "accept"})
_SEARCH: Final = re.compile(r"(search|query|find|lookup)$")
_VERSION: Final = re.compile(r"/v(\d+(?:\.\d+)*)(?=/|$)")
_NAMED_NUMBER: Final = re.compile(r"(?<![\w.])(-?\d+)\s*[=:–-]\s*\"?([A-Za-z_]\w*)")  # noqa: RUF001
_TYPES: Final = {name: name for name in KINDS.values()} | {
    "null": "null",
    "object": "empty object",
    "array": "empty list",
}
_FORMATS: Final = {
    "int32": {"integer"},
    "int64": {"integer"},
    "uri": {"url"},
    "url": {"url"},
    "uri-reference": {"url"},
}
_YAML_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_YAML_NUMBER: Final = re.compile(r"-?(0|[1-9]\d{0,17})")
_YAML_WORDS: Final = {"true": True, "false": False}


class Operation(NamedTuple):
    """An operation that could be the search of an area.

    Attributes:
        path: begins with the path of its server.
        refusal: why the worker cannot call it; empty if it can.
        is_likely: its name is that of a search of the area, and nothing speaks against it.
        item, body: the path item and the operation in the document.
    """

    method: str
    path: str
    server: str
    refusal: str
    is_likely: bool
    item: dict[str, Any]
    body: dict[str, Any]

    @property
    def is_deprecated(self) -> bool:
        """Whether the document calls it deprecated."""
        return self.body.get("deprecated") is True

    @property
    def version(self) -> tuple[int, ...]:
        """The version in the path; empty if there is none."""
        versions = _VERSION.findall(self.path.lower())
        return tuple(map(int, versions[-1].split("."))) if versions else ()

    @property
    def remark(self) -> str:
        """A remark for a list of operations."""
        words = filter(None, ("deprecated" if self.is_deprecated else "", self.refusal))
        return "".join(f"; {word}" for word in words)


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
            is_likely = is_search and any(matches) and not one.refusal
            kind = any(matches), is_likely, not one.refusal, is_search
            rank = *kind, *matches, not one.is_deprecated, one.version
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
            words = "chosen" if one is chosen else "", one.remark.removeprefix("; ")
            remark, name = "; ".join(filter(None, words)), f"{one.method} {one.path}"
            row = {"operation": name, "server": one.server, "remark": remark}
            proposal.operations.append(row)
        if chosen is None:
            option = f"--{area.table.rpartition('_')[2]} PATH"
            text = f"no operation of the document is surely the search of this area: use {option}"
            proposal.note("path", text)
            return proposal
        proposal.table["path"] = chosen.path
        if chosen.is_deprecated:
            question = f"Until when can we use {chosen.path}, and what replaces it?"
            proposal.note("path", "the document calls this operation deprecated", question)
        if chosen.refusal:
            proposal.note("path", chosen.refusal)
        if others := [one.path for one in candidates if one.is_likely and one is not chosen]:
            proposal.note("path", f"the document also has {', '.join(others)}")
        try:
            self._read(proposal, chosen)
        except DataContractError as error:
            text = f"{chosen.path} cannot be read: {error.message}"
            proposal.note("records", f"{text}; {error.hint}" if error.hint else text)
            return proposal
        return proposal.conclude()

    def _read(self, proposal: Proposal, operation: Operation) -> None:
        known = proposal.table["empty_status"]
        answers = _in(operation.body, "responses", dict)
        empty = [code for code in sorted({204, *known}) if str(code) in answers]
        proposal.table["empty_status"] = empty
        if lost := {*known} - {*empty}:
            proposal.note("empty_status", f"the document lacks {', '.join(map(str, lost))}")
        parameters = {
            (_in(parameter, "in", str), _in(parameter, "name", str)): parameter
            for part in (operation.item, operation.body)
            for parameter in map(self._merged, _in(part, "parameters", list))
        }
        request = self._schema(operation.body.get("requestBody"))
        proposal.sendable = {
            name: ("query", self._merged(parameter.get("schema")))
            for (place, name), parameter in parameters.items()
            if place == "query"
        }
        for part in self._parts(request):
            for name, schema in _in(part, "properties", dict).items():
                proposal.sendable[name] = ("body", self._merged(schema))
        body = self._fields(request)
        self._send_person(proposal, body)
        code = next((code for code in ("200", "2XX", "default") if code in answers), "")
        answer = self._merged(answers.get(code))
        names = [name.lower() for name in _in(answer, "headers", dict)]
        headers = {HEADER + name: Field("header", 1) for name in TELLING if name in names}
        proposal.read(self._fields(self._schema(answer)), headers)
        self._send_parameters(proposal, parameters)
        self._send_fields(proposal, request, [*body])

    def _send_person(self, proposal: Proposal, fields: Mapping[str, Field]) -> None:
        """Declare where the person's identifier goes."""
        sent = {path for path, _ in leaves(proposal.table["body"])}
        persons = [path for path in fields if {*PERSON_NAMES} & {*names_of(path).split()}]
        if sent <= {*fields}:
            return
        if not persons:
            text = "the document shows no field for the person's identifier"
            proposal.note("body", text, "Which field of the request takes the identifier?")
            return
        body: Any = OFF_ID
        for name in reversed(min(persons, key=lambda path: path.count(".")).split(".")):
            body = {name: body}
        proposal.table["body"] = body

    def _send_parameters(
        self, proposal: Proposal, parameters: Mapping[tuple[str, str], dict[str, Any]]
    ) -> None:
        """Declare a new id or the declared value of each header and field of the query."""
        paged = (proposal.table["paging"] or {}).get("send_as")
        for key, wanted in (("query", "query"), ("headers", "header")):
            table, optional = proposal.table[key], list[str]()
            given = {name: one for (place, name), one in parameters.items() if place == wanted}
            spelt = {name.lower() for name in given}
            if lost := [name for name in table if name.lower() not in spelt]:
                proposal.table[key] = table = {k: v for k, v in table.items() if k not in lost}
                proposal.note(
                    key, f"the contract in force sends {_list(lost)}, not in the document"
                )
            sent = {paged, *_OWN_HEADERS, *map(str.lower, table)}
            for name, parameter in given.items():
                value = self._value(self._merged(parameter.get("schema")))
                if name in table and value not in {None, UUID}:
                    table[name] = value
                if name == paged or name.lower() in sent:
                    continue
                if value == UUID and key == "headers":
                    table[name] = UUID
                elif parameter.get("required") is True and value not in {None, UUID}:
                    table[name] = value
                elif parameter.get("required") is True:
                    self._ask_value(proposal, key, name, parameter)
                else:
                    optional.append(name)
            if optional:
                proposal.facts.append(f"{key}: optional, not sent: {_list(optional)}")

    def _send_fields(self, proposal: Proposal, request: Any, fields: list[str]) -> None:
        """Declare the other fields of the body that must be sent."""
        body = proposal.table["body"]
        paged = (proposal.table["paging"] or {}).get("send_as")
        required = [name for part in self._parts(request) for name in _in(part, "required", list)]
        for name in dict.fromkeys(required):
            place, schema = proposal.sendable.get(name, ("", {}))
            if name in body or name == paged or place != "body":
                continue
            if (value := self._value(schema)) not in {None, UUID}:
                body[name] = schema.get("default", value)
            else:
                self._ask_value(proposal, "body", name, schema)
        optional = {path.partition(".")[0].partition("[")[0] for path in fields if path}
        if left := sorted(optional - {*body, paged, UNNAMED, *required}):
            proposal.facts.append(f"body: optional, not sent: {_list(left)}")

    def _ask_value(self, proposal: Proposal, key: str, name: str, of: Mapping[str, Any]) -> None:
        """Note a parameter or field that must be sent, with what the document has about it."""
        schema = self._merged(of.get("schema")) or of
        hints = {"examples": _in(schema, "enum", list), "description": of.get("description")}
        hints["example"] = of.get("example", schema.get("example"))
        told = [
            f"; its {hint} is {masked(json.dumps(value))[:_EXAMPLE_MAX]}"
            for hint, value in hints.items()
            if value
        ]
        text = f"{name!r} is required, and the document has no default{''.join(told)}"
        proposal.note(key, text, f"Which value should we send as {name!r}?")

    def _value(self, schema: Mapping[str, Any]) -> str | None:
        """The value that a schema declares: its default, its only one, or a new id."""
        only = _in(schema, "enum", list)
        for value in (schema.get("default"), schema.get("const"), *(only if not only[1:] else ())):
            if value is not None and not isinstance(value, (dict, list)):
                return value if isinstance(value, str) else json.dumps(value)
        return UUID if schema.get("format") == "uuid" else None

    # Messages and schemas.

    def _operations(self) -> Iterator[Operation]:
        for path, given in _in(self._document, "paths", dict).items():
            item = self._merged(given)
            for method in _METHODS:
                if not isinstance(body := item.get(method), dict):
                    continue
                server, base = self._server(body, item)
                refusal = self._refusal(method, path, body)
                name = method.upper()
                yield Operation(name, base + path, server, refusal, False, item, body)  # noqa: FBT003 - see candidates

    def _refusal(self, method: str, path: str, body: dict[str, Any]) -> str:
        kinds = list[str]()
        with suppress(DataContractError):
            kinds += _in(self._merged(body.get("requestBody")), "content", dict)
        if method != "post":
            return "a GET operation: the worker sends POST, as no address may hold an identifier"
        if "{" in path:
            return "its path has a parameter: write the path as it is called into `path`"
        if kinds and not any("json" in kind or kind == "*/*" for kind in kinds):
            return f"it takes {kinds[0]}, and the worker sends JSON"
        return ""

    def _server(self, *levels: dict[str, Any]) -> tuple[str, str]:
        """The first server of an operation, and the part of its path that a contract repeats."""
        servers = [s for level in (*levels, self._document) for s in _in(level, "servers", list)]
        server: Any = next(iter(servers), {})
        url = _in(server, "url", str)
        for name, variable in _in(server, "variables", dict).items():
            url = url.replace(f"{{{name}}}", str(_in(variable, "default", object)))
        path = ""
        with suppress(ValueError):
            path = urlsplit(url).path.rstrip("/")
        path = f"/{path.lstrip('./')}" if path.strip("./") else ""
        own = self._base_path
        return url, path.removeprefix(own) if f"{path}/".startswith(f"{own}/") else path

    def _schema(self, message: Any) -> Any:
        """The schema of a request or a response in JSON."""
        content = _in(self._merged(message), "content", dict)
        kinds = [kind for kind in content if "json" in kind and "problem" not in kind]
        kind = next(iter(kinds), "*/*")
        return _in(content, kind, dict).get("schema")

    def _fields(self, schema: Any) -> dict[str, Field]:
        """The fields of a message, as ``fields_in`` has those of answers."""
        fields = dict[str, Field]()
        try:
            for path, parts in self._leaves([schema], "", ()):
                name = path and safe_path(path)
                fields[name] = _field(parts)
                if len(fields) > FIELDS_MAX:
                    raise DataContractError(f"fields with more than {FIELDS_MAX:,} names")
        except RecursionError:
            raise DataContractError("schemas that are nested too deeply") from None
        return fields if schema else {}

    def _leaves(
        self, schemas: list[Any], path: str, above: tuple[int, ...]
    ) -> Iterator[tuple[str, list[dict[str, Any]]]]:
        """Each leaf with its schemas; an object within itself is a leaf."""
        parts = [part for schema in schemas for part in self._parts(schema)]
        named = dict[str, list[Any]]()
        for part in parts:
            for name, schema in _in(part, "properties", dict).items():
                named.setdefault(name, []).append(schema)
        items = [part["items"] for part in parts if isinstance(part.get("items"), dict)]
        own = tuple(id(part) for part in parts if "properties" in part)
        is_cut = {*own} & {*above} or len(above) > DEPTH_MAX or len(path) > PATH_MAX
        if (named or items) and not is_cut:
            for name, inner in named.items():
                below = f"{path}.{name}" if path else name
                yield from self._leaves(inner, below, (*above, *own))
            if items:
                inner = [part for item in items for part in self._parts(item)]
                is_list = any("properties" in part or "items" in part for part in inner)
                yield from self._leaves(items, f"{path}[]", above) if is_list else [(path, parts)]
        else:
            yield path, parts

    def _parts(self, schema: Any) -> list[dict[str, Any]]:
        """The schemas that one is made of: its references, ``allOf``, and each choice."""
        parts, left = dict[int, dict[str, Any]](), [schema]
        while left:
            part = left.pop(0)
            if not isinstance(part, dict) or id(part) in parts:
                continue
            self._schemas_left -= 1
            if self._schemas_left < 0:
                raise DataContractError(f"more than {_SCHEMAS_MAX:,} schemas")
            parts[id(part)] = part
            if reference := _in(part, "$ref", str):
                left.append(self._target(reference))
            left += [inner for key in ("allOf", "oneOf", "anyOf") for inner in _in(part, key, list)]
        return [*parts.values()]

    def _target(self, reference: str) -> Any:
        try:
            return self._resolver.lookup(reference).contents
        except (Unresolvable, ValueError, TypeError):
            hint = "if it leads to another document, bundle both into one file first"
            text = f"the reference {masked(json.dumps(reference))} has no target in the document"
            raise DataContractError(text, hint=hint) from None

    def _merged(self, value: Any) -> dict[str, Any]:
        """An object with the keys of what it refers to; its own come first."""
        merged = dict[str, Any]()
        for part in self._parts(value):
            merged = {**part, **merged}
        return merged


def _field(parts: list[dict[str, Any]]) -> Field:
    """A leaf's kinds, and its codes with their names, as far as the document has them."""
    kinds, codes = set[str](), dict[str, str]()
    for part in parts:
        types, form = part.get("type"), _in(part, "format", str)
        names = [types] if isinstance(types, str) else _in(part, "type", list)
        values = [value for value in _in(part, "enum", list) if value is not None]
        numbers = {KINDS[type(value)] for value in values if type(value) in KINDS}
        # .NET 10 declares a number as `["integer", "string"]`, or by its format alone.
        kinds |= numbers or _FORMATS.get(form) or {_TYPES.get(str(name), "") for name in names}
        told = [*(_in(part, "x-enumNames", list) or _in(part, "x-enum-varnames", list))]
        told = told if len(told) == len(values) else [""] * len(values)
        said = dict(_NAMED_NUMBER.findall(_in(part, "description", str)))
        for value, name in zip(values, told, strict=True):
            codes[str(value)] = str(name) or (value if isinstance(value, str) else "")
        codes |= {
            value: name for value, name in said.items() if codes.get(value, name) in {"", name}
        }
    if "integer" not in kinds:
        codes = {value: name for value, name in codes.items() if not value.lstrip("-").isdigit()}
    return Field("|".join(sorted(kinds - {""})), 1, codes)


def _parsed(content: bytes) -> dict[str, Any]:
    """The document: JSON if it begins like it, else YAML."""
    text = content.lstrip(b"\xef\xbb\xbf \t\r\n")
    kind = "JSON" if text.startswith(b"{") else "YAML"
    try:
        document = json.loads(text, object_pairs_hook=_once) if kind == "JSON" else _yaml(content)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise DataContractError(f"not YAML{line}: {error.problem}") from None
    except json.JSONDecodeError as error:
        raise DataContractError(f"not JSON, line {error.lineno}: {error.msg}") from None
    except (ValueError, yaml.YAMLError):
        raise DataContractError(f"not {kind} in UTF-8") from None
    except RecursionError:
        raise DataContractError("a document that is nested too deeply") from None
    if not isinstance(document, dict):
        raise DataContractError("not an OpenAPI 3 document", hint="is it a web page?")
    return document


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise DataContractError(f"the key {masked(json.dumps(twice))} appears twice in one object")
    return fields


def _yaml(content: bytes) -> Any:
    """A YAML document as JSON has it; tags make nothing, and words such as ``NO`` are texts."""
    loader = _YAML_LOADER(content)
    try:
        left = [_VALUES_MAX]
        return _plain(loader.get_single_node(), left)
    finally:
        loader.dispose()


def _plain(node: yaml.Node | None, left: list[int]) -> Any:
    left[0] -= 1
    if left[0] < 0:
        raise DataContractError(f"a document of more than {_VALUES_MAX:,} values")
    match node:
        case yaml.MappingNode():
            if any(key.tag.endswith(":merge") for key, _ in node.value):
                raise DataContractError("a merge key (<<)", hint="write out what it merges")
            pairs = [(key.value, _plain(value, left)) for key, value in node.value]
            if not all(isinstance(name, str) for name, _ in pairs):
                raise DataContractError("a key that is no text")
            return _once(pairs)
        case yaml.SequenceNode():
            return [_plain(value, left) for value in node.value]
        case yaml.ScalarNode():
            return _scalar(node)
        case _:
            return None


def _scalar(node: yaml.ScalarNode) -> Any:
    kind, text = node.tag.rpartition(":")[2], node.value
    if kind == "int" and _YAML_NUMBER.fullmatch(text):
        return int(text)
    if kind == "bool" and text.lower() in _YAML_WORDS:
        return _YAML_WORDS[text.lower()]
    return None if kind == "null" else text


def _list(names: list[str]) -> str:
    return ", ".join(map(repr, names))


def _in(value: Any, name: str, kind: type) -> Any:
    """The member of an object, if it is of this kind; empty if not."""
    member = value.get(name) if isinstance(value, dict) else None
    return member if isinstance(member, kind) else kind()
