"""The fields of requests and answers, and what their names suggest."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple

from worker.core.answer import VALUES_MAX
from worker.core.contract import UUID, SourceText, fields_of
from worker.core.paths import UNNAMED, leaves, safe_path
from worker.errors import ContractError, DataContractError
from worker.masking import masked

PERSON_NAMES: Final = ("offid", "nationalid", "personidentifier", "nationalidentitynumber")
"""By which fields that hold a person's identifier are known, as ``names_of`` gives them."""
FIELDS_MAX: Final = 2_000
KINDS: Final = {bool: "boolean", int: "integer", float: "number", str: "string"}
ROLES: Final = {
    "link": ("header headerlink", "style"),
    "next_link": ("url next(link|ur[il]|page|href)?|string next(link|ur[il]|href)", "field"),
    "reference": ("integer pagingreference", "field send_as"),
    "token": ("string (next|(next)?(page|continuation)?token|(next)?cursor)", "field send_as"),
    "page": ("integer (page(number|index)?|currentpage)", "field send_as pages more"),
    "offset": ("integer (offset|skip|startindex)", "field send_as more"),
    "more": ("boolean ((has)?more|hasnext(page)?)", ""),
    "pages": ("integer (totalpages|pagecount|pages)", ""),
    "total": ("integer total(count|elements|records|items)?|header headerxtotalcount", ""),
    "expect": ("boolean ((is)?success|succeeded|ok)", ""),
    "answer_person": (f"string ({'|'.join(PERSON_NAMES)})", ""),
}
"""What a field around the records may be, by its kind and name. For a style of paging, the surest
first, also what is declared of it."""
_EMPTY: Final = {type(None): "null", dict: "empty object", list: "empty list"}
_ADDRESSES: Final = ("https://", "http://", "/")
_HINT_MAX: Final = 60
_NAME: Final = re.compile(r"(?<!=)\b[^\W\d][^.\[\]=+]*")


class Field(NamedTuple):
    """A field of answers."""

    kinds: str  # JSON's, ``url`` or ``header``
    records: int = 1  # how many records or answers have it
    codes: Mapping[str, str] = {}  # the values that a document declares, with their names or ""


class Parameter(NamedTuple):
    """A field of a request."""

    place: str  # the key of the contract: query, headers or body
    name: str
    is_required: bool
    about: Mapping[str, Any]  # the keys of its schema in the document, and its own

    def value(self) -> Any:
        """Its default, its only value, or a new id for a header; None if there is none."""
        choice = self.about.get("enum")
        only = choice if isinstance(choice, list) and len(choice) == 1 else []
        is_id = self.place == "headers" and self.about.get("format") == "uuid"
        given = (self.about.get("default"), self.about.get("const"), *only, UUID if is_id else None)
        value = next((one for one in given if isinstance(one, (str, int, float))), None)
        is_kept = self.place == "body" or value is None or isinstance(value, str)
        return value if is_kept else json.dumps(value)

    def hint(self) -> str:
        """What else a document says of its value, which is never sent."""
        told = {key: self.about.get(key) for key in ("example", "enum", "description")}
        texts = [f"{key} {json.dumps(value)[:_HINT_MAX]}" for key, value in told.items() if value]
        return masked(f" ({'; '.join(texts)})") if texts else ""


def fields_in(answers: Iterable[Any]) -> dict[str, Field]:
    """The fields of these answers by path: ``[]`` is an element, ``?`` may hold an identifier.

    Raises:
        DataContractError: they have more than a contract is made of.
    """
    kinds, counts = defaultdict[str, set[str]](set), Counter[str]()
    for answer in answers:
        seen = set[tuple[str, str]]()
        try:
            for path, value in islice(leaves(answer), VALUES_MAX):
                name = path and safe_path(path)
                is_address = isinstance(value, str) and value.startswith(_ADDRESSES)
                kinds[name].add("url" if is_address else (KINDS | _EMPTY)[type(value)])
                seen.add((name, path.partition("]")[0]))  # to the number of the record
                if len(kinds) > FIELDS_MAX:
                    raise DataContractError(f"fields with more than {FIELDS_MAX:,} names")
        except ContractError:
            kinds[UNNAMED].add("nested too deeply")
        counts.update(name for name, _ in seen)
    return {path: Field("|".join(sorted(kinds[path])), counts[path]) for path in kinds}


def plain(text: str) -> str:
    """A name or path for comparing: without case and punctuation."""
    return re.sub("[^a-z0-9]", "", text.lower())


def names_of(path: str) -> str:
    """The names of a field outside lists: its last name, that with the one before it, and so on."""
    parts = [] if "[]" in path else path.split(".")
    return " ".join(plain("".join(parts[start:])) for start in range(len(parts)))


def roles_of(path: str, field: Field) -> Iterator[str]:
    """What a field around the records may be; one of an unknown kind, by its name alone."""
    kinds = field.kinds.split("|") if field.kinds else ["url", *KINDS.values()]
    texts = [f"{kind} {name}" for kind in kinds for name in names_of(path).split()]
    for role, (pattern, _) in ROLES.items():
        if any(re.fullmatch(pattern, text) for text in texts):
            yield role


def source_of(paths: Sequence[str], declared: SourceText, names: Iterable[str]) -> Any:
    """What is declared, in the spelling of these paths, if it is there; else one of these names.

    Empty if neither is. The least nested path counts, which is first: another may be a parent's.
    """
    spelt = {plain(name): name for path in paths for name in _NAME.findall(path)}

    def respelt(path: str) -> str:
        return _NAME.sub(lambda name: spelt.get(plain(name[0]), name[0]), path)

    if isinstance(declared, dict):
        leaves_of = {leaf: tuple(map(respelt, each)) for leaf, each in declared.items()}
        return leaves_of if fields_of(leaves_of).intersection(paths) else ()
    respelled = [*map(respelt, declared)]
    if any(fields_of((path,)).issubset(paths) for path in respelled):
        return respelled
    wanted = {*names, *map(plain, declared)}
    return [path for path in paths if wanted.intersection(names_of(path).split())][:1]
