"""Proposes an area's contract for a shape: the list of records, and what stands around it.

What is sure is declared; what is a guess is marked as one (``# proposal``); what could say that
records are missing is never ignored, but left for a person to declare.
"""

import json
import re
from collections.abc import Mapping
from typing import Final

from pydantic import ValidationError

from worker.contracts.columns import Mapper
from worker.contracts.draft import PERSON_NAMES, REFUSED, Draft, name_of, plain
from worker.contracts.shape import Leaf, Shape, lists_of
from worker.core.area import ResourceArea
from worker.core.contract import HEADER, AreaContract
from worker.core.paths import UNNAMED, parse_path
from worker.errors import DataContractError

_SPEAKS_OF_MORE: Final = re.compile(
    "next|more|page|paging|offset|total|count|skip|limit|cursor|continu|token|trunc|partial|remain"
    "|last|size|complete|start|index|error|status|success|fail"
)
_PLAIN: Final = {"string", "null", "nothing"}
"""Kinds of fields that may say nothing: an address, a number or a flag may speak of more."""
_ROLES: Final[Mapping[str, tuple[str, str]]] = {
    "next_link": ("url", "next nextlink nexturl nextpage href"),
    "reference": ("integer", "pagingreference"),
    "token": ("string", "next cursor token nexttoken nextpagetoken nextcursor continuationtoken"),
    "page": ("integer", "page pagenumber currentpage"),
    "offset": ("integer", "offset skip startindex"),
    "more": ("boolean", "hasmore hasnext hasnextpage more"),
    "pages": ("integer", "totalpages pagecount pages"),
    "total": ("integer", "total totalcount totalelements totalrecords totalitems"),
    "expect": ("boolean", "success issuccess succeeded ok"),
    "answer_person": ("string", " ".join(PERSON_NAMES)),
}
"""What a field around the records may be: its kind, and its names as ``name_of`` gives them."""
_STYLES: Final = ("next_link", "reference", "token", "page", "offset")
_SENT_BACK: Final = ("token", "page", "offset")
_ENDS: Final = {"page": ("more", "pages"), "offset": ("more",)}
"""What else tells the last page, by style."""
_OF_RECORDS: Final = ("id", "person", "required", "volatile", "columns", "values", "extra")


def propose(
    area: ResourceArea,
    known: AreaContract,
    draft: Draft,
    shape: Shape,
    *,
    is_asked_by_it: bool = False,
) -> None:
    """Complete a draft by the shape of answers.

    Args:
        known: the contract in force.
        draft: what is known of the request.
        is_asked_by_it: the answers are to requests by the contract in force, so that what it
            declares around the records stands wherever they have it.

    Raises:
        DataContractError: no list of objects, or several, could be that of the records.
    """
    lists = lists_of(shape)
    if len(lists) != 1:
        named = " and ".join(one or "the answer itself" for one in lists) or "none"
        raise DataContractError(
            f"{area.name}: one list of objects must be that of the records; found: {named}"
        )
    draft.shape, draft.table["records"], before = shape, lists[0], f"{lists[0]}[]"
    shown = {path: leaf for path, leaf in shape.items() if UNNAMED not in path}
    around = {path: leaf for path, leaf in shown.items() if not path.startswith(before)}
    fields = {path: leaf for path, leaf in shown.items() if path.startswith(f"{before}.")}
    if fields:
        Mapper(draft, known, fields, f"{before}.").declare(area)
    else:
        draft.table |= known.model_dump(mode="json", include={*_OF_RECORDS})
        draft.propose("id", "no record was seen: from here on as in force")
    if is_asked_by_it:
        _keep(draft, known, around)
    if "paging" not in draft.table:
        _declare_paging(draft, around)
    for path, leaf in around.items():
        if path not in draft.becomes:
            draft.becomes[path] = _declare_around(draft, path, leaf)
    try:
        draft.contract = AreaContract.model_validate_json(json.dumps(draft.table))
    except ValidationError as error:
        keys = sorted({str(fault["loc"][0]) for fault in error.errors() if fault["loc"]})
        raise DataContractError(
            f"{area.name}: no contract can be made of what is said of {', '.join(keys) or 'it'}"
        ) from None


def _keep(draft: Draft, known: AreaContract, around: Shape) -> None:
    """Declare around the records what the contract in force declares there, if it was seen."""
    table, seen = known.model_dump(mode="json"), {path.removesuffix("[]") for path in around}

    def stands(place: str) -> bool:
        return place.startswith(HEADER) or place in seen

    for key in ("ignore", "answer_person"):
        draft.table[key] = [place for place in table[key] if stands(place)]
    draft.table["expect"] = {n: value for n, value in table["expect"].items() if stands(n)}
    if stands(known.total):
        draft.table["total"] = known.total
    fields = {getattr(known.paging, name, "") for name in ("field", "pages", "more")} - {""}
    if known.paging is not None and all(map(stands, fields)):
        draft.table["paging"] = table["paging"]
    kept = {*draft.table["ignore"], *draft.table["answer_person"], *draft.table["expect"]}
    kept |= {draft.table.get("total"), *(fields if "paging" in draft.table else ())}
    draft.becomes |= {path: "as in force" for path in around if path.removesuffix("[]") in kept}


def _has_role(role: str, path: str, leaf: Leaf) -> bool:
    kind, names = _ROLES[role]
    if role == "reference" and "null" in leaf.kinds:  # it ends with 0, and nothing else
        return False
    return name_of(path) in names.split() and kind in leaf.kinds and "[]" not in path


def _declare_paging(draft: Draft, around: Shape) -> None:
    """Declare the style of paging that the fields around the records suggest."""
    found = {
        role: path for role in _ROLES for path in around if _has_role(role, path, around[path])
    }
    style = next((style for style in _STYLES if style in found), None)
    if style is None:
        return
    field = found[style]
    parts = {"field": field} | {part: found[part] for part in _ENDS.get(style, ()) if part in found}
    draft.becomes |= dict.fromkeys(parts.values(), "paging")
    draft.table["paging"] = {"style": style, **parts}
    if style in _SENT_BACK:
        names = {name_of(field), *_ROLES[style][1].split()}
        known = [pair for pair in draft.sendable.items() if plain(pair[0]) in names]
        name, place = (*known, (parse_path(field).segments[-1].name, "body"))[0]
        draft.table["paging"] |= {"send_as": name, "send_in": place}
    draft.propose("paging", f"{field} looks like the style {style}; ask NHN")


def _declare_around(draft: Draft, path: str, leaf: Leaf) -> str:
    """Declare a field around the records, and say what becomes of it."""
    table = draft.table
    if _has_role("answer_person", path, leaf):
        table.setdefault("answer_person", []).append(path)
        return "the person of the answer"
    if _has_role("total", path, leaf) and "total" not in table:
        table["total"] = path
        draft.propose("total", f"{path} is the number of records over all pages")
        return "total"
    if _has_role("expect", path, leaf):
        table.setdefault("expect", {})[path] = True
        draft.propose("expect", f"{path} is true where the answer is complete")
        return "expected to be true"
    is_plain = leaf.kinds <= _PLAIN and "[]" not in path.removesuffix("[]")
    if not is_plain or _SPEAKS_OF_MORE.search(name_of(path)):
        draft.propose("ignore", f"{path} is not declared, and answers with it are refused")
        return REFUSED
    table.setdefault("ignore", []).append(path.removesuffix("[]"))
    if path.endswith("[]"):
        draft.propose("ignore", f"{path[:-2]} says nothing; refused once it is not empty")
        return "ignored while it is empty"
    draft.propose("ignore", f"{path} says nothing about missing records")
    return "ignored"
