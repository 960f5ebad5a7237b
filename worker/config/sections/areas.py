"""Overrides of the areas' declarations."""

from typing import Annotated, Any, Final, Literal, TypeAlias

from worker.areas import AREAS
from worker.config.sections.base import Section
from worker.config.values import HEADERS, NAMES, TABLE, TEXT, TEXTS, WORD_OR_TABLE, Example, one_of

AREA_NAMES: Final = tuple(area.name for area in AREAS)
"""The resource areas that ``areas.<name>`` may override."""

NotFound: TypeAlias = Literal["failure", "empty"]


class AreaOverride(Section, frozen=True, kw_only=True):
    """What may be changed in an area's declaration, because PTS publishes no schema."""

    path: Annotated[
        str | None,
        TEXT,
        "Path of the search, from PTS's address.",
        Example("/v0.5/access-restrictions/patient-safety/_search"),
    ] = None
    api_version: Annotated[
        str | None,
        TEXT,
        "PTS's version; another than the declared one takes the old route with the "
        "header `api-version`.",
        Example("0.4"),
    ] = None
    headers: Annotated[
        dict[str, str] | None,
        HEADERS,
        "Headers besides the worker's own; the values are not shown.",
        Example({"Accept": "application/json"}),
    ] = None
    body: Annotated[
        dict[str, Any] | None,
        TABLE,
        "The request's body, with `{off_id}` where the identifier goes.",
        Example({"offId": "{off_id}", "ApplicableOnly": True}),
    ] = None
    record_key: Annotated[
        tuple[str, ...] | None,
        TEXTS,
        "Paths of a record's key, in order; the first that exists serves.",
        Example(["id"]),
    ] = None
    person: Annotated[
        tuple[str, ...] | None,
        TEXTS,
        "Paths where a record may name the person, who must be the one asked for.",
        Example(["offId"]),
    ] = None
    recognised_by: Annotated[
        tuple[str, ...] | None,
        TEXTS,
        "Fields of which a record has at least one.",
        Example(["confidentialityCode"]),
    ] = None
    volatile: Annotated[
        tuple[str, ...] | None,
        NAMES,
        "Fields that are stored but do not make a record a changed one.",
        Example(["lastReadTime"]),
    ] = None
    paging: Annotated[
        str | dict[str, Any] | None,
        WORD_OR_TABLE,
        "How the area pages: a style by name, or a table (`style`, `field`, "
        "`send_as`, `send_in`, `total`, `ignore`).",
        Example("auto"),
    ] = None
    not_found_means: Annotated[
        NotFound | None,
        one_of(NotFound),
        "What a 404 says: a failure, or no restriction.",
        Example("failure"),
    ] = None
    envelope: Annotated[
        str | None,
        TEXT,
        "Path of the array of records in the answer; empty: at the top or under a usual name.",
        Example("items"),
    ] = None
    columns: Annotated[
        dict[str, Any] | None,
        TABLE,
        "Path or paths of typed columns, by column.",
        Example({"cause": "reason"}),
    ] = None
