"""The pages of docs/reference, generated from the program's declarations."""

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

import click
from prometheus_client.samples import Sample

from tools.docs.command_line import described
from tools.docs.data_model import data_model_page
from tools.docs.exit_codes import EXIT_MEANINGS
from tools.docs.log_events import log_table
from tools.docs.promises import promises_page
from tools.docs.publication_sql import publication_page
from worker.config.contract_file import default_contract_text
from worker.config.settings import EVERYDAY, KEYS, SECTIONS, text_of, variable_of
from worker.core.contract import STYLES
from worker.core.model import RunKind, RunStatus
from worker.core.run import PublishedState, RunReport
from worker.errors import ExitCode
from worker.store.schema.columns import TOTALS
from worker.telemetry import HELP, PREFIX, samples_of
from worker.views import ViewColumn, codes, view_columns

HEAD: Final = "<!-- `python -m tools.docs` writes this page -->\n"

VIEWS: Final = {
    "report_patient_safety_current": "Patient safety: the last published state, one row per "
    "restriction.",
    "report_patient_safety_history": "Patient safety: every version, valid from `valid_from` "
    "until `valid_to`, exclusive.",
    "report_patient_privacy_current": "Patient privacy: the last published state, one row per "
    "restriction.",
    "report_patient_privacy_history": "Patient privacy: every version, valid from `valid_from` "
    "until `valid_to`, exclusive.",
    "report_restriction_current": "Both areas: the last published state, with the columns that "
    "both have.",
    "report_restriction_history": "Both areas: every version, with the columns that both have.",
    "report_person_freshness": "One row per person and area: when it was last confirmed, and why "
    "it could not be read since.",
    "report_daily": "The facts of each publication by code, level, cause and cohort. Written "
    "once, never changed. For each area, `open` is the previous `open` plus `added` and "
    "`joined_with`, less `removed` and `departed_with`.",
    "report_publication": "The facts of each publication by person: the denominators.",
    "report_publication_cohort": "The facts of `report_publication` by cohort, which add up to it. "
    "`cohort` is NULL for persons without one, and `other` for persons whose cohort is not among "
    "the first 300 by name.",
    "report_publication_figure": "The report's figures of each publication: restrictions and "
    "their persons, divided by `figure` and by cohort. Each row counts a person once, and rows of "
    "one `figure` add up over cohorts. Written once, never changed.",
    "report_change_feed": "The changes of each publication, erasure and purge, in order "
    "([how to follow it](../reporting.md#the-change-feed)).",
    "report_run": "The ledger of runs. Totals are counted by the publication, and 0 for a run that "
    "was not published.",
    "report_access": "The access log: one row for each `explain`, `erase`, `export`, `report` "
    "and `failures show`. `os_user` is the account that ran the command, `login_user` the account "
    "that logged in, if that is different. `person_key` is empty if the command was not about one "
    "person in the database, and after the person is erased.",
    "report_drift": "Fields of PTS's records that the contract does not declare: names and "
    "counts, never values.",
    "report_episode": "One row for each period in which a restriction was open, over all its "
    "versions: from the first read that had it until the publication that closed it. A restriction "
    "that was gone and came back has a row for each period. `is_left_censored`: the restriction "
    "was already there in the first read of this area of the person, or in the first read after a "
    "departure. If PTS lists a restriction under another identifier of its person, its row under "
    "the old identifier ends, and a row under the new identifier begins.",
    "report_code": "Names of the codes in the other views, in bokmål, nynorsk and English, and "
    "their groups.",
    "report_dictionary": "The meaning of each column of these views, in bokmål and English.",
}
"""The content of each reporting view."""

