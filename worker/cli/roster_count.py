"""Counts the roster, for ``doctor`` and the progress of a run."""

from contextlib import aclosing
from dataclasses import dataclass

from worker.app import App
from worker.core.model import RosterLineError
from worker.masking import masked
from worker.ports import Roster


@dataclass(slots=True, kw_only=True)
class RosterCount:
    """Roster entries, including duplicates, and roster errors.

    Attributes:
        first_fault: the place and problem of the first error, without a value; "" for none.
        not_sent: entries with H-numbers that are not sent to PTS.
    """

    entries: int = 0
    faults: int = 0
    first_fault: str = ""
    h_numbers: int = 0
    not_sent: int = 0

    @property
    def sent(self) -> int:
        """Entries that are sent to PTS."""
        return self.entries - self.not_sent


async def count_roster(app: App, roster: Roster) -> RosterCount:
    """Count the roster.

    Raises:
        RosterError: it cannot be read.
    """
    count = RosterCount()
    async with aclosing(roster.entries()) as lines:
        async for entry in lines:
            if isinstance(entry, RosterLineError):
                count.faults += 1
                place = masked(f"{entry.where}: {entry.problem}")
                count.first_fault = count.first_fault or place
            else:
                count.entries += 1
                count.h_numbers += entry.is_h_number
    count.not_sent = 0 if app.sends_h_numbers else count.h_numbers
    return count
