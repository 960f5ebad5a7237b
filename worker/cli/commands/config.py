"""``config``: the effective configuration."""

from worker.cli import options

CHECK = """Read the configuration and every file that it names, without the network.

Configuration, client key, pseudonym key, certificates, SQLite database, roster file, and
telemetry.textfile if it is set: one line each, OK, WARN or FAIL, and what to do. Changes nothing.
`pts-worker doctor` also asks HelseID, PTS and the database server.

Exit code: that of the first FAIL (78 configuration, 65 roster), else 0.

`--json`: exit_code, lines (name, state, text, hint, exit_code, details, facts).

Example: `pts-worker config check --config /etc/pts-worker/worker.toml`
"""

SHOW = """Show every key with its value and where it came from.

The origin is a flag, a variable, the file or a default. Secrets are hidden.

`--json`: config_file, keys (key, value, origin).

Example: `pts-worker config show --config /etc/pts-worker/worker.toml`
"""

command = options.group(
    "config", "The configuration: check, show. Example: `pts-worker config check`"
)

options.command("check", CHECK, of=command)

options.command("show", SHOW, of=command)
