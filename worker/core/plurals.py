"""Numbers with their nouns."""


def counted(count: int, noun: str) -> str:
    """The number and its noun: ``1 person``, ``1,200 persons``."""
    return f"{count:,} {noun if count == 1 else noun + 's'}"
