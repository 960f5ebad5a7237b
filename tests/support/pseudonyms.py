"""Pseudonyms, as docs/security.md defines them, through no code of the program."""

import hashlib
import hmac

LABELS = ("test", "test-internet", "production", "other")


def pseudonym_of(key: bytes, digits: str, label: str = "other") -> str:
    """What stands for a person in a store that was begun under this label."""
    message = f"pts-sync-worker pseudonym 1 {label}\0{digits}".encode()
    return hmac.new(key, message, hashlib.sha256).hexdigest()


def label_of(key: bytes, key_check: str) -> str:
    """The label that a store was begun with, by the check value that it keeps."""
    text = "pts-sync-worker key check value"
    return next(one for one in LABELS if pseudonym_of(key, text, one)[:16] == key_check)
