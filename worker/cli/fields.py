"""The fields of answers and of schemas, and the meaning that their names suggest."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple

from referencing import Registry, Specification
from referencing.exceptions import Unresolvable

from worker.core.answer import VALUES_MAX
from worker.core.contract import UUID, SourceText, fields_of
from worker.core.paths import DEPTH_MAX, UNNAMED, leaves, safe_path
from worker.errors import ContractError, DataContractError
from worker.masking import masked
from worker.views import codes, systems_of

PERSON_NAMES: Final = ("offid", "nationalid", "personidentifier", "nationalidentitynumber")
"""Names of a field with a person's identifier, as ``names_of`` spells them."""
KINDS: Final = {bool: "boolean", int: "integer", float: "number", str: "string"}
ROLES: Final = {
    "link": "header headerlink",
    "next_link": "url next(link|ur[il]|page|href)?|string (next(link|ur[il]|href)|linksnext)",
    "reference": "integer pagingreference",
    "token": "string (next|(next)?(page|continuation)?token|(next)?cursor)",
    "page": "integer ((page)?number|page(index)?|currentpage)",
    "offset": "integer (offset|skip|startindex)",
    "more": "boolean ((has)?more|hasnext(page)?)",
    "pages": "integer (totalpages|pagecount|pages)",
    "total": "integer total(count|elements|records|items)?|header headerxtotalcount",
    "expect": "boolean ((is)?success|succeeded|ok)",
    "answer_person": f"string ({'|'.join(PERSON_NAMES)})",
}
"""Kind and name of a field around the records, by the key of the contract that declares it."""
LINKS: Final = "links"
"""The kind of a list of links with their relations, such as that of a FHIR bundle."""
_SCALARS: Final = frozenset({*KINDS.values(), "url"})
_FIELDS_MAX: Final = 2_000
_EMPTY: Final = {type(None): "null", dict: "empty object", list: "empty list"}
_ADDRESSES: Final = ("https://", "http://", "/")
_NAME: Final = re.compile(r"(?<!=)\b[^\W\d][^.\[\]=+]*")
"""A field's name within a path: not an index, and not the value in ``[name=value]``."""
_INCLUDES: Final = ("allOf", "oneOf", "anyOf")
_NAMED_NUMBER: Final = re.compile(r"(?<![\w.])(-?\d+)\s*[=:-]\s*\"?([A-Za-z_]\w*)")
"""A code with its name in a description, such as ``1 = Soft`` or ``2: "Hard"``."""
_TAG: Final = re.compile(r"</?\w+>")
_OF_TYPE: Final = {name: name for name in KINDS.values()} | {
    "null": "null", "object": "empty object", "array": "empty list", "number": "integer|number",
}  # fmt: skip
_OF_FORMAT: Final = {"int32": {"integer"}, "int64": {"integer"}, "uri": {"url"}, "url": {"url"}}
_RELATIONS: Final = ("rel", "relation")
_SCHEMA_DEPTH_MAX: Final = DEPTH_MAX - 4
"""Below the limit of an answer, so that an example of a recursive schema is read as one."""


class Field(NamedTuple):
    """A field of answers, or a leaf of the schema that describes one."""

    kinds: str  # JSON's, ``url``, ``header`` or ``LINKS``, separated by ``|``; empty: unknown
    occurrences: int = 1  # the number of records, or of answers around them, that have it
    codes: Mapping[str, str] = {}  # the values that a document declares, with their names or ""

    @property
    def is_scalar(self) -> bool:
        """Whether it can have a value that is neither null, an object nor a list."""
        return not _SCALARS.isdisjoint(self.kinds.split("|"))


class Parameter(NamedTuple):
    """A field of a request, as a document declares it."""

    place: str  # the key of the contract: query, headers or body
    name: str
    is_required: bool
    schema: Mapping[str, Any]

    @property
    def roles(self) -> list[str]:
        """The keys of ``ROLES`` that fit it."""
        return roles_of(self.name, _field(self.schema))

    @property
    def remarks(self) -> dict[str, Any]:
        """The parts of the schema that help to choose a value."""
        keys = ("example", "enum", "description")
        return {key: self.schema[key] for key in keys if self.schema.get(key)}

    def value(self, in_force: Any) -> Any:
        """The value to send: the only allowed one, that in force, a default, or a new id."""
        values = list[Any]()
        if self.is_required or in_force is not None:
            choices = member(self.schema, "enum", list)
            only_choice = choices[0] if len(choices) == 1 else None
            values = [only_choice, self.schema.get("const"), in_force, self.schema.get("default")]
        if self.place == "headers" and self.schema.get("format") == "uuid":
            values.append(UUID)
        value = next((value for value in values if value is not None), None)
        # A body is sent as JSON. A header or a part of the query is a text.
        is_text = self.place != "body" and value is not None
        return json.dumps(value) if is_text and not isinstance(value, str) else value


