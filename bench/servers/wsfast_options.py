"""What the servers of wsfast have in common: permessage-deflate."""

import os

from settings import settings

options = {}
if settings.deflate:
    from wsfast.extensions import PerMessageDeflate

    options["compression"] = PerMessageDeflate(
        server_no_context_takeover=settings.no_takeover or None,
        client_no_context_takeover=settings.no_takeover or None,
        server_max_window_bits=settings.deflate,
        client_max_window_bits=settings.deflate,
        level=settings.level,
        mem_level=settings.mem_level,
        threshold=0,
        zlib=os.environ.get("BENCH_ZLIB", "zlib"),
    )
