"""What passes between the parts, as it prints."""

from worker.core.value import Value


class Pair(Value, frozen=True, kw_only=True):
    hidden = frozenset({"secret"})

    name: str
    secret: str
    count: int | None = None


def test_a_value_shows_its_fields_but_those_that_are_hidden():
    """Printing one by accident prints no secret."""
    assert repr(Pair(name="n", secret="s")) == "Pair(name='n', secret=…, count=None)"