_TYPES: Final = {"duration": "duration", "path": "file", "boolean": "`true`, `false`"}
"""Names of JSON Schema's types on the page. All others are text."""
_CONFIGURATION: Final = """# Configuration

Flags take precedence over environment variables, these over the TOML file (`--config`, `PTS_CONFIG`, else `config/worker.toml`), the file over the defaults. You can set any key with a flag: `--set sync.concurrency=4`. All errors are reported at once.

- Relative paths in the file are resolved against its folder, those of flags, environment and defaults against the working directory. Without `database.url` in the file, each directory has its own `pts.db`.
- A duration is written as `30s`, `10m`, `1h30m` or `14d`, and is longer than 0.
- Secrets are files. A database URL that contains a password is refused.
- `http://` is accepted for loopback addresses only. TLS verification cannot be turned off.

"""  # noqa: E501
_CONTRACT: Final = """# The contract with PTS

One TOML file declares the requests to PTS and the form of its answers. `pts-worker contract show` prints the contract in force. To use your own file, set `api.contract_file` ([how to make and change it](../first-day.md#the-contract)). Unknown keys are errors, reported with their place.

A path is `a.b`, `a[0].b` or `a[isCurrent=true].b`. In the last form exactly one element must match, otherwise the answer is a failure. A literal name takes precedence over its parts (`@odata.nextLink`). Paths are case-sensitive.

## The keys of an area

From the default contract:

"""  # noqa: E501
_PAGING: Final = """
## Paging

`paging` is `"none"`, or a table such as `{style = "page", send_as = "page", send_in = "query"}`. The keys of each `style`:

"""  # noqa: E501
_PAGING_ENDS: Final = """
Paging by `page` or `offset` ends when `more` is false, at the last of `pages`, or at the area's `total`. If you declare none of these, it ends at the first empty page. Each declared field must be on every page.
"""  # noqa: E501
_EXIT_CODES: Final = """# Exit codes

Exit code 0 means that every person sent to PTS was read. Persons with an H-number are not sent in production, and the summary counts them. [Operations](../operations.md#exit-codes) shows how systemd and Kubernetes react to each code, and how you should react.

"""  # noqa: E501
_METRICS: Final = """# Metrics

All metrics are gauges, written when a run ends. [Monitoring](../monitoring.md#prometheus) explains how to collect them with Prometheus.

"""  # noqa: E501
_LOG_EVENTS: Final = """# Log events

Logs go to standard error, one JSON object per line unless it is a terminal (`log.format`). Each has `event`, `level` and `timestamp` in addition to the fields below. No field contains an identifier, a token or a response body. `person` is the first eight digits of a pseudonym.

"""  # noqa: E501
_COMMANDS: Final = """# Commands

`pts-worker COMMAND`, or `python -m worker COMMAND`. Each command has `--help`.

"""
_COMPLETION: Final = """
## Completion

Shells complete commands, options and their values. Load the completion in the start-up file:

```sh
eval "$(_PTS_WORKER_COMPLETE=bash_source pts-worker)"    # bash: ~/.bashrc
eval "$(_PTS_WORKER_COMPLETE=zsh_source pts-worker)"     # zsh: ~/.zshrc
_PTS_WORKER_COMPLETE=fish_source pts-worker | source     # fish: ~/.config/fish/config.fish
```
"""
_VIEWS: Final = """# Reporting views

The views are the same in SQLite and PostgreSQL. Readers get `SELECT` on these views only, through [two roles on PostgreSQL](../reporting.md#readers). `report_access` is for the persons who audit the readers. Within a major version, columns are added and never renamed or dropped. [Reporting](../reporting.md) lists the views by question. The tables behind them are in the [data model](data-model.md).

- **In effect.** `is_in_effect` is true if the restriction is in effect at this moment: its code is not `N`, it has begun and not ended, and it does not wait for a result (`pending`). A restriction with an unknown code counts as in effect, and has no `restriction_group`. `begins_at` is empty if PTS gives no beginning, and `ends_at` if the end is indefinite. If PTS sends several time ranges, both are empty.
- **Stale.** `is_stale` is true if the latest read of the area failed, or if the latest full publication of the area did not confirm it ([why a row is stale](../concepts.md#why-is-a-row-stale)). You see the state at `last_confirmed_at`.
- **Closed.** `closed_because` is `changed` if another version follows, `gone` if two complete reads did not contain the restriction, and `departed` if its person left the roster. `closed_by_reads` has the times of the two reads.
- **Extra.** `extra` is a JSON object with the extra fields that the contract with PTS declares. NULL if a record has none.
- **Times** are UTC. In SQLite they are text in one form (`2026-01-31T00:00:00.000000+00:00`) that sorts and compares as time.

"""  # noqa: E501
_RESTRICTION_VIEWS: Final = ("report_patient_", "report_restriction_")
"""Prefixes of views with a row for each restriction or version."""
_QUERIES: Final = """## Queries to begin with

What was published at a given instant:

```sql
SELECT confidentiality_code, count(*) AS restrictions
FROM report_patient_safety_history
WHERE valid_from <= '2026-01-31T00:00:00.000000+00:00'
  AND (valid_to IS NULL OR valid_to > '2026-01-31T00:00:00.000000+00:00')
GROUP BY confidentiality_code
ORDER BY confidentiality_code;
```

The age of the copy by area:

```sql
SELECT area,
       count(*) AS persons,
       sum(CASE WHEN is_stale THEN 1 ELSE 0 END) AS stale,
       min(last_confirmed_at) AS oldest_confirmation
FROM report_person_freshness
WHERE NOT is_missing
GROUP BY area
ORDER BY area;
```
"""


