"""The page reference/publication.md: the statements of a publication, for a DBA."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy.dialects import postgresql

from worker.core.area import AREAS
from worker.store.runs import apply_drafts as apply
from worker.store.runs import fact_counts as facts
from worker.store.runs import guard_counts as guard
from worker.store.runs.new_publication import NewPublication

NEW: Final = NewPublication(
    run_id=42,
    first_pass_no=4,
    is_sync=True,
    marks_missed=True,
    number=7,
    at=datetime(2026, 1, 2, 3, 4, tzinfo=UTC),
)
AREA: Final = AREAS[0]

STEPS: Final = {
    "1. The roster": (
        apply.delete_unseen_drafts,
        apply.mark_departed_persons,
        apply.mark_missed_persons,
    ),
    "2. The counts that the guard judges": (
        guard.count_reads,
        guard.count_changes,
        guard.count_all_open,
        guard.count_read_open,
        guard.count_newly_missing,
        guard.count_persons_before,
        guard.count_open,
        guard.count_holders,
        guard.count_syncs,
        guard.count_persons,
        guard.count_all_missing,
    ),
    "3. The changes that readers see": (
        apply.fail_unconfirmed_reads,
        apply.close_versions,
        apply.close_departed_versions,
        apply.add_persons,
        apply.add_versions,
        apply.write_feed,
        apply.mark_returned_persons,
        apply.confirm_areas,
        apply.store_failures,
        apply.add_unread_areas,
        apply.label_persons,
        apply.unmark_missed_persons,
        apply.clear_departed_areas,
    ),
    "4. The facts": (
        facts.count_roster,
        facts.count_joined,
        facts.count_stale,
        facts.count_holdings,
        facts.count_flows,
        facts.count_week,
    ),
    "5. Other open runs": (apply.delete_outdated_drafts,),
}
"""The functions of a publication, in the order in which it calls them."""
_NOTES: Final = {
    "1. The roster": "Only if the roster was full. `delete_unseen_drafts` runs only if the run was "
    "resumed. `mark_departed_persons` finds persons missing from the previous full roster, too.",
    "2. The counts that the guard judges": "A sync counts all open rows (`count_all_open`), a "
    "backfill those of the areas that it read (`count_read_open`). `count_changes` runs once for "
    "all areas and once for each. `count_open` runs only for an area with changes. A departing row "
    "has `closes` false, because the guard counted these restrictions when their person was first "
    "missing.",
    "3. The changes that readers see": "First, one UPDATE of `run` gives it the status "
    "`published`, its number, its time, its totals and the counts of the guard. "
    "`fail_unconfirmed_reads` runs only if a first read was not confirmed. `confirm_areas` writes "
    "one row for each area that was read, so it is the longest statement of an ordinary night.",
    "4. The facts": "The worker adds up these counts and inserts the sums into `publication_code`, "
    "`publication_cohort` and `publication_figure`. `count_holdings` reads every open version "
    "once. It and `count_roster` are the longest statements of this section.",
    "5. Other open runs": "Only if there are any, for example an interrupted sync beside a "
    "backfill. At the end, if more rows were opened than existed before, the tables of persons and "
    "versions are analysed.",
}

_ARGUMENTS: Final = {
    "new": NEW,
    "area": AREA,
    "areas": AREA,
    "dialect": "postgresql",
    "others": [43],
    "first_number": 3,
}
_CLAUSE: Final = re.compile(
    r" (SELECT|FROM|WHERE|UNION ALL|LEFT OUTER JOIN|JOIN|GROUP BY|ORDER BY|ON CONFLICT|SET"
    r"|WHEN|ELSE|AND|OR|RETURNING)\b(?! NULL)"
)
"""The words that begin a line."""
_HEAD: Final = f"""# The statements of a publication

A publication is one transaction. These are its statements on PostgreSQL, in their order, for run {NEW.run_id}, which becomes publication {NEW.number}. A statement of one area is printed for {AREA.name}; the other area has the same one with its own tables. On SQLite the statements are the same, except that some functions have other names.

Before the first statement, the transaction renews the lease. If another process has the lease, the transaction ends here. On PostgreSQL it then analyses the tables of drafts, sets `work_mem` to 64 MB and turns `jit` off. After the counts, the guard decides: a withheld run rolls back. The content of a published version never changes. A version is only closed, and `person` and `person_area` are updated.
"""  # noqa: E501


def publication_page() -> str:
    """Each statement with the summary of its function's docstring."""
    page = _HEAD
    for title, functions in STEPS.items():
        page += f"\n## {title}\n\n{_NOTES[title]}\n"
        for function in functions:
            sentence = (function.__doc__ or "").strip().partition("\n\n")[0]
            sentence = " ".join(sentence.replace("``", "`").split())
            page += f"\n### {function.__name__}\n\n{sentence}\n\n```sql\n"
            page += ";\n\n".join(statements_of(function)) + ";\n```\n"
    return page


def statements_of(function: Any) -> Iterator[str]:
    """The statements that a function of ``STEPS`` returns."""
    names = function.__code__.co_varnames[: function.__code__.co_argcount]
    variadic = ["areas"] if "areas" in function.__code__.co_varnames else []
    built = function(*(_ARGUMENTS[name] for name in (*names, *variadic)))
    for statement in built if isinstance(built, Iterator) else [built]:
        yield sql_of(statement)


def sql_of(statement: Any) -> str:
    """A statement as PostgreSQL gets it, with its values, and indented by its parentheses."""
    # With literal values, so that a DBA can run EXPLAIN on the printed statement.
    compiled = statement.compile(
        dialect=postgresql.dialect(),  # type: ignore[no-untyped-call]
        compile_kwargs={"literal_binds": True},
    )
    depth, lines = 0, []
    for line in _CLAUSE.sub(r"\n\1", " ".join(str(compiled).split())).splitlines():
        # An arm of CASE is indented, although no parenthesis encloses it.
        is_arm = line.startswith(("WHEN", "ELSE"))
        lines.append("    " * (depth + is_arm) + line.strip())
        depth += line.count("(") - line.count(")")
    return "\n".join(lines)
