"""Notifications to systemd (sd_notify(3)): ready, status, alive, stopping."""

import os
import socket
from collections.abc import Mapping
from contextlib import suppress


class Notifier:
    """Sends to the socket in ``$NOTIFY_SOCKET``; does nothing where there is none.

    Attributes:
        watchdog_s: systemd expects ``WATCHDOG=1`` at least this often, in seconds; None: never.
    """

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        # "@" is the null byte of an abstract socket (unix(7)).
        self._address = "\0" + address[1:] if address.startswith("@") else address
        microseconds = environ.get("WATCHDOG_USEC", "")
        is_for_us = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        is_number = microseconds.isascii() and microseconds.isdigit()
        self.watchdog_s = int(microseconds) / 1e6 if is_number and is_for_us else None

    def send(self, *assignments: str, wait_s: float = 0.0) -> None:
        """Send e.g. ``READY=1``. A manager that does not listen is no error.

        Args:
            assignments: are sent together.
            wait_s: seconds to wait, and to block the event loop, if the socket is full.
        """
        if not self._address:
            return
        text = "\n".join(one.replace("\n", " ") for one in assignments)
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
            client.settimeout(wait_s)
            client.sendto(text.encode(), self._address)


def leave_reason(text: str) -> None:
    """Leave in the unit's status why a command failed: ``pts-alert@.service`` reads it there."""
    Notifier().send(f"STATUS={text}")
