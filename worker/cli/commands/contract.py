"""``contract``: what is declared of PTS's answers."""

import click

from worker.cli import options

SHOW = """Print the contract with PTS that is in force, as TOML, complete.

Every key stands there, also those that have their default value. It is what `api.contract_file`
takes, and what the program comes with if that is not set.

`--json`: origin (the file, or null for the program's own), fingerprints (by area), contract.

Example: `pts-worker contract show`
"""

command = options.group(
    "contract",
    "The contract with PTS: show it, or make one. Example: `pts-worker contract show`",
)

options.command("show", SHOW, of=command)

FROM_OPENAPI = """Make a contract of NHN's OpenAPI 3 document, in JSON.

The search operations (POST, a path that ends in `_search`) of both areas are read: the request's
identifier, the list of records and what stands around it, and the records' fields, which become
columns by their names. What is a guess is marked `# proposal`, and what no column takes stands
below `extra` as a comment. A field around the records that may speak of further records is left
out, so that answers with it are refused until somebody declares it. Live answers prove it:
`pts-worker doctor --probe`.

It prints the contract, with the differences to the one in force as comments, or writes it to a new
file (`--out FILE`, for `api.contract_file`).

`--json`: file, areas (facts, fields: field, kinds, records, becomes; empty), proposals, contract,
differences.

Example: `pts-worker contract from-openapi pts.json --out pts.toml`
"""

LEARN = """Propose a contract by live answers for some persons.

Their identifiers stand on standard input, one a line: synthetic persons who have restrictions, 100
at most. The request is that of the contract in force, and only the first page of each answer is
read. What is shown is names of fields, their kinds and in how many records they stand, never a
value; of a refusal (4xx) the names of its fields. Proposals are marked as by `from-openapi`.

It prints the contract, with the differences to the one in force as comments, or writes it to a new
file (`--out FILE`, for `api.contract_file`). Exit code 65 if no answer could be used.

`--json`: as of `from-openapi`.

Example: `pts-worker contract learn --out pts.toml < synthetic.txt`
"""

_OUT = click.option(
    "--out",
    type=options.FilePath(),
    metavar="FILE",
    help="Write it to this file, which must not exist.",
)

options.command(
    "from-openapi",
    FROM_OPENAPI,
    click.argument("file", type=options.FilePath(), metavar="FILE"),
    _OUT,
    of=command,
)

options.command("learn", LEARN, _OUT, of=command)
