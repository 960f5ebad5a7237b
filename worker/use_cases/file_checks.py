"""The checks of ``config check`` that ``doctor`` has no need of: files only, no network."""

from worker.app import App
from worker.config import database_url
from worker.core.identity import PLAIN
from worker.use_cases.checks import CheckResult, check_database, check_roster, ok, skip


async def check_pseudonym_key(app: App) -> CheckResult:
    """The key of the pseudonyms can be read and is long enough."""
    identity = app.identity()
    name = app.settings.privacy.pseudonym_key_file
    if identity is PLAIN or name is None:
        return skip("pseudonym key", "privacy.identity is plain")
    return ok("pseudonym key", f"{app.path(name)} can be read")


async def check_certificates(app: App) -> CheckResult:
    """The private CA and the proxy's credentials, where they are configured, can be used."""
    app.tls()
    app.proxy()
    name = app.settings.tls.ca_file
    return ok("certificates", "this machine's" + (f", and {app.path(name)}" if name else ""))


async def check_database_file(app: App) -> CheckResult:
    """A SQLite file is checked as by ``doctor``; of a server only the password is read."""
    url = database_url(app.settings.database, cwd=app.loaded.cwd)
    if not url.startswith("sqlite:"):
        return skip("database", "it is on a server; `pts-worker doctor` asks it")
    return await check_database(app)


async def check_roster_file(app: App) -> CheckResult:
    """A roster file is checked as by ``doctor``; of a query only the password is read."""
    roster = app.settings.roster
    if roster.url is not None:
        database_url(roster, cwd=app.loaded.cwd)
        return skip("roster", "it is a query; `pts-worker doctor` runs it")
    return await check_roster(app)
