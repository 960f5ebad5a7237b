"""Runs commands one after another, and counts untested parts.

    python tools/untested.py COMMAND [-- COMMAND ...]

A command that needs a missing program prints a line with NOT TESTED, and pytest prints a line for
skipped tests. With ``CI_STRICT=1``, these lines are errors unless ``.ci/untested`` lists them: a
piece of the text, two spaces, ``#`` and the reason. The last printed line is the number of untested
parts. Exit code 1 if a command failed, or if ``CI_STRICT`` is set and a part is not listed.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

NAMED: Final = Path(__file__).parents[1] / ".ci" / "untested"
COLOUR: Final = re.compile(r"\x1b\[[\d;]*m")
SKIPPED: Final = re.compile(r"SKIPPED \[(\d+)\]")


def split(words: Sequence[str]) -> list[list[str]]:
    """Split the words into commands at each ``--``."""
    commands: list[list[str]] = [[]]
    for word in words:
        if word == "--":
            commands.append([])
        else:
            commands[-1].append(word)
    return [command for command in commands if command]


def run(command: Sequence[str], untested: dict[str, int]) -> int:
    """Run one command, show its output, and record untested parts with their number."""
    # Both streams as one, so that the lines stay in order.
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        for line in process.stdout or ():
            sys.stdout.write(line)
            sys.stdout.flush()
            text = COLOUR.sub("", line).strip()  # pytest colours its lines in CI
            skipped = SKIPPED.match(text)
            if skipped or "NOT TESTED" in text:
                untested[text] = int(skipped[1]) if skipped else 1
    return process.returncode


def named() -> Iterator[str]:
    """The pieces of text that ``.ci/untested`` excuses."""
    for line in NAMED.read_text(encoding="utf-8").splitlines():
        text, separator, reason = line.partition("  # ")
        if separator and text.strip() and reason.strip():
            yield text.strip()


def main(words: Sequence[str]) -> int:
    """Run the commands, and return the exit code."""
    untested: dict[str, int] = {}
    failed = [" ".join(command) for command in split(words) if run(command, untested)]
    excused = tuple(named())
    unnamed = [line for line in untested if not any(text in line for text in excused)]
    is_strict = os.environ.get("CI_STRICT") == "1"
    for command in failed:
        print(f"failed: {command}")
    if is_strict:
        for line in unnamed:
            print(f"not tested, and not named in .ci/untested: {line}")
    print(f"not tested: {sum(untested.values())}")
    return 1 if failed or (is_strict and unnamed) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
