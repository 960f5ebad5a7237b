"""Reads the search operations of an OpenAPI 3 document, in JSON or YAML.

Reading is lenient: a part that cannot be read becomes an open point of the proposal.
"""

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import yaml

from worker.cli.fields import Field, Parameter, Schemas, fields_in, member, plain
from worker.cli.proposal import Proposal
from worker.core.answer import PAGING_HEADERS
from worker.core.area import ResourceArea
from worker.core.contract import HEADER, AreaContract
from worker.core.display import listed
from worker.errors import DataContractError
from worker.masking import masked

_VALUES_MAX: Final = 1_000_000
"""Maximum number of values of a YAML document, with each alias replaced by its value."""
_SCHEMAS_MAX: Final = 20_000
"""Maximum number of schemas read for one area."""
_SEARCH: Final = re.compile(r"(search|query|find|lookup)$")
_VERSION: Final = re.compile(r"/v(\d+(?:\.\d+)*)(?=/|$)", re.IGNORECASE)
_PLACES: Final = {"query": "query", "header": "headers"}
_REASON_MAX: Final = 300
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
    is_named: bool = False  # it has the name of a search of the area

    @property
    def is_likely(self) -> bool:
        """Whether it has the name of a search of the area, and can be called."""
        return self.is_named and self.can_be_called


class OpenApi:
    """An OpenAPI 3 document.

    Args:
        base_path: the path of ``api.base_url``. The paths of a contract start after it.

    Raises:
        DataContractError: the content is not an OpenAPI 3 document.
    """

    def __init__(self, content: bytes, base_path: str = "") -> None:
        self._document = _parsed(content)
        if member(self._document, "swagger", object):
            hint = "convert it first: `npx swagger2openapi FILE --outfile openapi3.json`"
            raise DataContractError("a Swagger 2.0 document, not OpenAPI 3", hint=hint)
        if not member(self._document, "openapi", str).startswith("3"):
            raise DataContractError("not OpenAPI 3", hint="give its JSON or YAML, not a web page")
        self._base_path = base_path.rstrip("/")
        self._schemas = Schemas(self._document, _VALUES_MAX)
        self.operations = [*self._read_operations()]

    def candidates(self, area: ResourceArea, in_force: AreaContract) -> list[Operation]:
        """The possible search operations of an area, the likeliest first. All if no name fits."""
        words, ranked = [plain(area.name), plain(area.name.partition("-")[2])], list[Any]()
        for operation in self.operations:
            path, is_in_force = operation.path, operation.path == in_force.path
            names = plain(path), plain(member(operation.levels[1], "operationId", str))
            matches = [is_in_force or word in "".join(names) for word in words]
            is_search = is_in_force or any(map(_SEARCH.search, names))
            candidate = operation._replace(is_named=any(matches) and is_search)
            version = [int(n) for text in _VERSION.findall(path)[-1:] for n in text.split(".")]
            has_name = any(matches)
            # Of equal candidates, the one without a remark wins, then the highest version.
            fit = candidate.is_likely, candidate.can_be_called, is_search, matches
            rank = (has_name, *fit, not candidate.remark, version)
            ranked.append((rank, has_name, candidate))
        ranked.sort(key=lambda row: row[0], reverse=True)
        named = [candidate for _, has_name, candidate in ranked if has_name]
        return named or [candidate for *_, candidate in ranked]

    def proposal(
        self,
        area: ResourceArea,
        in_force: AreaContract,
        candidates: list[Operation],
        chosen: Operation | None,
    ) -> Proposal:
        """The proposal for an area from the chosen operation."""
        proposal = Proposal(area, in_force, is_complete=True)
        self._schemas = Schemas(self._document, _SCHEMAS_MAX)
        others = [other for other in candidates if chosen is None or other.name != chosen.name]
        for operation in others if chosen is None else [chosen, *others]:
            remark = "chosen" if operation is chosen else operation.remark
            row = {"operation": operation.name, "server": operation.server, "remark": remark}
            proposal.operations.append(row)
        if chosen is None:
            refused = [f"{other.name} ({other.remark})" for other in others if other.is_named]
            text = "no operation is clearly the search of this area"
            if refused:
                text = f"the worker cannot call {listed(refused)}. To choose another"
            option = area.name.partition("-")[2]  # safety or privacy
            proposal.note("path", f"{text}: use --{option} PATH")
            return proposal
        proposal.table["path"] = chosen.path
        if chosen.remark:
            proposal.note("path", f"this operation: {chosen.remark}", [chosen.path])
        rivals = [other.name for other in others if other.is_likely and not other.remark]
        if rivals and chosen.is_likely:
            text = f"the document also has {listed(rivals)}: check which one to use"
            proposal.note("path", text, [chosen.path])
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
        proposal.declare_identifier(fields_in([self._schemas.example(request)]))
        answers = member(body, "responses", dict)
        code = next((code for code in ("200", "2XX") if code in answers), "default")
        successes = [code for code in answers if code.startswith("2")]
        if code == "default" and successes:
            raise DataContractError(f"it answers {listed(successes)}, and only 200 is read")
        answer = self._schemas.merged(answers.get(code))
        names = [name.lower() for name in member(answer, "headers", dict)]
        headers = {HEADER + name: Field("header") for name in PAGING_HEADERS if name in names}
        statuses = [status for status in (204, 404) if str(status) in answers]
        schema = self._schema(answer)
        proposal.read([self._schemas.example(schema)], headers, statuses)
        if self._schemas.is_choice(schema, proposal.table["records"]):
            text = "in the document, it is a list or an object, and only a list is read"
            proposal.note("records", text, [])

    def _parameters(self, operation: Operation, request: Any) -> Iterator[Parameter]:
        """The parameters in the query and the headers, and the top-level fields of the body."""
        parameters = dict[tuple[str, str], dict[str, Any]]()
        for level in operation.levels:  # those of an operation replace those of its path
            for parameter in map(self._schemas.merged, member(level, "parameters", list)):
                place = _PLACES.get(member(parameter, "in", str), "")
                parameters[place, member(parameter, "name", str)] = parameter
        for (place, name), parameter in parameters.items():
            schema = self._schemas.merged(parameter.get("schema"))
            style = member(parameter, "style", str) or "form"
            # An object in the query is sent as its fields, such as `pageable` of springdoc.
            if schema["properties"] and (place, style) == ("query", "form"):
                yield from self._members(place, schema)
            elif place:  # no cookie, and no parameter in the path
                is_required = parameter.get("required") is True
                yield Parameter(place, name, is_required, {**schema, **parameter})
        yield from self._members("body", self._schemas.merged(request))

    def _members(self, place: str, schema: dict[str, Any]) -> Iterator[Parameter]:
        """The top-level fields of an object in a request."""
        required = member(schema, "required", list)
        for name, inner in schema["properties"].items():
            yield Parameter(place, name, name in required, self._schemas.merged(inner))

    def _read_operations(self) -> Iterator[Operation]:
        for path, reference in member(self._document, "paths", dict).items():
            item = self._schemas.merged(reference)
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
            yield "a GET operation: an identifier is never sent in a URL"
        if "{" in path:
            yield "a parameter in its path"
        with suppress(DataContractError):
            kinds = [*member(self._schemas.merged(body.get("requestBody")), "content", dict)]
            if kinds and not any("json" in kind or kind == "*/*" for kind in kinds):
                yield f"no JSON: it takes {kinds[0]}, which the worker does not send"

    def _server(self, *levels: dict[str, Any]) -> tuple[str, str]:
        """The first server of an operation, and its path beyond that of ``api.base_url``."""
        servers = [s for level in (*levels, self._document) for s in member(level, "servers", list)]
        server: Any = next(iter(servers), {})
        url, path, base = member(server, "url", str), "", self._base_path
        for name, variable in member(server, "variables", dict).items():
            url = url.replace(f"{{{name}}}", member(variable, "default", str))
        with suppress(ValueError):
            path = urlsplit(url).path.strip("./")
        path = f"/{path}" if path else ""
        return url, path.removeprefix(base) if f"{path}/".startswith(f"{base}/") else path

    def _schema(self, message: Any) -> Any:
        """The schema of a request or a response in JSON."""
        content = member(self._schemas.merged(message), "content", dict)
        kinds = (kind for kind in content if "json" in kind and "problem" not in kind)
        return member(content, next(kinds, "*/*"), dict).get("schema")


