"""Ask 254 hosts at once whether they are there, and say which are not.

usage: ping_254.py [PREFIX]

PREFIX is the beginning of their names, to which 1 to 254 are added: 192.168.1. without one.
"""

import asyncio
import sys
import time

import rcmd


async def main() -> int:
    """Runs `true` on all hosts at once and returns 0 if all of them did."""
    prefix = sys.argv[1] if len(sys.argv) > 1 else "192.168.1."
    hosts = [f"{prefix}{number}" for number in range(1, 255)]
    began = time.monotonic()
    results = await rcmd.aio.run_many(hosts, ["true"], fanout=254, timeout=20)
    for result in results:
        if result.returncode != 0:
            print(f"{result.host}: {result.error or result.returncode}")
    there = sum(result.returncode == 0 for result in results)
    print(f"{there} of {len(results)} hosts are there ({time.monotonic() - began:.1f} s)")
    return 0 if there == len(results) else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
