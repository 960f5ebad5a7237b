"""The columns of the reporting views: what each holds, in words.

The database's dictionary (``report_dictionary``), the export and the report are made of these
declarations; a test compares them with the real views of both databases.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from worker.areas import AREAS
from worker.areas.words import WORDS, Kind, ViewColumn
from worker.core.area import ResourceArea
from worker.core.model import FailureKind

_ROW: Final = "restriction_id person_key local_ref"
_EFFECT: Final = "is_in_effect ends_at restriction_group publication_no cohort"
_PEOPLE: Final = " ".join(
    (
        "roster confirmed stale",
        *(f"failed_{kind}" for kind in FailureKind),
        "joined departed persons_in_effect",
    )
)
_PLAIN: Final[Mapping[str, str]] = {
    "report_person_freshness": (
        "person_key local_ref area last_confirmed_at is_stale record_count pages failure_kind "
        "failing_since failed_runs digest first_read_at first_record_count first_digest "
        "cohort"
    ),
    "report_daily": (
        "publication_no published_at day area code level restriction_group open in_effect added "
        "changed removed persons persons_in_effect cause cohort"
    ),
    "report_publication": f"publication_no published_at day kind {_PEOPLE}",
    "report_publication_cohort": f"publication_no published_at day cohort {_PEOPLE}",
    "report_change_feed": (
        "seq publication_no published_at op area restriction_id person_key local_ref version_no "
        "person_no cohort"
    ),
    "report_person_label": (
        "person_key local_ref cohort valid_from valid_to since_publication until_publication"
    ),
    "report_daily_change": "day area added changed removed",
    "report_run": (
        "run_id kind status started_at finished_at published_at exit_code reason areas "
        "persons_total persons_complete persons_stale persons_departed roster_faults "
        "areas_complete areas_failed rows_read rows_opened rows_changed rows_closed rows_moved "
        "rows_unchanged requests retries publication_no worker_version persons_not_sent"
    ),
    "report_access": ("accessed_at os_user login_user host command person_key purpose"),
    "report_failure": (
        "person_key local_ref area failure_kind http_status reason attempts failed_runs "
        "failing_since last_failed_at"
    ),
    "report_drift": "area field drift_kind first_seen_at",
    "report_episode": (
        "area restriction_id person_key local_ref started_at ended_at is_left_censored "
        "revisions days"
    ),
    "report_code": "system code restriction_group name_nb name_nn name_en is_restricting source",
    "report_dictionary": (
        "view_name column_name type unit is_nullable meaning_nb meaning_en source_path"
    ),
}


_FEED: Final = "report_change_feed"
_EMPTY_ONLY_IN: Final[Mapping[str, tuple[str, ...]]] = {
    **dict.fromkeys(("restriction_id", "area", "version_no", "person_no"), (_FEED,)),
    "person_key": (_FEED, "report_access"),
    **dict.fromkeys(("publication_no", "published_at"), ("report_run",)),
    "cohort": (
        *(f"report_{area.table}_{kind}" for area in AREAS for kind in ("current", "history")),
        *("report_person_freshness", "report_person_label", _FEED),
    ),
}
"""Columns that are NULL in these views alone: entries and accesses outlive their person, and facts
count persons without a cohort under the empty text."""


def _declared() -> Iterator[tuple[str, tuple[ViewColumn, ...]]]:
    for area in AREAS:
        times = "first_seen_at last_confirmed_at is_stale payload"
        view = f"report_{area.table}_current"
        yield view, _area(view, area, times, _EFFECT)
    for area in AREAS:
        times = "first_seen_at observed_at valid_from valid_to opened_run closed_run payload"
        ends = "opened_publication closed_publication version_no cohort"
        view = f"report_{area.table}_history"
        yield view, _area(view, area, times, ends)
    for view, names in _PLAIN.items():
        yield view, _columns(view, names)


def _area(view: str, area: ResourceArea, *behind: str) -> tuple[ViewColumn, ...]:
    own = [
        ViewColumn(
            name=column.name,
            kind=Kind(column.type.value),
            nb=column.nb,
            en=column.en,
            unit=column.unit,
            source_path=", ".join(column.paths),
        )
        for column in area.columns
    ]
    rest = [column for names in behind for column in _columns(view, names)]
    return (*_columns(view, _ROW), *own, *rest)


def _columns(view: str, names: str) -> tuple[ViewColumn, ...]:
    return tuple(
        WORDS[name]._replace(is_nullable=False)
        if view not in _EMPTY_ONLY_IN.get(name, (view,))
        else WORDS[name]
        for name in names.split()
    )


COLUMNS: Final[Mapping[str, tuple[ViewColumn, ...]]] = dict(_declared())
"""The columns of each reporting view, in their order, by the view's name."""


_KEYS: Final[Mapping[str, str]] = {
    "report_person_freshness": "person_key area",
    "report_daily": "publication_no area code level cause cohort",
    "report_publication": "publication_no",
    "report_publication_cohort": "publication_no cohort",
    "report_daily_change": "day area",
    "report_change_feed": "seq",
    "report_run": "run_id",
    "report_access": "accessed_at os_user login_user host command person_key purpose",
    "report_person_label": "person_key valid_from",
    "report_failure": "person_key area",
    "report_drift": "area field drift_kind",
    "report_episode": "area person_key restriction_id started_at",
    "report_code": "system code",
    "report_dictionary": "view_name column_name",
}

KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    **{f"report_{area.table}_current": ("person_key", "restriction_id") for area in AREAS},
    **{f"report_{area.table}_history": ("version_no",) for area in AREAS},
    **{view: tuple(names.split()) for view, names in _KEYS.items()},
}
"""The primary key of each reporting view, which is also the order of its rows in an export.

Two rows of ``report_access`` may be the same.
"""
