"""The meaning of each log event, part of the public interface (docs/reference/log-events.md).

A test compares this list with the logging calls.
"""

from typing import Final

MEANINGS: Final = {
    "area.unread": "An area of a person could not be read in this pass. If no later pass reads it, "
    "its last known state is marked stale.",
    "breaker.closed": "A read has succeeded in an area whose circuit breaker was open.",
    "breaker.given_up": "No read of an area succeeded for `sync.patience`. This attempt stops "
    "asking for the area.",
    "breaker.opened": "20 reads of an area failed in a row, or the last read of a pass failed. "
    "Only probes are sent, one every ten seconds.",
    "breaker.probe_failed": "A probe of an open circuit breaker failed.",
    "database.not_encrypted": "The connection to PostgreSQL is not encrypted (`sslmode=disable`).",
    "database.retry": "The database is unavailable. The transaction is retried.",
    "drafts.not_deleted": "The drafts of a run could not be deleted. The next run deletes them.",
    "helseid.attempt_failed": "A call to HelseID failed and is repeated.",
    "helseid.call_denied": "PTS refused a token or its DPoP proof.",
    "helseid.clock_off": "The clock differs from HelseID's by more than 5 s.",
    "helseid.discovery_read": "HelseID's discovery document was read.",
    "helseid.discovery_stale": "The discovery document cannot be read. The cached one is used.",
    "helseid.token_dropped": "PTS no longer accepts a token. The next call requests another.",
    "helseid.token_received": "A new access token. `token_id` is a number, not the token.",
    "lease.not_released": "The lease could not be released. It expires by itself.",
    "lease.waiting": "Another run has the lease. This one waits until it is renewed or expires.",
    "pts.pause": "PTS asked for a pause (`Retry-After`).",
    "pts.retry": "A request to PTS is repeated.",
    "pts.slower": "The rate was halved, because PTS refuses requests.",
    "retention.purged": "Old versions and access log rows were deleted.",
    "retention.unfinished": "Old rows could not be deleted. The run stays published.",
    "roster.line_unreadable": "A roster line is not an identifier. `where` is the file and line.",
    "run.failed": "The run could not start, or lost its lease. It has no `run.summary`.",
    "run.heartbeat": "Progress, every minute, if standard error is not a terminal.",
    "run.interrupted": "The run stopped. The next one continues it.",
    "run.judged": "The guard's decision, with its figures.",
    "run.not_recorded": "The result of the run could not be written to the ledger.",
    "run.pass_started": "The second or third pass: first reads that would close a restriction are "
    "confirmed, and failed reads are repeated.",
    "run.started": "A run started, or continues an open one.",
    "run.stopping": "The run stops: on request, by its deadline, or by an error.",
    "run.summary": "The end of a run, with every figure. One event per run.",
    "run.withheld": "The guard withheld the run.",
    "schedule.ended": "The schedule has ended.",
    "schedule.retrying": "A scheduled run ended with 4, 69 or 75 and is tried again, at the next "
    "start at the latest.",
    "schedule.run_failed": "A scheduled run ended with a code that is not retried.",
    "schedule.started": "The schedule has started.",
    "schedule.waiting": "The next scheduled start.",
    "telemetry.failed": "Metrics could not be delivered. The run is not affected.",
    "telemetry.no_published_state": "The age of the snapshot could not be read for the metrics.",
}
