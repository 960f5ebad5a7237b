"""The meaning of each exit code, part of the public interface (docs/reference/exit-codes.md)."""

from typing import Final, NamedTuple

from worker.errors import ExitCode


class ExitMeaning(NamedTuple):
    """The meaning of an exit code, and the scheduler's reaction."""

    text: str
    scheduler: str


EXIT_MEANINGS: Final = {
    ExitCode.OK: ExitMeaning(
        "published, and every person sent to PTS was read in every area", "\N{EN DASH}"
    ),
    ExitCode.USAGE: ExitMeaning("wrong usage", "fix the call"),
    ExitCode.GAPS: ExitMeaning(
        "published with gaps: some person-areas could not be read, and their last known state is "
        "marked stale. From `status --max-age`: the last publication of a full run is older",
        "look at `failures list`, or at the reason why no run was published",
    ),
    ExitCode.LEASE_HELD: ExitMeaning("another run has the lease. Nothing was done", "nothing"),
    ExitCode.WITHHELD: ExitMeaning(
        "withheld: too many restrictions would close or lose a value, too many persons are missing "
        "from the roster, or too little was read. The last publication remains",
        "wait for a person's decision",
    ),
    ExitCode.DATA_CONTRACT: ExitMeaning(
        "data contract: the roster cannot be read, or no answer of PTS is as declared",
        "stop, look",
    ),
    ExitCode.UNAVAILABLE: ExitMeaning(
        "HelseID, PTS or the database is unavailable after all retries, or another server answers "
        "for PTS (an HTML page with status 200)",
        "retry later",
    ),
    ExitCode.BUG: ExitMeaning("a bug", "report it"),
    ExitCode.STOPPED: ExitMeaning(
        "stopped on request or by its deadline. Its reads are kept, and the next run continues",
        "run again",
    ),
    ExitCode.REFUSED: ExitMeaning("refused: HelseID or PTS denies this client", "stop, look"),
    ExitCode.CONFIGURATION: ExitMeaning(
        "configuration, or a permanent error of the installation, such as a standard output that "
        "cannot be written",
        "stop, fix",
    ),
}
"""The meaning of each code. A change here is a breaking change for every cron line and manifest."""
