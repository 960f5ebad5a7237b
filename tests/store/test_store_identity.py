"""How persons are keyed: settled by a store's first run, refused if it is another way later."""

import random

import msgspec
import pytest

from tests.support.store_world import world_on
from worker.core.identity import PLAIN, NationalId, PseudonymKey, pseudonyms
from worker.errors import ConfigurationError
from worker.store.identity import check_identity, see_identity

pytestmark = [pytest.mark.promise("8"), pytest.mark.promise("12")]


async def test_another_key_is_seen_without_writing(sqlite_url):
    """A store that was not begun takes any key; one that was, its own."""
    async with world_on(sqlite_url) as world:
        database = world.database
        one, two = (pseudonyms(PseudonymKey(random.Random(n).randbytes(32)), None) for n in (1, 2))
        assert await see_identity(database, one) == one
        lease = await world.lease()
        assert await check_identity(lease, one) == one
        assert await see_identity(database, one) == one
        for another in (two, PLAIN):
            with pytest.raises(ConfigurationError, match="privacy"):
                await see_identity(database, another)
            with pytest.raises(ConfigurationError, match="privacy"):
                await check_identity(lease, another)


async def test_a_store_keeps_the_label_that_it_was_begun_with(sqlite_url):
    """The key is its own, and gives the pseudonyms that it gave."""
    key = PseudonymKey(random.Random(1).randbytes(32))
    first, now = (pseudonyms(key, name) for name in ("test", "production"))
    async with world_on(sqlite_url) as world:
        lease = await world.lease()
        await check_identity(lease, first)
        for settled in (
            await check_identity(lease, now),
            await see_identity(world.database, now),
        ):
            off_id = NationalId("16858399649")
            assert settled.person_key(off_id) == key.under("test").pseudonym(off_id)
            assert settled.person_key(off_id) != now.person_key(off_id)


async def test_a_key_that_may_be_guessed(sqlite_url):
    """No store begins with one; one that was begun with it goes on, with a warning each time."""
    weak = pseudonyms(PseudonymKey(b"0" * 32), None)
    async with world_on(sqlite_url) as world:
        lease = await world.lease()
        for check in (
            lambda: see_identity(world.database, weak),
            lambda: check_identity(lease, weak),
        ):
            with pytest.raises(ConfigurationError, match="no new database"):
                await check()
        begun = msgspec.structs.replace(weak, weakness="")
        await check_identity(lease, begun)
        assert await check_identity(lease, weak) == weak
        assert await see_identity(world.database, weak) == weak
