"""The settings: all sections of the configuration, see ``worker.config.sections``.

A key is accessed as ``settings.<section>.<key>``. Settings are immutable.
"""

from typing import Any

from worker.config.sections.connections import Api, HelseId, Network, Tls
from worker.config.sections.data import Database, Privacy, Retention, Roster
from worker.config.sections.runs import Lease, Log, Schedule, Sync, Telemetry
from worker.core.value import Value


class Settings(Value, frozen=True, kw_only=True):
    """The complete configuration, created by ``worker.config.load``."""

    helseid: HelseId = HelseId()
    api: Api = Api()
    network: Network = Network()
    roster: Roster = Roster()
    database: Database = Database()
    privacy: Privacy = Privacy()
    sync: Sync = Sync()
    retention: Retention = Retention()
    lease: Lease = Lease()
    tls: Tls = Tls()
    log: Log = Log()
    schedule: Schedule = Schedule()
    telemetry: Telemetry = Telemetry()

    def value(self, name: str) -> Any:
        """The value of a key of a fixed section, by its name: ``section.key``."""
        section, _, key = name.partition(".")
        return getattr(getattr(self, section), key)
