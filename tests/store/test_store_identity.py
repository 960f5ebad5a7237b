"""How persons are keyed: settled by a store's first run, refused if it is another way later."""

import random

import pytest

from tests.support.store_world import world_on
from worker.core.identity import NationalId, PseudonymKey, pseudonyms
from worker.store.identity import check_identity, see_identity

pytestmark = [pytest.mark.promise("8"), pytest.mark.promise("12")]


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
