"""The signals that ask the program to stop."""

import signal


def stop_signals() -> tuple[signal.Signals, ...]:
    """SIGTERM, SIGINT and, for a terminal that was closed, SIGHUP.

    SIGHUP is left out if it is ignored: a command under nohup(1) outlives its terminal.
    """
    is_ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    return (signal.SIGTERM, signal.SIGINT, *(() if is_ignored else (signal.SIGHUP,)))
