"""The fields of requests and answers, and the meaning that their names suggest."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple

from worker.core.answer import VALUES_MAX
from worker.core.contract import UUID, SourceText, fields_of
from worker.core.paths import UNNAMED, leaves, safe_path
from worker.errors import ContractError, DataContractError

PERSON_NAMES: Final = ("offid", "nationalid", "personidentifier", "nationalidentitynumber")
"""Names of a field with a person's identifier, as ``names_of`` spells them."""
KINDS: Final = {bool: "boolean", int: "integer", float: "number", str: "string"}
ROLES: Final = {
    "link": "header headerlink",
    "next_link": "url next(link|ur[il]|page|href)?|string next(link|ur[il]|href)",
    "reference": "integer pagingreference",
    "token": "string (next|(next)?(page|continuation)?token|(next)?cursor)",
    "page": "integer (page(number|index)?|currentpage)",
    "offset": "integer (offset|skip|startindex)",
    "more": "boolean ((has)?more|hasnext(page)?)",
    "pages": "integer (totalpages|pagecount|pages)",
    "total": "integer total(count|elements|records|items)?|header headerxtotalcount",
    "expect": "boolean ((is)?success|succeeded|ok)",
    "answer_person": f"string ({'|'.join(PERSON_NAMES)})",
}
"""Kind and name of a field around the records, by the key of the contract that declares it."""
_FIELDS_MAX: Final = 2_000
_EMPTY: Final = {type(None): "null", dict: "empty object", list: "empty list"}
_ADDRESSES: Final = ("https://", "http://", "/")
_NAME: Final = re.compile(r"(?<!=)\b[^\W\d][^.\[\]=+]*")


class Field(NamedTuple):
    """A field of answers, or a leaf of the schema that describes one."""

    kinds: str  # JSON's, ``url`` or ``header``, separated by ``|``; empty: unknown
    records: int = 1  # how many records or answers have it
    codes: Mapping[str, str] = {}  # the values that a document declares, with their names or ""


class Parameter(NamedTuple):
    """A field of a request, as a document declares it."""

    place: str  # the key of the contract: query, headers or body
    name: str
    is_required: bool
    schema: Mapping[str, Any]

    def value(self, in_force: Any) -> Any:
        """The value to send: the only allowed one, that in force, a default, or a new id."""
        choices, values = self.schema.get("enum"), list[Any]()
        if self.is_required or in_force is not None:
            only = choices if isinstance(choices, list) and len(choices) == 1 else []
            values = [*only, self.schema.get("const"), in_force, self.schema.get("default")]
        if self.place == "headers" and self.schema.get("format") == "uuid":
            values.append(UUID)
        value = next((value for value in values if value is not None), None)
        is_json = self.place == "body" or value is None or isinstance(value, str)
        return value if is_json else json.dumps(value)


def fields_in(answers: Iterable[Any]) -> dict[str, Field]:
    """The fields of answers by path: ``[]`` is an element, ``?`` may hold an identifier.

    Args:
        answers: live ones, or the example of a schema, whose leaves are ``Field``.

    Raises:
        DataContractError: there are more than a contract is made of.
    """
    kinds, counts, codes = defaultdict[str, set[str]](set), Counter[str](), dict[str, Any]()
    for answer in answers:
        elements = set[tuple[str, str]]()
        try:
            for path, value in islice(leaves(answer), VALUES_MAX):
                name = path and safe_path(path)
                kinds[name].add(_kind_of(value))
                elements.add((name, path.partition("]")[0]))  # to the number of the record
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


def _kind_of(value: Any) -> str:
    if isinstance(value, Field):
        return value.kinds
    is_address = isinstance(value, str) and value.startswith(_ADDRESSES)
    return "url" if is_address else (KINDS | _EMPTY)[type(value)]


def plain(text: str) -> str:
    """A name or path for comparing: without case and punctuation."""
    return re.sub("[^a-z0-9]", "", text.lower())


def names_of(path: str) -> set[str]:
    """The names of a field outside lists: its last name, that with the one before it, and so on."""
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

    Empty if neither is. The least nested path counts, which is first: another may be a parent's.
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
