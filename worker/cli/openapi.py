"""Reads the search operations of an OpenAPI 3 document, which others have written.

A schema becomes a made-up value that it describes, so that a document is read as answers are.
"""

import json
from typing import Any, Final

from worker.cli.proposal import NOT_SEEN, PERSON_NAMES, Proposal, fields_in, names_of, plain
from worker.core.answer import VALUES_MAX
from worker.core.area import ResourceArea
from worker.core.contract import OFF_ID, UUID, AreaContract
from worker.errors import DataContractError

_MADE: Final = {"uri": "/", "url": "/", "string": "", "integer": 0, "number": 0.5, "boolean": False}
"""A sample value for each type and format that a proposal distinguishes."""
_UNSENT: Final = "is not sent unless the contract declares it"
_OWN_HEADERS: Final = frozenset({"authorization", "dpop", "content-type", "accept"})


class OpenApi:
    """A document in JSON.

    Raises:
        DataContractError: it is no OpenAPI 3 document.
    """

    def __init__(self, content: bytes) -> None:
        try:
            self._document = json.loads(content)
        except (ValueError, RecursionError):
            self._document = None
        if not _in(self._document, "openapi", str).startswith("3"):
            raise DataContractError("not an OpenAPI 3 document in JSON", hint="convert YAML first")
        self._samples, self._values = dict[int, Any](), 0

    def proposal(self, area: ResourceArea, known: AreaContract) -> Proposal:
        """An area's part of a contract, or none if the document has no search of it.

        Raises:
            DataContractError: a reference leads nowhere, or schemas are too many or too deep.
        """
        proposal, items = Proposal(area, known), _in(self._document, "paths", dict)
        paths = [p for p in items if p.endswith("_search") and plain(area.table) in plain(p)]
        path = known.path if known.path in items else max(paths, default="")
        if not path:
            missing = f"neither {known.path} nor a path of {area.name} that ends with _search"
            proposal.facts.append(f"{missing}: set `path` in a copy of `contract show`")
            return proposal
        operation = _in(items[path], "post", dict)
        answers = _in(operation, "responses", dict)
        empty = [code for code in sorted({204, *known.empty_status}) if str(code) in answers]
        proposal.table |= {"path": path, "empty_status": empty}
        for part in (items[path], operation):
            for parameter in _in(part, "parameters", list):
                self._send(proposal, self._target(parameter))
        self._send_person(proposal, operation.get("requestBody"))
        code = next((code for code in ("200", "2XX", "default") if code in answers), "")
        proposal.read([self._body(answers.get(code))], {})
        return proposal

    def _send(self, proposal: Proposal, parameter: dict[str, Any]) -> None:
        """Declare what is sent for a parameter: a new id, or the value of what is required."""
        key = {"query": "query", "header": "headers"}.get(_in(parameter, "in", str))
        name, schema = _in(parameter, "name", str), self._target(parameter.get("schema"))
        paged = (proposal.table["paging"] or {}).get("send_as")
        if key is None or name in {*proposal.table[key], paged} or name.lower() in _OWN_HEADERS:
            return
        known = (schema.get("default"), *_in(schema, "enum", list), parameter.get("example"))
        value = next((str(one) for one in known if one is not None), "")
        is_required = parameter.get("required") is True
        if key == "headers" and schema.get("format") == "uuid":
            proposal.table[key][name] = UUID
        elif is_required and value:
            proposal.table[key][name] = value
        else:
            what = "is required; ask what to send" if is_required else _UNSENT
            proposal.facts.append(f"{key}: {name!r} {what}")

    def _send_person(self, proposal: Proposal, request: Any) -> None:
        """Declare where the person's identifier goes; other fields are left out."""
        body: Any = OFF_ID
        fields = fields_in([self._body(request)])
        sent = {*fields_in([proposal.table["body"]])}
        persons = (p for p in fields if {*PERSON_NAMES} & {*names_of(p).split()})
        if not sent <= {*fields} and (path := next(persons, "")):
            for name in reversed(path.split(".")):
                body = {name: body}
            proposal.table["body"], sent = body, {path}
        proposal.marks |= {} if sent <= {*fields} else {"body": NOT_SEEN}
        proposal.facts += [f"body: {p!r} {_UNSENT}" for p in fields if p not in {"", *sent}]

    def _body(self, message: Any) -> Any:
        """A request's or a response's JSON, made up."""
        content = _in(self._target(message), "content", dict)
        kind = next((k for k in content if "json" in k and "problem" not in k), "")
        try:
            return self._sample(_in(content, kind, dict).get("schema"))
        except RecursionError:
            raise DataContractError("schemas that are nested too deeply") from None

    def _sample(self, schema: Any) -> Any:
        """A value with all that a schema is made of: references, ``allOf``, and each choice.

        It is made once, and has nothing of itself within.
        """
        if id(schema) in self._samples:
            return self._samples[id(schema)]
        self._samples[id(schema)] = None
        parts = [part for key in ("allOf", "oneOf", "anyOf") for part in _in(schema, key, list)]
        made: list[Any] = [self._sample(part) for part in (self._target(schema), *parts)]
        made.append({k: self._sample(v) for k, v in _in(schema, "properties", dict).items()})
        if items := _in(schema, "items", dict):
            item = self._sample(items)
            made.append([item] if isinstance(item, dict) else [])
        kinds = f"{_in(schema, 'format', object)} {_in(schema, 'type', object)}"
        made += [sample for kind, sample in _MADE.items() if kind in kinds]
        whole: Any = {k: v for part in made if isinstance(part, dict) for k, v in part.items()}
        self._values += 1 + len(whole)
        if self._values > VALUES_MAX:
            raise DataContractError(f"schemas of more than {VALUES_MAX:,} values")
        self._samples[id(schema)] = whole or next((x for x in made if x not in (None, {})), None)
        return self._samples[id(schema)]

    def _target(self, value: Any) -> dict[str, Any]:
        """An object, or the one that its reference leads to."""
        reference = _in(value, "$ref", str)
        found = self._document if reference else value
        for part in reference.split("/")[1:]:
            found = _in(found, part.replace("~1", "/").replace("~0", "~"), object)
        if reference and found is None:
            hint = "if it leads to another document, bundle both into one file first"
            raise DataContractError("a reference without a target in the document", hint=hint)
        return found if isinstance(found, dict) else {}


def _in(value: Any, name: str, kind: type) -> Any:
    """What an object has of this name and kind; empty if there is none."""
    found = value.get(name) if isinstance(value, dict) else None
    return found if isinstance(found, kind) else kind()
