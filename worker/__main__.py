"""``python -m worker``, and the console script ``pts-worker``."""

import sys


def main() -> None:
    """Run the command line and exit with its code."""
    from worker.cli import run  # noqa: PLC0415 - so that importing this module costs nothing

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
