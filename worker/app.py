"""The composition root: creates the parts that a command uses from the configuration."""

import math
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Final

import anyio

from worker.config import Loaded
from worker.config.contract_file import load_contract
from worker.config.needs import database_url, required
from worker.config.settings import Settings
from worker.core.area import ResourceArea, area_named
from worker.core.contract import Contract, fingerprints
from worker.core.hosts import is_rehearsal, service_of
from worker.core.identity import PLAIN, Identity, PseudonymKey, pseudonymous
from worker.core.retry import RetryPolicy
from worker.errors import ConfigurationError
from worker.helseid.authorizer import HelseIdAuthorizer, open_helseid
from worker.helseid.client import helseid_client
from worker.helseid.keys import ClientKey, load_client_key
from worker.http.connecting import Proxy, read_proxy
from worker.http.connection import TransportOptions
from worker.http.transport import Transport
from worker.ports import Roster, Runtime
from worker.pts.pace import Pace
from worker.pts.reader import PtsReader
from worker.pts.retrying_client import RetryingClient
from worker.roster.csv_file import CsvRoster
from worker.store.database import PATIENCE_S, Database, open_database
from worker.store.schema.upgrade import check_schema
from worker.store.sqlite import require_file
from worker.tls import client_context
from worker.trusted_files import read_trusted

if TYPE_CHECKING:
    import httpx

