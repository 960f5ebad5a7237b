"""Access control lists as ``setfacl`` makes them (acl(5)), without that program."""

import os
import struct
from pathlib import Path
from typing import Final

_OWNER, _USER, _OWN_GROUP, _MASK, _OTHER = 0x01, 0x02, 0x04, 0x10, 0x20
_NOBODY: Final = 0xFFFFFFFF


def set_list(path: Path, rights: int, *, number: int, is_default: bool = False) -> None:
    """Let one user have these rights (bits of a mode), and the owning group none.

    Args:
        path: whose owner has all rights.
        rights: also the mask, so the mode shows them as the group's.
        number: of the user.
        is_default: of new files in the folder.
    """
    entries = [
        (_OWNER, 7, _NOBODY),
        (_USER, rights, number),
        (_OWN_GROUP, 0, _NOBODY),
        (_MASK, rights, _NOBODY),
        (_OTHER, 0, _NOBODY),
    ]
    packed = struct.pack("<I", 2) + b"".join(
        struct.pack("<HHI", *entry) for entry in sorted(entries)
    )
    which = "default" if is_default else "access"
    os.setxattr(path, f"system.posix_acl_{which}", packed)