def _parsed(content: bytes) -> Any:
    """The document, in JSON or YAML."""
    try:
        with suppress(ValueError):
            return json.loads(content, object_pairs_hook=_object)
        return _json_of(yaml.compose(content, Loader=_YAML_LOADER), iter(range(_VALUES_MAX)))
    except RecursionError:
        text = "the document is nested too deeply, or an alias in it contains itself"
        raise DataContractError(text) from None
    except yaml.YAMLError as error:
        reason = masked(" ".join(str(error).split())[:_REASON_MAX])
        raise DataContractError(f"cannot be read as JSON or YAML in UTF-8: {reason}") from None


def _json_of(node: yaml.Node | None, budget: Iterator[int]) -> Any:
    """Convert a YAML node to a JSON value. Tags create no objects, and ``NO`` remains text.

    Args:
        budget: has an element for each value that may still be read.
    """
    if next(budget, None) is None:
        raise DataContractError(f"a document of more than {_VALUES_MAX:,} values")
    if isinstance(node, yaml.MappingNode):
        if any(not isinstance(key, yaml.ScalarNode) or key.value == "<<" for key, _ in node.value):
            raise DataContractError("a merge (<<) or a key that is not text: write it out")
        return _object([(key.value, _json_of(value, budget)) for key, value in node.value])
    if isinstance(node, yaml.SequenceNode):
        return [_json_of(value, budget) for value in node.value]
    if node is None or node.tag.endswith(":null"):
        return None
    is_json = node.tag.endswith((":bool", ":int")) and _YAML_SCALAR.fullmatch(node.value.lower())
    return json.loads(node.value.lower()) if is_json else node.value


def _object(members: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Build an object. A repeated key is an error, because it would hide a value."""
    values = dict(members)
    if len(values) < len(members):
        raise DataContractError("an object has a key twice: correct the document")
    return values
