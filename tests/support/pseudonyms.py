"""Pseudonyms, as docs/data-protection.md defines them, through no code of the program."""

import hashlib
import hmac


def pseudonym_of(key: bytes, digits: str) -> str:
    """What stands for a person in a store."""
    return hmac.new(key, digits.encode(), hashlib.sha256).hexdigest()
