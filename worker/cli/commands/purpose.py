"""``--purpose``: why a person is looked at, for the access log."""

from typing import Final

import click

from worker.errors import UsageError
from worker.masking import mask_identifiers

_PURPOSE_CHARACTERS_MAX: Final = 200
_PURPOSE_LETTERS_MIN: Final = 2


def checked_purpose(purpose: str | None) -> str | None:
    """The purpose as it is kept, without blanks around it; None for none.

    Raises:
        UsageError: it is blank, says nothing, is long, holds control characters or an identifier.
            Not repeated.
    """
    if purpose is None:
        return None
    text = purpose.strip()
    if not text:
        raise UsageError("--purpose is blank", hint="say why, or leave the option out")
    if len(text) > _PURPOSE_CHARACTERS_MAX:
        raise UsageError(
            f"--purpose has {len(text):,} characters",
            hint=f"give one line of at most {_PURPOSE_CHARACTERS_MAX}; a case number, say",
        )
    if not text.isprintable():
        raise UsageError(
            "--purpose holds line breaks, control characters or others that are not printed",
            hint=f"give one line of at most {_PURPOSE_CHARACTERS_MAX} printable characters",
        )
    if sum(map(str.isalnum, text)) < _PURPOSE_LETTERS_MIN:
        raise UsageError(
            f"--purpose says nothing: it has fewer than {_PURPOSE_LETTERS_MIN} letters or digits",
            hint="give a case number, say",
        )
    if mask_identifiers(text) != text:
        raise UsageError(
            "--purpose: this holds an identifier, which every process of the machine can read here",
            hint="give a case number; the access log names the person by itself",
        )
    return text


purpose_option = click.option(
    "--purpose",
    metavar="TEXT",
    callback=lambda _context, _parameter, value: checked_purpose(value),
    help="Why, for the access log; a case number, say. No identifier.",
)
