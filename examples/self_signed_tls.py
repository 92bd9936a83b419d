"""Both ends of a TLS connection with a certificate that nobody vouches for:
python self_signed_tls.py CERTIFICATE.pem KEY.pem
"""

import asyncio
import sys

import wsfast


async def echo(ws):
    async for message in ws:
        await ws.send(message)


async def main(cert, key):
    async with wsfast.serve(echo, "127.0.0.1", 0, cert=cert, key=key) as server:
        url = f"wss://127.0.0.1:{server.address()[1]}"
        try:
            await wsfast.connect(url)
        except wsfast.NetworkError as error:
            print("refused:", error.code)
        # Trust this certificate, and no other. The name in it must be the one in the address.
        async with wsfast.connect(url, ca=cert) as ws:
            await ws.send("trusted")
            print(await ws.recv())
        # Trust everybody: that is for trying something out, and for nothing else.
        async with wsfast.connect(url, verify=False) as ws:
            await ws.send("not verified")
            print(await ws.recv())


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
