"""Types docs/install-server.md and docs/database.md into a fresh Debian: systemd, cron, offline.

``make install-test``: needs root, mmdebstrap, Debian's mirror and a package index; a minute. Where
no root can be made it says ``NOT TESTED`` and why, and ends with 0.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.support.deployment.fresh_root import UntestableError, make_root, run
from tests.support.documents import DATABASE, INSTALL, blocks, section

CHECKS: Final = {
    "systemd": """
        id pts-worker && test -x /usr/local/sbin/pts-admin
        systemd-analyze verify --man=no /etc/systemd/system/pts-*.service
    """,
    "cron": """
        pts-worker keys new --out helseid.jwk.json >/dev/null
        chgrp pts-worker * && chmod 0440 *
        pts-admin db upgrade && pts-admin status
        logrotate --debug /etc/logrotate.d/pts-worker
        test "$(stat -c %U:%a /var/lib/pts-worker/pts.db)" = pts-worker:600
    """,
}
"""What must work afterwards."""


def main() -> None:
    """Follow the page, or say why it cannot be followed here."""
    try:
        _follow()
    except UntestableError as error:
        sys.stdout.write(f"NOT TESTED: the install commands on a clean Debian: {error}\n")


def _follow() -> None:
    """Both ways, each in a root of its own; then the package without an index or a network."""
    page = INSTALL.read_text(encoding="utf-8")
    common, systemd, cron, offline, *_ = blocks(section(page, "Install"), "sh")
    keys, *_ = blocks(section(page, "Keys"), "sh")
    database = DATABASE.read_text(encoding="utf-8")
    backup, _ = blocks(section(database, "Back up"), "sh")
    restore, _ = blocks(section(database, "Restore"), "sh")
    restore = re.sub(r"\d{4}-\d\d-\d\d", "$(date +%F)", restore)
    lost = f"{backup}\nrm /var/lib/pts-worker/pts.db\n{restore}"
    with tempfile.TemporaryDirectory(prefix="pts-root-") as name:
        first = Path(name, "systemd")
        make_root(first)
        run(first, f"cd /checkout\n{common}")
        subprocess.run(["cp", "--archive", first, Path(name, "cron")], check=True)  # devices too
        for way, commands in (("systemd", systemd), ("cron", cron)):
            run(Path(name, way), f"cd /checkout\n{commands}\n{keys}\n{CHECKS[way]}")
        run(Path(name, "cron"), lost.replace("sudo ", ""))  # there is none, nor a need for it
        run(first, "cd /checkout && make wheelhouse && python3 -m venv --clear /opt/pts-worker")
        run(first, f"cd /checkout/dist\n{offline}\npts-worker --version", has_network=False)
    sys.stdout.write(
        "the page can be followed on a clean Debian: systemd, cron, backup and restore, offline\n"
    )


if __name__ == "__main__":
    main()
