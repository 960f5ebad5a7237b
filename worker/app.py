"""The composition root: the only module that knows both the run and the adapters."""

import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

import anyio
import structlog

from worker.areas import AREAS
from worker.config import Loaded, Settings, database_url
from worker.core.area import ResourceArea
from worker.core.guard import GuardLimits
from worker.core.identity import Identity, NationalId, PseudonymKey
from worker.core.model import RunKind, RunStatus
from worker.core.overrides import with_overrides
from worker.core.retry import RetryPolicy
from worker.core.run import RunProgress, RunReport
from worker.core.sharding import Part, per_hour
from worker.errors import ConfigurationError, WorkerError
from worker.helseid.authorizer import HelseId, open_helseid
from worker.helseid.keys import ClientKey, load_client_key
from worker.helseid.options import HelseIdOptions
from worker.helseid.transport import helseid_client
from worker.ports import Authorizer, Roster, Runtime
from worker.pts.reader import PtsReader
from worker.pts.sending import Sender
from worker.pts.throttle import Throttle
from worker.pts.wire import WireOptions, open_wire
from worker.roster import open_roster
from worker.store.database import Database, open_database
from worker.store.holding import held_lease
from worker.store.lease import Lease
from worker.store.ledger import check_identity, key_paths
from worker.store.opening import open_part_store, open_run_store
from worker.store.retention import RetentionRules, purge
from worker.store.run_store import Choice, SqlRunStore
from worker.store.schema import check_schema
from worker.store.shard_store import ShardRunStore
from worker.store.shards import refuse_sqlite
from worker.sync.keys import KeyBook
from worker.sync.options import RunOptions
from worker.sync.run import Run
from worker.sync.share import RateShare, SharingAuthorizer, wait_for_share
from worker.tls import client_context

log = structlog.get_logger(__name__)