def _table(head: str, rows: Iterator[str]) -> str:
    columns = head.count("|") - 1
    return "\n".join([head, "|" + "---|" * columns, *rows]) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def configuration_page() -> str:
    """Every configuration key, the most common first."""
    head = "| key | environment | default | accepts | meaning |"
    further = (name for name in KEYS if name not in EVERYDAY)
    return (
        f"{_CONFIGURATION}## The six keys of every installation\n\n"
        f"{_table(head, map(_key_row, EVERYDAY))}\n## All others\n\n"
        f"{_table(head, map(_key_row, further))}"
    )


def _key_row(name: str) -> str:
    key = KEYS[name]
    default = "none" if key.default is None else f"`{text_of(key.default)}`"
    cells = (f"`{name}`", f"`{variable_of(name)}`", default, _accepted(name), str(key.description))
    return f"| {' | '.join(map(_cell, cells))} |"


def _accepted(name: str) -> str:
    """The values that a key accepts: a list, a range, or a type."""
    section, _, key = name.partition(".")
    schema = SECTIONS[section].model_json_schema()["properties"][key]
    # A list has its type in "items", an optional key in "anyOf".
    for choice in (schema, schema.get("items", {}), *schema.get("anyOf", ())):
        if "enum" in choice:
            return ", ".join(f"`{value}`" for value in choice["enum"])
        if (least := choice.get("minimum", choice.get("ge"))) is not None:
            return f"{least:g} to {choice.get('maximum', choice.get('le')):,g}"
        if (type_name := choice.get("format", choice.get("type"))) in _TYPES:
            return _TYPES[type_name]
    return "text"


def contract_page() -> str:
    """The keys of the contract with PTS, and those of each style of paging."""
    # Without the file's first comment, which refers to this page.
    _, begin, areas = default_contract_text().partition("[patient-safety]")
    block = f"```toml\n{begin}{areas}```\n"
    table = _table("| style | key | default | meaning |", _paging_rows())
    return f"{_CONTRACT}{block}{_PAGING}{table}{_PAGING_ENDS}"


def _paging_rows() -> Iterator[str]:
    for name, style in STYLES.items():
        yield f"| `{name}` | | | {_cell(style.__doc__)} |"
        for key, field in style.model_fields.items():
            if key != "style":
                default = "must be set" if field.is_required() else f"`{json.dumps(field.default)}`"
                yield f"| | `{key}` | {default} | {_cell(field.description)} |"


def exit_codes_page() -> str:
    """Every exit code, with its name in the view ``report_code``."""
    names = {int(code.code): code for code in codes() if code.system == "exit_code"}
    return _EXIT_CODES + _table(
        "| code | meaning | scheduler should | name in `report_code` (bokmål, English) |",
        (
            f"| {code:d} | {meaning.text} | {meaning.scheduler} "
            f"| {names[code].name_nb}, {names[code].name_en} |"
            for code, meaning in EXIT_MEANINGS.items()
        ),
    )


def _default(option: click.Option) -> str:
    return f" Default: {option.default}." if option.show_default else ""


def _options(command: click.Command) -> list[tuple[str, str]]:
    return [
        (
            ", ".join(f"`{name}`" for name in option.opts)
            + (f" `{option.metavar}`" if option.metavar else ""),
            _cell(option.help or "") + _default(option),
        )
        for option in command.params
        if isinstance(option, click.Option)
    ]


def commands_page() -> str:
    """Every command with its help and options. Common options are listed once."""
    commands = [(" ".join(words), command) for words, command in described()]
    runnable = [item for item in commands if not isinstance(item[1], click.Group)]
    # The common options are on each command. They are printed once.
    every = [_options(command) for _, command in runnable if _options(command)]
    shared = [option for option in every[0] if all(option in options for options in every)]
    page = _COMMANDS + _table(
        "| command | purpose |",
        (
            f"| [`{name}`](#{name.replace(' ', '-')}) "
            f"| {_cell((command.help or '').partition(chr(10) * 2)[0])} |"
            for name, command in runnable
        ),
    )
    page += "\n## Options of every command\n\n" + _option_table(shared)
    for name, command in runnable:
        options = [option for option in _options(command) if option not in shared]
        page += f"\n## {name}\n\n{(command.help or '').strip()}\n"
        page += "\n" + _option_table(options) if options else ""
    return page + _COMPLETION