class Schemas:
    """The schemas of an OpenAPI document.

    Args:
        limit: the maximum number of schemas to read. A schema that is used twice counts twice.
    """

    def __init__(self, document: Any, limit: int) -> None:
        resource = Specification.OPAQUE.create_resource(document)
        self._resolver = Registry[Any]().with_resource("", resource).resolver()
        self._limit = self._left = limit

    def example(self, schema: Any, above: tuple[Any, ...] = ()) -> Any:
        """An answer as a schema describes it, with a ``Field`` in place of each value.

        An array has one element. A recursive object ends in a leaf.
        """
        merged = self.merged(schema)
        # If an object and a list of it are both allowed, the list is read.
        is_choice = "items" in merged and merged["properties"]
        # The reference is to both forms, so it does not mean that the list is recursive.
        reference = "" if is_choice else merged.get("$ref")
        if (reference and reference in above) or len(above) > _SCHEMA_DEPTH_MAX:
            return _field(merged)
        inside = (*above, reference)
        if "items" in merged:
            return [self.example(merged["items"], inside)]
        properties = merged["properties"].items()
        return {name: self.example(below, inside) for name, below in properties} or _field(merged)

    def is_choice(self, schema: Any, path: str) -> bool:
        """Whether a document allows both a list and an object at the path of a list."""
        for name in filter(None, path.split(".")):
            schema = self.merged(schema)["properties"].get(name)
        merged = self.merged(schema)
        return "items" in merged and bool(merged["properties"])

    def merged(self, schema: Any) -> dict[str, Any]:
        """Merge a schema with the schemas that it includes. The first value of a key wins.

        Properties, required names and descriptions are combined.
        """
        merged, properties = dict[str, Any](), dict[str, Any]()
        texts, required = list[str](), list[Any]()
        for part in self._parts(schema):
            if part.get("type") != "null":  # 3.1 writes a nullable object as a choice with null
                for key, value in part.items():
                    merged.setdefault(key, value)
                for name, inner in member(part, "properties", dict).items():
                    properties.setdefault(name, inner)
                texts += filter(None, [member(part, "description", str)])
                required += member(part, "required", list)
        merged |= {"required": required} if required else {}
        return merged | {"properties": properties, "description": "\n".join(texts)}

    def _parts(self, schema: Any) -> list[dict[str, Any]]:
        """A schema and the schemas that it includes: ``$ref``, ``allOf``, and each choice."""
        parts, schemas = dict[int, dict[str, Any]](), [schema]
        for part in schemas:  # grows during the loop
            if isinstance(part, dict) and id(part) not in parts:
                self._left -= 1
                if self._left < 0:
                    raise DataContractError(f"more than {self._limit:,} schemas")
                parts[id(part)] = part
                schemas += [self._target(part["$ref"])] if "$ref" in part else []
                schemas += [inner for key in _INCLUDES for inner in member(part, key, list)]
        return [*parts.values()]

    def _target(self, reference: Any) -> Any:
        try:
            return self._resolver.lookup(reference).contents
        except (Unresolvable, ValueError, TypeError, AttributeError):
            hint = "if it leads to another document, bundle both into one file first"
            text = f"the reference {masked(json.dumps(reference))} has no target in the document"
            raise DataContractError(text, hint=hint) from None


def _field(schema: Mapping[str, Any]) -> Field:
    """The kinds and the named codes that the document has for a leaf."""
    values = [value for value in member(schema, "enum", list) if type(value) in KINDS]
    names = member(schema, "x-enumNames", list) or member(schema, "x-enum-varnames", list)
    codes = {str(value): value if isinstance(value, str) else "" for value in values}
    if len(names) == len(values):
        codes = {str(value): str(name) for value, name in zip(values, names, strict=True)}
    types = member(schema, "type", list) or [schema.get("type")]
    # .NET 10 declares a number as `["integer", "string"]`, or by its format alone.
    kinds = {KINDS[type(value)] for value in values}
    kinds = kinds or _OF_FORMAT.get(member(schema, "format", str), set())
    kinds = kinds or {*"|".join(_OF_TYPE.get(str(name), "") for name in types).split("|")}
    if "integer" in kinds:
        described = dict(_NAMED_NUMBER.findall(_TAG.sub(" ", schema["description"])))
        codes |= {value: name for value, name in described.items() if not codes.get(value)}
    return Field("|".join(sorted(kinds - {""})), 1, codes)


def member(value: Any, name: str, kind: type) -> Any:
    """The member of an object. An empty value if it is absent or of another type."""
    inner = value.get(name) if isinstance(value, dict) else None
    return inner if isinstance(inner, kind) else kind()


