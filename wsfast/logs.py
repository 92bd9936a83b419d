"""The records of the loggers ``wsfast.server`` and ``wsfast.client``.

Each has attributes, for formatters that write more than the message: ``event``, the stable name of
what happened, and what belongs to it. docs/monitoring.md has the table. Nothing is asked for and
nothing is put together while the level is off.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from .exceptions import ExtensionError, ProtocolError, WriteBufferFull
from .frames import visible
from .statistics import error_code

if TYPE_CHECKING:
    from .connection import WebSocket
    from .typing import LoggerLike

__all__ = [
    "connection_closed",
    "connection_opened",
    "handler_failed",
    "handshake_failed",
    "handshake_refused",
    "handshake_timed_out",
    "tls_failed",
]

# What only a peer that misbehaves brings about.
BAD_PEER = (ProtocolError, ExtensionError, WriteBufferFull)


def connection_opened(logger: LoggerLike, websocket: WebSocket) -> None:
    """The opening handshake is done. To be called if the level is on."""
    logger.debug("connection opened", extra=of(websocket, "connection_opened"))


def connection_closed(logger: LoggerLike, websocket: WebSocket) -> None:
    """A connection ended: one line, whoever did it."""
    error = websocket.error
    if isinstance(error, BAD_PEER):
        if logger.isEnabledFor(logging.INFO):
            extra = ended(websocket, "connection_failed")
            logger.info("connection failed: %s", error, extra=extra)
    elif logger.isEnabledFor(logging.DEBUG):
        extra = ended(websocket, "connection_closed")
        logger.debug("connection closed: %s", websocket.closed_error(), extra=extra)


def handler_failed(logger: LoggerLike, websocket: WebSocket, error: BaseException) -> None:
    """A connection's handler raised an exception."""
    if logger.isEnabledFor(logging.ERROR):
        extra = of(websocket, "handler_failed", error_code=error_code(error))
        logger.error("connection handler failed", exc_info=error, extra=extra)


def handshake_refused(
    logger: LoggerLike, driver: Any, status_code: int, error: BaseException | None = None
) -> None:
    """A client got an answer that is not 101: for a bad request, or because a hook said so."""
    level, log = (logging.DEBUG, logger.debug) if error is None else (logging.INFO, logger.info)
    if logger.isEnabledFor(level):
        extra = {
            "event": "handshake_refused",
            "remote_address": address(driver),
            "status_code": int(status_code),
            "error_code": None if error is None else error_code(error),
        }
        reason = f"status {status_code}" if error is None else visible(str(error))
        log("connection rejected: %s", reason, extra=extra)


def handshake_failed(logger: LoggerLike, driver: Any, error: BaseException) -> None:
    """A hook of the opening handshake raised an exception, or its response cannot be sent."""
    if logger.isEnabledFor(logging.ERROR):
        extra = {
            "event": "handshake_failed",
            "remote_address": address(driver),
            "status_code": 500,
            "error_code": error_code(error),
        }
        logger.error("opening handshake failed", exc_info=error, extra=extra)


def handshake_timed_out(logger: LoggerLike, driver: Any) -> None:
    """A client took longer than ``open_timeout``."""
    if logger.isEnabledFor(logging.DEBUG):
        extra = {"event": "handshake_timed_out", "remote_address": address(driver)}
        logger.debug("opening handshake timed out", extra=extra)


def tls_failed(logger: LoggerLike, driver: Any, error: Exception) -> None:
    """A client failed at TLS."""
    if logger.isEnabledFor(logging.INFO):
        extra = {
            "event": "tls_failed",
            "remote_address": address(driver),
            "error_code": error_code(error),
        }
        logger.info("TLS handshake failed: %s", error, extra=extra)


def address(driver: Any) -> Any:
    return driver.get_extra_info(None, "peername")


def of(websocket: WebSocket, event: str, **more: Any) -> dict[str, Any]:
    """The attributes of every record about a connection."""
    return {
        "event": event,
        "websocket": websocket,
        "connection_id": str(websocket.id),
        "remote_address": websocket.remote_address,
        **more,
    }


def ended(websocket: WebSocket, event: str) -> dict[str, Any]:
    """The attributes of the record about a connection's end."""
    return of(
        websocket,
        event,
        close_code=websocket.close_code,
        close_reason=websocket.close_reason,
        close_sent=websocket.close_sent,
        error_code=None if websocket.error is None else error_code(websocket.error),
    )
