"""Identifies the process that holds a lease, on this machine and across machines."""

import os
import socket
from pathlib import Path

from worker.core.value import Value


class Holder(Value, frozen=True, kw_only=True):
    """A process that may hold a lease.

    Attributes:
        holder_id: unique for each process.
        host: host name, boot id and PID namespace; process ids are comparable only if it is equal.
        process: process id and start time, so that a reused id counts as another process.
    """

    holder_id: str
    host: str
    process: str

    def describe(self) -> str:
        """For messages: host name and process id."""
        return f"{self.host.split('/', 1)[0]}, process {self.process.split(':', 1)[0]}"


def this_process(holder_id: str) -> Holder:
    """The calling process."""
    pid = os.getpid()
    return Holder(holder_id=holder_id, host=_host(), process=f"{pid}:{_start_of(pid)}")


def has_died(host: str, process: str) -> bool:
    """Whether a holder is known to be dead; false if this machine cannot know it."""
    if host != _host():
        return False
    pid_text, _, start = process.partition(":")
    try:
        pid = int(pid_text)
    except ValueError:
        return False
    now = _start_of(pid)
    if now:
        return now != start
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _host() -> str:
    return f"{socket.gethostname()}/{_boot_id()}/{_namespace()}"


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _namespace() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def _start_of(pid: int) -> str:
    """The process's start in clock ticks since boot (proc(5), field 22); empty if it is gone.

    A zombie counts as gone: it will never write again.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
    fields = stat[stat.rindex(")") + 2 :].split()
    return "" if fields[0] in "ZX" else fields[19]
