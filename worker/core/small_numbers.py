"""How a count is shown, because few persons stand behind it.

One rule for every count and every movement, totals too, so that no number can be subtracted from
another to find a small one. What it does not hide: a count that crosses a step of five between two
reports shows that it moved.
"""

from typing import Final

from worker.core.value import Value

LEAST: Final = 5
"""The number of persons from which a count is shown, where nobody has said another."""
OFF: Final = 0
"""The limit that shows every count as it is."""
LEAST_MIN: Final = 3
"""Below 2 there is only 1, so that a lower limit would name what it hides."""
_STEP: Final = 5


class SmallNumbers(Value, frozen=True):
    """The rule with its limit: ``OFF``, or ``LEAST_MIN`` and more."""

    least: int = LEAST

    @property
    def step(self) -> int:
        """The smallest difference between two counts as they are shown."""
        return 1 if self.least == OFF else _STEP

    def shown(self, count: int, persons: int | None = None) -> int | None:
        """The count as it is shown, rounded to five; None if fewer persons than the limit have it.

        Args:
            persons: how many persons stand behind it; None: ``count`` of them.
        """
        if self.least == OFF or count == 0:
            return count
        if min(count, persons or count) < self.least:
            return None
        return max(_STEP, (count + _STEP // 2) // _STEP * _STEP)
