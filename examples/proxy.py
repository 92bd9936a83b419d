"""Says hello to a server behind a proxy and prints what comes back:
python proxy.py ws://host/path http://user:password@proxy:8080

Without a proxy it takes the one of the environment (ws_proxy, all_proxy, no_proxy, ...), if any.
"""

import asyncio
import sys

import wsfast


async def main(url, proxy=True):
    try:
        async with wsfast.connect(url, proxy=proxy) as ws:
            print("connected to", *ws.remote_address[:2])
            await ws.send("hello")
            print("received:", await ws.recv())
    except wsfast.InvalidProxyStatus as error:  # 407: it wants other credentials
        print(error, error.response.reason_phrase)
    except (wsfast.ProxyError, OSError) as error:
        print(error)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
