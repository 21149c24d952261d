"""Runs a line COUNT times over one connection, AT_ONCE at a time: rate, median ms, 99th percentile ms."""
import asyncio
import sys
import time

import asyncssh

port, user, key, known_hosts, at_once, count, line = sys.argv[1:]


async def main():
    connection = await asyncssh.connect(
        "127.0.0.1", int(port), username=user, client_keys=[key], known_hosts=known_hosts, config=None
    )
    took = []
    left = iter(range(int(count)))

    async def worker():
        for _ in left:
            began = time.perf_counter()
            await connection.run(line, check=True)
            took.append((time.perf_counter() - began) * 1e3)

    began = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(int(at_once))))
    rate = len(took) / (time.perf_counter() - began)
    took.sort()
    print(rate, took[len(took) // 2], took[len(took) * 99 // 100])
    connection.close()


asyncio.run(main())
