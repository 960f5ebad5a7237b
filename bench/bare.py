"""The bare loop that the worker is compared with: ``python -m bench.bare``.

Two signed POSTs a person with aiohttp, the answer read and decoded, and that is all: no HelseID, no
store, no change detection, no retry, no pace. The proofs are made by the worker's own
``ProofKey``, so that the signing costs the same. It runs on asyncio's own loop, as that of the
performance reference does, or on uvloop, as the worker does.
"""

import argparse
import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp
import orjson
import uvloop

from bench.standin import TOKEN
from worker.config.contract_file import load_contract
from worker.helseid.dpop import ProofKey, token_hash

LOOPS: Final[Mapping[str, Callable[[Coroutine[Any, Any, int]], int]]] = {
    "asyncio": asyncio.run,
    "uvloop": uvloop.run,
}


def persons(roster: Path) -> Iterator[str]:
    """The identifiers of a roster, line by line."""
    with roster.open(encoding="utf-8") as lines:
        next(lines)
        for line in lines:
            yield line.partition(",")[0]


@asynccontextmanager
async def session(concurrency: int) -> AsyncIterator[aiohttp.ClientSession]:
    """A lean client: no cookies, no time-out, one connection for each reader."""
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=concurrency),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None),
        auto_decompress=False,
    ) as made:
        yield made


async def loop(base_url: str, roster: Path, concurrency: int) -> int:
    """Read everyone; the number of objects that were answered."""
    key, ath = ProofKey(), token_hash(TOKEN)
    calls = [(base_url + area.path, area.headers) for area in load_contract(None).values()]
    authorization = f"DPoP {TOKEN}"
    waiting = persons(roster)
    objects = 0

    async def read(http: aiohttp.ClientSession) -> None:
        nonlocal objects
        for person in waiting:
            body = orjson.dumps({"offId": person})
            for url, more in calls:
                proof = key.proof(
                    "POST",
                    url,
                    iat=int(time.time()),
                    jti=str(uuid.uuid4()),
                    access_token_hash=ath,
                )
                headers = {
                    "Authorization": authorization,
                    "DPoP": proof,
                    "Content-Type": "application/json",
                    "Accept": "application/json",
                    **more,
                }
                async with http.post(url, data=body, headers=headers) as answer:
                    answer.raise_for_status()
                    objects += len(orjson.loads(await answer.read()))

    async with session(concurrency) as http, asyncio.TaskGroup() as tasks:
        for _ in range(concurrency):
            tasks.create_task(read(http))
    return objects


def main(arguments: Sequence[str] | None = None) -> None:
    """See the module."""
    parser = argparse.ArgumentParser(prog="bench.bare", description=__doc__)
    parser.add_argument("--base-url", required=True)
    parser.add_argument("--roster", type=Path, required=True)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--loop", choices=LOOPS, default="asyncio")
    chosen = parser.parse_args(arguments)
    run = LOOPS[chosen.loop]
    print(run(loop(chosen.base_url, chosen.roster, chosen.concurrency)))


if __name__ == "__main__":
    main()