_ROSTER_AREAS: Final = {area.name: area for area in AREAS}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """What a command asks for.

    Attributes:
        kind: the whole roster, or a subset.
        roster: instead of the configured one.
        areas: instead of ``sync.areas``; empty: those.
        choice: what a backfill picks out of the roster.
        accept_removals: a person has decided that the removals are right.
        wait_s: how long to wait for the lease.
        part: one shard of a run that several processes share; ``None``: the whole run.
    """

    kind: RunKind = RunKind.SYNC
    roster: Roster | None = None
    areas: tuple[str, ...] = ()
    choice: Choice | None = None
    accept_removals: bool = False
    wait_s: float = 0.0
    part: Part | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """The configured program. Everything that it opens is closed where it was opened."""

    loaded: Loaded
    runtime: Runtime

    @property
    def settings(self) -> Settings:
        """The effective configuration."""
        return self.loaded.settings

    def path(self, name: str | Path) -> Path:
        """A configured file name, from the directory that relative names start from."""
        return self.loaded.cwd / name

    def areas(self, names: Sequence[str] = ()) -> tuple[ResourceArea, ...]:
        """The declarations of the areas to read, with what the configuration overrides.

        Raises:
            ConfigurationError: an override cannot be used.
        """
        overrides = self.settings.area_overrides()
        found = []
        for name in names or self.settings.sync.areas:
            try:
                found.append(with_overrides(_ROSTER_AREAS[name], overrides.get(name, {})))
            except ValueError as fault:
                raise ConfigurationError(f"areas.{name}: {fault}") from fault
        return tuple(found)

    def identity(self) -> Identity:
        """How persons are keyed.

        Raises:
            ConfigurationError: the pseudonym key is missing or too short.
        """
        privacy = self.settings.privacy
        if privacy.identity == "plain":
            return Identity(mode="plain", person_key=NationalId.reveal, key_check="")
        if privacy.pseudonym_key_file is None:
            raise ConfigurationError(
                "privacy.pseudonym_key_file is not set",
                hint="make one with `pts-worker keys pseudonym --out FILE`",
            )
        try:
            key = PseudonymKey(self.path(privacy.pseudonym_key_file).read_bytes())
        except OSError as fault:
            raise ConfigurationError(
                f"privacy.pseudonym_key_file: the file cannot be read ({fault.strerror})"
            ) from fault
        except ValueError as fault:
            raise ConfigurationError(f"privacy.pseudonym_key_file: {fault}") from fault
        return Identity(mode="pseudonym", person_key=key.pseudonym, key_check=key.check_value())

    def roster(self) -> Roster:
        """The configured roster.

        Raises:
            ConfigurationError: none is configured.
        """
        roster = self.settings.roster
        if roster.path is not None:
            return open_roster(path=roster.path if roster.path == "-" else self.path(roster.path))
        url = database_url(roster, cwd=self.loaded.cwd) if roster.url is not None else None
        return open_roster(url=url, query=roster.query)

    @asynccontextmanager
    async def database(self, *, checked: bool = True) -> AsyncIterator[Database]:
        """The store's database.

        Raises:
            SchemaError: ``checked``, and the schema is missing, behind or ahead.
        """
        url = database_url(self.settings.database, cwd=self.loaded.cwd)
        idle_s = float(self.settings.lease.ttl_s)
        patience_s = self.settings.database.patience_s
        async with open_database(
            url, self.runtime, patience_s=patience_s, idle_s=idle_s
        ) as database:
            if checked:
                await check_schema(database)
            yield database

    @asynccontextmanager
    async def helseid(self, tls: ssl.SSLContext | None = None) -> AsyncIterator[HelseId]:
        """The HelseID client. Nothing is called before it is needed.

        Args:
            tls: whom to trust, where it is made already.

        Raises:
            ConfigurationError: the key, the options or the private CA cannot be used.
        """
        chosen = self.settings.helseid
        if chosen.private_jwk_file is None:
            raise ConfigurationError("helseid.private_jwk_file is not set")
        key = load_client_key(
            self.path(chosen.private_jwk_file),
            alg=chosen.private_key_alg,
            kid=chosen.private_key_kid,
        )
        options = self.helseid_options(key)
        async with helseid_client(tls or self.tls(), attempt_s_max=options.attempt_s_max) as http:
            yield open_helseid(options, key, self.runtime, http)

    def helseid_options(self, key: ClientKey) -> HelseIdOptions:
        """What the configuration says of the client; what it leaves out, the key's file may say."""
        chosen = self.settings.helseid
        return HelseIdOptions(
            issuer=chosen.issuer or "",
            client_id=chosen.client_id or key.client_id_hint or "",
            scope=chosen.scope,
            sender_constraint=chosen.sender_constraint,
            grant=chosen.grant,
            subject_token_file=(
                self.path(chosen.subject_token_file) if chosen.subject_token_file else None
            ),
            organization_parent=chosen.organization_parent,
            organization_child=chosen.organization_child,
            tenancy=chosen.tenancy,
            assertion_lifetime_s=chosen.assertion_lifetime_s,
            attempt_s_max=self.settings.sync.request_timeout_s,
        )

    @asynccontextmanager
    async def reader(
        self,
        areas: Sequence[ResourceArea],
        *,
        throttle: Throttle | None = None,
        share: RateShare | None = None,
    ) -> AsyncIterator[PtsReader]:
        """Reads PTS with the configured limits.

        Args:
            areas: what to read.
            throttle: the pace, instead of one of the reader's own.
            share: of the ceiling on requests, if other processes have one too.

        Raises:
            ConfigurationError: something that it needs is not set or cannot be used.
        """
        sync = self.settings.sync
        if self.settings.api.base_url is None:
            raise ConfigurationError("api.base_url is not set", hint="or set api.environment")
        tls = self.tls()
        wire_options = WireOptions(
            attempt_s_max=sync.request_timeout_s, silence_s_max=sync.request_timeout_s, tls=tls
        )
        async with AsyncExitStack() as stack:
            helseid = await stack.enter_async_context(self.helseid(tls))
            wire = await stack.enter_async_context(open_wire(wire_options))
            authorizer: Authorizer = helseid.authorizer
            if share is not None:
                authorizer = SharingAuthorizer(authorizer, share)
            sender = Sender(
                wire=wire,
                authorizer=authorizer,
                throttle=throttle or self._throttle(),
                policy=RetryPolicy(attempts_max=sync.retry_attempts),
                runtime=self.runtime,
            )
            yield PtsReader(
                areas=areas,
                base_url=self.settings.api.base_url,
                sender=sender,
                runtime=self.runtime,
                pseudonymous=self.settings.privacy.identity == "pseudonym",
                pages_max=sync.max_pages,
            )

    def _throttle(self) -> Throttle:
        sync = self.settings.sync
        return Throttle(sync.requests_per_second, self.runtime, concurrency=sync.concurrency)

    async def run(
        self,
        request: RunRequest,
        *,
        stop: anyio.Event,
        changed: Callable[[RunProgress], None] | None = None,
    ) -> RunReport:
        """One run, from the lease to its end.

        Args:
            request: what to read.
            stop: set it to stop the run.
            changed: called when the progress has changed.

        Raises:
            LeaseHeldError: another run is on; nothing was done.
            LeaseLostError: another holder took over.
            WithheldError: the run of this key was withheld before.
            WorkerError: the run could not begin.
        """
        areas = self.areas(request.areas)
        identity = self.identity()
        roster = request.roster or self.roster()
        async with AsyncExitStack() as stack:
            database = await stack.enter_async_context(self.database())
            throttle = self._throttle()
            share = None if request.part is None else self._share(database, throttle, request.part)
            reader = await stack.enter_async_context(
                self.reader(areas, throttle=throttle, share=share)
            )
            lease = await stack.enter_async_context(
                held_lease(
                    database,
                    ttl_s=self.settings.lease.ttl_s,
                    part=request.part,
                    wait_s=request.wait_s,
                    stop=stop,
                )
            )
            await check_identity(database, identity=identity.mode, key_check=identity.key_check)
            if request.part is None or share is None:
                store = await self._run_store(database, lease, request, areas)
            else:
                found = await self._part_store(database, lease, request.part, areas, share)
                if isinstance(found, RunReport):
                    return found
                store = found
                await wait_for_share(store, share, self.runtime, stop)
            known = await key_paths(database, lease.tenant_id)
            run = Run(
                roster=roster,
                reader=reader,
                store=store,
                keys=KeyBook(dict(known)),
                person_key=identity.person_key,
                options=self._options(accept_removals=request.accept_removals),
                runtime=self.runtime,
                stop=stop,
                cost=reader.stats,
            )
            if changed is not None:
                run.changed = changed
            report = await run.carry_out()
            if report.status == RunStatus.PUBLISHED and report.kind == RunKind.SYNC:
                await self._forget_old(database, lease, stop)
            return report

    async def _forget_old(self, database: Database, lease: Lease, stop: anyio.Event) -> None:
        """Apply the retention settings. The run is published, whatever becomes of this."""
        kept = self.settings.retention
        rules = RetentionRules(versions=kept.versions, runs=kept.runs)
        try:
            purged = await purge(database, lease, rules, is_stopping=stop.is_set)
        except WorkerError as fault:
            log.error("retention.unfinished", reason=fault.message, hint=fault.hint)  # noqa: TRY400
            return
        if purged.versions or purged.runs:
            log.info("retention.purged", versions=purged.versions, runs=purged.runs)

    async def _run_store(
        self,
        database: Database,
        lease: Lease,
        request: RunRequest,
        areas: Sequence[ResourceArea],
    ) -> SqlRunStore:
        return await open_run_store(
            database,
            lease,
            kind=request.kind,
            areas=tuple(area.name for area in areas),
            continue_within=self.settings.sync.continue_within,
            choice=request.choice,
        )

    def _share(self, database: Database, throttle: Throttle, part: Part) -> RateShare:
        """This shard's share of the ceiling on requests; none yet.

        Raises:
            ConfigurationError: shards cannot be, or not so many.
        """
        refuse_sqlite(database)
        ceiling = per_hour(self.settings.sync.requests_per_second)
        if ceiling < part.shard.count:
            raise ConfigurationError(
                f"sync.requests_per_second: too low to be divided among {part.shard.count} shards"
            )
        return RateShare(throttle, ceiling, self.runtime)

    async def _part_store(
        self,
        database: Database,
        lease: Lease,
        part: Part,
        areas: Sequence[ResourceArea],
        share: RateShare,
    ) -> ShardRunStore | RunReport:
        """The store of this shard; or how its run ended, if it is over."""
        found = await open_part_store(
            database,
            lease,
            part,
            areas=tuple(area.name for area in areas),
            continue_within=self.settings.sync.continue_within,
            budget=share,
        )
        if isinstance(found, RunReport):
            log.info("run.over", run=found.run_id, shard=str(part.shard))
        return found

    def _options(self, *, accept_removals: bool) -> RunOptions:
        sync = self.settings.sync
        return RunOptions(
            persons_concurrent=sync.concurrency,
            batch_persons=sync.batch_persons,
            renew_s=self.settings.lease.ttl_s / 5,
            deadline_s=seconds_of(sync.deadline),
            limits=GuardLimits(
                max_removed_share=sync.max_removed_share,
                min_completeness=sync.min_completeness,
                accept_removals=accept_removals,
            ),
        )

    def tls(self) -> ssl.SSLContext:
        """Whom to trust: the machine's authorities, and the private one of ``tls.ca_file``.

        Raises:
            ConfigurationError: that file cannot be used.
        """
        name = self.settings.tls.ca_file
        return client_context(None if name is None else self.path(name))


def seconds_of(duration: timedelta | None) -> float | None:
    """A configured duration in seconds."""
    return None if duration is None else duration.total_seconds()
