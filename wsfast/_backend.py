"""The one place that picks the compiled modules or their pure twins.

``WSFAST_PURE`` in the environment turns the compiled modules off: ``1`` for all of them, or, as
``ws`` has a variable for each, ``mask`` or ``utf8``. Masking and validation are woven into the
loops of the parser and the core, so that a part means the whole. A reason to do so is a package
search path that somebody else can write to. Where the compiled modules are missing, or do not
load, the pure twins do the same work.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

__all__ = [
    "BACKEND",
    "SENT",
    "Connection",
    "Deflate",
    "FrameReader",
    "Protocol",
    "apply_mask",
    "apply_mask_in_place",
    "compress_alone",
    "encode_frame",
    "masking_key",
    "send_to_all",
    "valid_utf8",
]

PURE = os.environ.get("WSFAST_PURE", "") not in ("", "0")

if TYPE_CHECKING:
    from ._broadcast import send_to_all
    from ._core import SENT, Connection
    from ._deflate import Deflate, compress_alone
    from ._frame import encode_frame
    from ._mask import apply_mask, apply_mask_in_place, masking_key, valid_utf8
    from ._parser import FrameReader
    from ._protocol import Protocol

    BACKEND: str
else:
    try:
        if PURE:
            raise ImportError("WSFAST_PURE is set")
        from ._broadcast import send_to_all
        from ._core import SENT, Connection
        from ._deflate import Deflate, compress_alone
        from ._frame import encode_frame
        from ._mask import apply_mask, apply_mask_in_place, masking_key, valid_utf8
        from ._parser import FrameReader
        from ._protocol import Protocol
    except ImportError:
        from ._pure.broadcast import send_to_all
        from ._pure.core import SENT, Connection
        from ._pure.deflate import Deflate, compress_alone
        from ._pure.frame import encode_frame
        from ._pure.mask import apply_mask, apply_mask_in_place, masking_key, valid_utf8
        from ._pure.parser import FrameReader
        from ._pure.protocol import Protocol

        BACKEND = "pure"
    else:
        BACKEND = "compiled"