def fields_in(answers: Iterable[Any]) -> dict[str, Field]:
    """The fields of answers by path: ``[]`` is an element, ``?`` may hold an identifier.

    Args:
        answers: live ones, or the example of a schema, whose leaves are ``Field``.

    Raises:
        DataContractError: there are too many fields for a contract.
    """
    kinds, counts, codes = defaultdict[str, set[str]](set), Counter[str](), dict[str, Any]()
    for answer in answers:
        elements = set[tuple[str, str]]()
        try:
            for path, value in islice(leaves(answer), VALUES_MAX):
                name = path and safe_path(path)
                kinds[name].add(_kind_of(value))
                elements.add((name, path.partition("]")[0]))  # once for each record or answer
                if isinstance(value, Field):
                    codes[name] = value.codes
                if len(kinds) > _FIELDS_MAX:
                    raise DataContractError(f"fields with more than {_FIELDS_MAX:,} names")
        except ContractError:
            kinds[UNNAMED].add("nested too deeply")
        counts.update(name for name, _ in elements)
    return {
        name: Field("|".join(sorted(kinds[name])), counts[name], codes.get(name, {}))
        for name in kinds
    }


def names_in_lists(fields: Iterable[str]) -> dict[str, set[str]]:
    """The names of the fields of each list of objects, by the list's path."""
    names = defaultdict[str, set[str]](set)
    for path in fields:
        array, brackets, leaf = path.partition("[].")
        if brackets:
            names[array] |= names_of(leaf)
    return names


def divided(fields: Mapping[str, Field], records: str) -> tuple[dict[str, Field], dict[str, Field]]:
    """The fields of the records, by their path in a record, and the fields around the records."""
    inside, around = dict[str, Field](), dict[str, Field]()
    for path, field in fields.items():
        if path.startswith(f"{records}[]."):
            inside[path.removeprefix(f"{records}[].")] = field
        # Of another list, such as errors[], only the list itself is around the records.
        elif (array := path.partition("[]")[0]) != records:
            is_relation = not names_of(path.partition("[].")[2]).isdisjoint(_RELATIONS)
            if is_relation:
                around[array] = Field(LINKS)
            else:
                around.setdefault(array, field)
    return inside, around


def _kind_of(value: Any) -> str:
    if isinstance(value, Field):
        return value.kinds
    is_address = isinstance(value, str) and value.startswith(_ADDRESSES)
    return "url" if is_address else (KINDS | _EMPTY)[type(value)]


def plain(text: str) -> str:
    """Reduce a name or path to its letters and digits in lower case, for comparison."""
    return re.sub("[^a-z0-9]", "", text.lower())


def names_of(path: str) -> set[str]:
    """The names of a field outside lists: its last part, its last two parts, and so on.

    ``page.nextToken`` has ``nexttoken`` and ``pagenexttoken``.
    """
    parts = [] if "[]" in path else path.split(".")
    return {plain("".join(parts[start:])) for start in range(len(parts))}


def roles_of(path: str, field: Field) -> list[str]:
    """The keys of ``ROLES`` that fit a field by name, and by kind if that is known."""
    kinds = field.kinds.split("|") if field.kinds else ["url", *KINDS.values()]
    texts = [f"{kind} {name}" for kind in kinds for name in names_of(path)]
    return [
        role
        for role, pattern in ROLES.items()
        if any(re.fullmatch(pattern, text) for text in texts)
    ]


def source_of(paths: Sequence[str], declared: SourceText, names: Iterable[str]) -> Any:
    """The declared source, spelt as in these paths, or else a path with a similar name.

    Empty if there is neither. The first path wins, because deeper ones may belong to other objects.
    """
    spellings = {plain(name): name for path in paths for name in _NAME.findall(path)}

    def respelt(path: str) -> str:
        return _NAME.sub(lambda name: spellings.get(plain(name[0]), name[0]), path)

    if isinstance(declared, dict):
        source = {leaf: tuple(map(respelt, options)) for leaf, options in declared.items()}
        return source if fields_of(source).intersection(paths) else ()
    options = [*map(respelt, declared)]
    if any(fields_of((path,)).issubset(paths) for path in options):
        return options
    wanted = {*names, *map(plain, declared)}
    return [path for path in paths if wanted & names_of(path)][:1]


def persons_of(paths: Sequence[str], declared: Sequence[str]) -> list[str]:
    """The declared paths of the person, or a path that ends with one of ``PERSON_NAMES``."""
    ends = [path for path in paths if plain(path).endswith(PERSON_NAMES) and "[]" not in path]
    return [*source_of(paths, tuple(declared), PERSON_NAMES)] or ends[:1]


def known_codes(column: str) -> list[str]:
    """The codes of a column that reports have a name for."""
    systems = systems_of(column)
    return [code.code for code in codes() if code.system in systems]