def _option_table(options: list[tuple[str, str]]) -> str:
    return _table("| option | meaning |", (f"| {name} | {text} |" for name, text in options))


def views_page() -> str:
    """Every reporting view with its columns. Shared columns are listed once."""
    views = view_columns()
    shared = _shared_columns()
    page = _VIEWS + _table(
        "| view | content |",
        (f"| [`{view}`](#{view}) | {VIEWS.get(view, '')} |" for view in views),
    )
    for title, columns in shared.items():
        page += f"\n## {title}\n\n{_columns(columns)}"
    for view, columns in views.items():
        page += f"\n## {view}\n\n{VIEWS.get(view, '')}\n"
        unlisted = list(columns)
        for title, group in shared.items() if view.startswith(_RESTRICTION_VIEWS) else ():
            if names := ", ".join(f"`{column.name}`" for column in unlisted if column in group):
                page += f"\n[{title}](#{title.lower().replace(' ', '-')}): {names}.\n"
                unlisted = [column for column in unlisted if column not in group]
        page += f"\n{_columns(unlisted)}" if unlisted else ""
    return f"{page}\n{_QUERIES}"


def _shared_columns() -> Mapping[str, Sequence[ViewColumn]]:
    """Columns of several views of restrictions, by the heading under which they are listed."""
    areas: dict[ViewColumn, list[str]] = defaultdict(list)
    for view, columns in view_columns().items():
        for column in columns if view.startswith(_RESTRICTION_VIEWS) else ():
            areas[column].append(view.removeprefix("report_").rpartition("_")[0].replace("_", " "))
    groups: dict[str, list[ViewColumn]] = defaultdict(list)
    # Columns of both areas first, then those of one.
    for column, names in sorted(areas.items(), key=lambda item: len(set(item[1])) == 1):
        if len(names) > 1:
            is_of_one_area = len(set(names)) == 1 and names[0] != "restriction"
            groups[f"Columns of {names[0] if is_of_one_area else 'every restriction'}"].append(
                column
            )
    return groups


def _columns(columns: Sequence[ViewColumn]) -> str:
    return _table(
        "| column | type | unit | empty? | meaning | bokmål |",
        (
            f"| `{column.name}` | {column.kind} | {column.unit} "
            f"| {'yes' if column.is_nullable else ''} | {_cell(column.en)} | {_cell(column.nb)} |"
            for column in columns
        ),
    )


def metric_samples() -> tuple[Sample, ...]:
    """A sample of every metric, with each value that a label can have."""
    at = datetime(2026, 1, 1, tzinfo=UTC)
    # Published runs of each kind with all totals have every metric.
    state = PublishedState(
        last_success_at=at, last_published_at=at, persons_stale=0, persons_known=0
    )
    samples: list[Sample] = []
    for kind in RunKind:
        report = RunReport(
            run_id=1,
            kind=kind,
            status=RunStatus.PUBLISHED,
            exit_code=ExitCode.OK,
            started_at=at,
            finished_at=at,
            published_at=at,
            totals=dict.fromkeys(TOTALS, 0),
        )
        samples += samples_of(report, state)
    return tuple(samples)


def metrics_page() -> str:
    """Every metric with its labels and their values."""
    labels: dict[str, dict[str, list[str]]] = {}
    for sample in metric_samples():
        values = labels.setdefault(sample.name.removeprefix(PREFIX), {})
        for label, value in sample.labels.items():
            values.setdefault(label, [])
            values[label] += [value] if value not in values[label] else []

    def rows() -> Iterator[str]:
        for name, help_text in HELP.items():
            cell = "; ".join(f"`{label}`: {', '.join(v)}" for label, v in labels[name].items())
            yield f"| `{PREFIX}{name}` | {cell} | {help_text} |"

    return _METRICS + _table("| metric | labels | meaning |", rows())


def log_events_page() -> str:
    """Every log event."""
    return _LOG_EVENTS + log_table()


REFERENCE: Final[Mapping[str, Callable[[], str]]] = {
    "reference/configuration": configuration_page,
    "reference/commands": commands_page,
    "reference/contract": contract_page,
    "reference/exit-codes": exit_codes_page,
    "reference/views": views_page,
    "reference/metrics": metrics_page,
    "reference/log-events": log_events_page,
    "reference/data-model": data_model_page,
    "reference/publication": publication_page,
    "reference/tests-of-promises": promises_page,
}
"""The generated pages of docs/, by their name without ``.md``."""
