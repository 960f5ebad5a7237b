"""The meaning of each exit code, part of the public interface (docs/reference/exit-codes.md)."""

from typing import Final, NamedTuple

from worker.errors import ExitCode


class ExitMeaning(NamedTuple):
    """The meaning of an exit code, and the scheduler's reaction."""

    text: str
    scheduler: str


EXIT_MEANINGS: Final = {
    ExitCode.OK: ExitMeaning("published, every person and area read", "\N{EN DASH}"),
    ExitCode.USAGE: ExitMeaning("wrong usage", "fix the call"),
    ExitCode.GAPS: ExitMeaning(
        "published with gaps: some persons or areas could not be read; their last known state "
        "stands and is marked stale; of `status --max-age`: the copy is older, no full run since",
        "look at `failures`, or at why no run has published",
    ),
    ExitCode.LEASE_HELD: ExitMeaning("another run holds the lease; nothing was done", "nothing"),
    ExitCode.WITHHELD: ExitMeaning(
        "withheld: too many removals at once, too many rows that lost a value, or too little could "
        "be read, of all persons or of those with a restriction; the last published state stays",
        "a person decides",
    ),
    ExitCode.DATA_CONTRACT: ExitMeaning(
        "the data contract is broken: the roster cannot be read, or all answers of PTS have a "
        "shape that is not declared",
        "stop, look",
    ),
    ExitCode.UNAVAILABLE: ExitMeaning(
        "HelseID, PTS or the database is unavailable after all retries, or the answers are not "
        "those of PTS (an HTML page with status 200)",
        "retry later",
    ),
    ExitCode.BUG: ExitMeaning("a bug", "report it"),
    ExitCode.STOPPED: ExitMeaning(
        "stopped on request or by its deadline; what was read is kept, the next run continues",
        "run again",
    ),
    ExitCode.REFUSED: ExitMeaning("refused: HelseID or PTS denies this client", "stop, look"),
    ExitCode.CONFIGURATION: ExitMeaning(
        "configuration, or a permanent error of the installation, also if a command cannot write "
        "its result to standard output",
        "stop, fix",
    ),
}
"""The meaning of each code. A change here is a breaking change for every cron line and manifest."""
