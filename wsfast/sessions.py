"""TLS sessions: connecting again to the same server, no certificate is signed and verified again.

With TLS 1.2 that halves the time of a handshake and saves a round trip; with TLS 1.3 it saves the
server a signature, which counts if its key is RSA.
"""

from __future__ import annotations

import ssl
import threading
import time
import weakref
from collections import OrderedDict, deque
from typing import Any

__all__ = ["Resumption"]

# A session knows its context, so a context that keeps sessions is a cycle, which only the garbage
# collector frees; and one with the system's authorities takes 0.7 MB. So only those used last keep
# any.
MAX_CONTEXTS = 8
MAX_SERVERS = 32  # of one context
MAX_SESSIONS = 4  # of one server

# Where a context keeps them: anything outside of it would keep the context.
ATTRIBUTE = "_wsfast_sessions"

Servers = OrderedDict[tuple[Any, ...], deque[ssl.SSLSession]]

contexts: OrderedDict[weakref.ref[ssl.SSLContext], None] = OrderedDict()
lock = threading.Lock()


class Resumption:
    """Which session a connection resumes, and where its own goes for the next.

    Args:
        context: of the connection.
        server: what tells the server from others: host, port, the name that is verified.
    """

    __slots__ = ("_context", "_offered", "_server")

    def __init__(self, context: ssl.SSLContext, *server: Any) -> None:
        self._context = context
        # Resuming, the server's certificate is not verified again. So it must have been verified as
        # a full handshake would do it now.
        self._server = (
            *server,
            context.verify_mode,
            context.verify_flags,
            context.check_hostname,
            context.hostname_checks_common_name,
            *context.cert_store_stats().values(),
        )
        self._offered: ssl.SSLSession | None = None

    def take(self) -> ssl.SSLSession | None:
        """The newest session; no other connection gets it (RFC 8446 appendix C.4)."""
        with lock:
            servers: Servers = getattr(self._context, ATTRIBUTE, None) or OrderedDict()
            sessions = servers.get(self._server)
            while sessions:
                session = sessions.pop()
                if not expired(session):
                    self._offered = session
                    return session
        return None

    def keep(self, connection: ssl.SSLObject) -> None:
        """Keep a connection's session.

        By the first data there is one: TLS 1.3 has its tickets behind the handshake.
        """
        if self._context.options & ssl.OP_NO_TICKET:
            return
        session = connection.session  # which copies it: a tenth of a millisecond
        if session is None or not session.id:
            return
        if session == self._offered and connection.version() == "TLSv1.3":
            return  # a ticket that is used up, and no other came
        with lock:
            servers: Servers | None = getattr(self._context, ATTRIBUTE, None)
            if servers is None:
                servers = OrderedDict()
                setattr(self._context, ATTRIBUTE, servers)
            servers.setdefault(self._server, deque(maxlen=MAX_SESSIONS)).append(session)
            servers.move_to_end(self._server)
            if len(servers) > MAX_SERVERS:
                servers.popitem(last=False)
            limit_contexts(self._context)


def expired(session: ssl.SSLSession) -> bool:
    lifetime = min(session.timeout, session.ticket_lifetime_hint or session.timeout)
    return time.time() >= session.time + lifetime


def limit_contexts(latest: ssl.SSLContext) -> None:
    """Note the context that was used last, and take the sessions from one that was not."""
    reference = weakref.ref(latest)
    contexts.pop(reference, None)
    contexts[reference] = None
    if len(contexts) > MAX_CONTEXTS:
        oldest = contexts.popitem(last=False)[0]()
        if oldest is not None:
            delattr(oldest, ATTRIBUTE)
