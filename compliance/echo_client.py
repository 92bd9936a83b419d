"""The echo client that the Autobahn suite tests: one connection per case, until all are done."""

import argparse
import asyncio
import ssl

import wsfast

# Cases 9.1.6 and 9.2.6 send messages of exactly 16 MiB, and want them back.
OPTIONS = {
    "max_size": 2**24,
    "max_write_buffer": 2**25,
    "ping_interval": None,
}


async def run_case(url):
    async with wsfast.connect(url, **OPTIONS) as ws:
        try:
            async for message in ws:
                await ws.send(message)
        except wsfast.ConnectionClosed:
            # Most cases end in a failure that the suite asked for, and it is the suite that judges.
            pass


async def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", help="the fuzzing server, as in ws://127.0.0.1:9001")
    parser.add_argument("agent", help="the name that the reports give this client")
    parser.add_argument("--driver", choices=["epoll", "asyncio"], help="instead of the best")
    parser.add_argument("--ca", help="the authority to trust, for TLS")
    args = parser.parse_args()
    OPTIONS["driver"] = args.driver
    if args.ca is not None:
        # One context, so that the suite also sees what comes on a resumed session.
        OPTIONS["ssl"] = ssl.create_default_context(cafile=args.ca)
    print("backend", wsfast.BACKEND, flush=True)
    async with wsfast.connect(f"{args.url}/getCaseCount", **OPTIONS) as ws:
        count = int(await ws.recv())
    for case in range(1, count + 1):
        await run_case(f"{args.url}/runCase?case={case}&agent={args.agent}")
    await run_case(f"{args.url}/updateReports?agent={args.agent}")


if __name__ == "__main__":
    asyncio.run(main())
