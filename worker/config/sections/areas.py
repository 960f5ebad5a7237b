"""Overrides of the areas' declarations."""

from typing import Annotated, Any, Final, Literal, TypeAlias

from worker.areas import AREAS
from worker.config.values import (
    NAMES,
    TABLE,
    TEXT,
    TEXTS,
    WORD_OR_TABLE,
    Example,
    Section,
)

AREA_NAMES: Final = tuple(area.name for area in AREAS)
"""The resource areas that ``areas.<name>`` may override."""

NotFound: TypeAlias = Literal["failure", "empty"]


class AreaOverride(Section, frozen=True, kw_only=True):
    """Overrides of an area's declaration, because PTS publishes no schema."""

    path: Annotated[
        str | None,
        TEXT,
        "Path of the search, relative to PTS's base URL.",
        Example("/v0.5/access-restrictions/patient-safety/_search"),
    ] = None
    api_version: Annotated[
        str | None,
        TEXT,
        "PTS's version. A version other than the declared one uses the old route with the "
        "header `api-version`.",
        Example("0.4"),
    ] = None
    headers: Annotated[
        dict[str, str] | None,
        TABLE,
        "Additional headers; their values are not shown.",
        Example({"Accept": "application/json"}),
    ] = None
    body: Annotated[
        dict[str, Any] | None,
        TABLE,
        "The request body, with `{off_id}` as the placeholder for the identifier.",
        Example({"offId": "{off_id}", "ApplicableOnly": True}),
    ] = None
    record_key: Annotated[
        tuple[str, ...] | None,
        TEXTS,
        "Candidate paths of a record's key, in order; the first that exists is used.",
        Example(["id"]),
    ] = None
    person: Annotated[
        tuple[str, ...] | None,
        TEXTS,
        "Paths where a record may name the person, who must be the requested one.",
        Example(["offId"]),
    ] = None
    recognised_by: Annotated[
        tuple[str, ...] | None,
        TEXTS,
        "Fields of which every record has at least one.",
        Example(["confidentialityCode"]),
    ] = None
    volatile: Annotated[
        tuple[str, ...] | None,
        NAMES,
        "Fields that are stored, but whose changes do not count as a change of the record.",
        Example(["lastReadTime"]),
    ] = None
    paging: Annotated[
        str | dict[str, Any] | None,
        WORD_OR_TABLE,
        "Paging of the area: the name of a style, or a table (`style`, `field`, `send_as`, "
        "`send_in`, `total`, `ignore`).",
        Example("auto"),
    ] = None
    not_found_means: Annotated[
        NotFound | None,
        "Meaning of a 404: a failure, or no restriction.",
        Example("failure"),
    ] = None
    envelope: Annotated[
        str | None,
        TEXT,
        "Path of the array of records in the response; empty: at the top or under a common name.",
        Example("items"),
    ] = None
    columns: Annotated[
        dict[str, Any] | None,
        TABLE,
        "Path or paths of each typed column, by column.",
        Example({"cause": "reason"}),
    ] = None