REQUEST_TIMEOUT_S: Final = 10.0
"""Time-out of one request to PTS or HelseID, with its response. Longer than any usual response. A
person whose two areas time out twice costs less than a minute."""


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """The configured program. Each context manager closes the resources that it opens.

    Each part raises ``ConfigurationError`` if a required setting is missing or cannot be used.
    """

    loaded: Loaded
    runtime: Runtime

    @property
    def settings(self) -> Settings:
        """The effective configuration."""
        return self.loaded.settings

    def areas(self) -> tuple[ResourceArea, ...]:
        """The areas to read."""
        return tuple(map(area_named, self.settings.sync.areas))

    def contract(self) -> Contract:
        """The contract with PTS. It declares at least the areas of ``sync.areas``."""
        contract = load_contract(self.settings.api.contract_file)
        if missing := [area for area in self.settings.sync.areas if area not in contract]:
            raise ConfigurationError(
                f"api.contract_file: does not declare {' and '.join(missing)}",
                hint="declare it, or remove it from sync.areas",
            )
        return contract

    def contract_fingerprints(self, contract: Contract | None = None) -> str:
        """The fingerprints of the configured areas. Default: the contract in force."""
        return fingerprints(contract or self.contract(), self.settings.sync.areas)

    def terms(self, contract: Contract | None = None) -> str:
        """The contract, PTS and `sync.confirm`. If one of them changes, a run is not continued."""
        service, confirm = service_of(self.base_url()), self.settings.sync.confirm
        return f"{self.contract_fingerprints(contract)} service={service} confirm={confirm}"

    def identity(self) -> Identity:
        """How the store identifies persons."""
        if self.settings.privacy.identity == "plain":
            return PLAIN
        file = required(self.settings, "privacy.pseudonym_key_file")
        try:
            key = PseudonymKey(read_trusted(file, key="privacy.pseudonym_key_file", is_secret=True))
        except ValueError as error:
            raise ConfigurationError(
                f"privacy.pseudonym_key_file: {file}: {error}",
                hint="use the key that the database was created with. Only for a new database, "
                "create one with `pts-worker keys pseudonym --out FILE`",
            ) from error
        return pseudonymous(key)

    def roster(self, *, stdin: BinaryIO | None = None) -> Roster:
        """The configured roster.

        Args:
            stdin: replaces the process's standard input for ``-``.
        """
        roster = self.settings.roster
        if roster.url is None:
            path = required(self.settings, "roster.path")
            return CsvRoster(path, encoding=roster.encoding, stdin=stdin)
        from worker.roster.query import QueryRoster  # noqa: PLC0415 - with SQLAlchemy's engines

        url, query = database_url(self.settings, "roster"), roster.query or ""
        return QueryRoster(url, query, ca_file=self.settings.tls.ca_file)

    @property
    def sends_h_numbers(self) -> bool:
        """Whether H-numbers on the roster are sent to PTS.

        Two organisations may assign the same H-number to two persons, and PTS could not tell them
        apart. NAV's synthetic persons have the same pattern, so test environments need them.
        """
        api = self.settings.api
        return self.settings.roster.send_h_numbers or is_rehearsal(api.environment, api.base_url)

    @asynccontextmanager
    async def database(
        self,
        *,
        checked: bool = True,
        patience_s_max: float = math.inf,
        stop: anyio.Event | None = None,
    ) -> AsyncIterator[Database]:
        """The store's database.

        Args:
            checked: raise an error unless the schema is that of this program version.
            patience_s_max: maximum wait in seconds for an unavailable database.
            stop: ends the wait for an unavailable database.

        Raises:
            ConfigurationError: ``checked``, and the schema is missing, behind or ahead.
            StoppedError: ``stop`` was set while waiting for the database.
        """
        async with open_database(
            database_url(self.settings, "database"),
            self.runtime,
            patience_s=min(PATIENCE_S, patience_s_max),
            idle_s=float(self.settings.lease.ttl_s),
            ca_file=self.settings.tls.ca_file,
            is_group_readable=self.settings.database.group_readable,
            stop=stop,
        ) as database:
            if checked:
                # SQLite would create a missing file, and the error would name a missing schema.
                require_file(database.engine.url, note=self.loaded.missing)
                await check_schema(database)
            yield database

    def client_key(self) -> ClientKey:
        """The client's key at HelseID."""
        return load_client_key(required(self.settings, "helseid.private_jwk_file"))

    @asynccontextmanager
    async def helseid(self, *, key: ClientKey | None = None) -> AsyncIterator[HelseIdAuthorizer]:
        """The HelseID client. Sends no request until a token is needed.

        Args:
            key: replaces the configured key.
        """
        key = key or self.client_key()
        async with self.helseid_http() as http:
            yield open_helseid(self.settings.helseid, key, self.runtime, http)

    def helseid_http(self) -> "httpx.AsyncClient":
        """The HTTP client for HelseID, with the configured proxy. The caller closes it."""
        return helseid_client(self.tls(), attempt_s_max=REQUEST_TIMEOUT_S, proxy=self.proxy())

    @asynccontextmanager
    async def reader(
        self, pace: Pace, contract: Contract | None = None, *, attempts_max: int | None = None
    ) -> AsyncIterator[PtsReader]:
        """The reader of PTS, with the configured limits.

        Args:
            pace: the pace of the requests.
            contract: replaces the contract in force.
            attempts_max: replaces the configured number of attempts.
        """
        sync, base_url = self.settings.sync, self.base_url()
        async with self.helseid() as helseid, self.transport() as transport:
            client = RetryingClient(
                transport=transport,
                authorizer=helseid,
                pace=pace,
                policy=RetryPolicy(attempts_max=attempts_max or sync.retry_attempts),
                runtime=self.runtime,
            )
            yield PtsReader(
                areas=self.areas(),
                contract=contract or self.contract(),
                base_url=base_url,
                client=client,
                runtime=self.runtime,
            )

    def transport(self, server: str = "PTS", *, limit_s: float = REQUEST_TIMEOUT_S) -> Transport:
        """An HTTP transport, which the caller opens.

        Args:
            server: the server's name, for messages.
            limit_s: time-out in seconds of one request and its response.
        """
        options = TransportOptions(server=server, attempt_s_max=limit_s, tls=self.tls())
        return Transport(options, self.proxy())

    def base_url(self) -> str:
        """The base URL of PTS."""
        return str(required(self.settings, "api.base_url"))

    def proxy(self) -> Proxy | None:
        """The configured proxy for requests to other machines, if any."""
        network = self.settings.network
        return read_proxy(network.proxy_url, network.proxy_credentials_file)

    def pace(self) -> Pace:
        """The configured pace of requests."""
        sync = self.settings.sync
        wait_s_max = sync.retry_after_max.total_seconds()
        return Pace(sync.requests_per_second, self.runtime, wait_s_max=wait_s_max)

    def tls(self) -> ssl.SSLContext:
        """TLS that trusts the machine's authorities and the private CA of ``tls.ca_file``."""
        return client_context(self.settings.tls.ca_file)
