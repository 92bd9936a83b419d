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
    "opening_failed",
    "reconnecting",
    "send_failed",
    "tls_failed",
]

# What only a peer that misbehaves brings about.
BAD_PEER = (ProtocolError, ExtensionError, WriteBufferFull)


def connection_opened(logger: LoggerLike, websocket: WebSocket) -> None:
    """The opening handshake is done. To be called if the level is on."""
    extra = of(websocket, "connection_opened")
    if websocket.client:
        logger.debug("connected to %s", websocket.url, extra=extra)
    else:
        logger.debug("connection opened", extra=extra)


def opening_failed(logger: LoggerLike, websocket: WebSocket) -> None:
    """A client's connection could not be opened."""
    if logger.isEnabledFor(logging.DEBUG):
        error = websocket.error
        extra = {
            "event": "opening_failed",
            "websocket": websocket,
            "connection_id": str(websocket.id),
            "url": websocket.url,
            "error_code": None if error is None else error_code(error),
        }
        logger.debug("opening handshake failed: %s", error, extra=extra)


def reconnecting(logger: LoggerLike, url: str, error: Exception | None, delay: float) -> None:
    """A client is about to connect again: because of an error, or because the user wants to."""
    if logger.isEnabledFor(logging.INFO):
        code = None if error is None else error_code(error)
        extra = {"event": "reconnecting", "url": url, "error_code": code, "delay": delay}
        reason = error or "asked for"
        logger.info("connecting again in %.1f seconds: %s", delay, reason, extra=extra)


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


def send_failed(logger: LoggerLike, websocket: WebSocket, error: BaseException) -> None:
    """A message that nobody waits for was sent to one who is gone."""
    if logger.isEnabledFor(logging.INFO):
        extra = of(websocket, "send_failed", error_code=error_code(error))
        logger.info("a message was sent when the connection was closed: %s", error, extra=extra)


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
        code = None if error is None else error_code(error)
        extra = of_handshake(driver, "handshake_refused", status_code=status_code, error_code=code)
        reason = f"status {status_code}" if error is None else visible(str(error))
        log("connection rejected: %s", reason, extra=extra)


def handshake_failed(logger: LoggerLike, driver: Any, error: BaseException) -> None:
    """A hook of the opening handshake raised an exception, or its response cannot be sent."""
    if logger.isEnabledFor(logging.ERROR):
        code = error_code(error)
        extra = of_handshake(driver, "handshake_failed", status_code=500, error_code=code)
        logger.error("opening handshake failed", exc_info=error, extra=extra)


def handshake_timed_out(logger: LoggerLike, driver: Any) -> None:
    """A client took longer than ``open_timeout``."""
    if logger.isEnabledFor(logging.DEBUG):
        extra = of_handshake(driver, "handshake_timed_out")
        logger.debug("opening handshake timed out", extra=extra)


def tls_failed(logger: LoggerLike, driver: Any, error: Exception) -> None:
    """A client failed at TLS."""
    if logger.isEnabledFor(logging.INFO):
        extra = of_handshake(driver, "tls_failed", error_code=error_code(error))
        logger.info("TLS handshake failed: %s", error, extra=extra)


def of_handshake(driver: Any, event: str, **more: Any) -> dict[str, Any]:
    """The attributes of a record about a client that has no WebSocket."""
    return {"event": event, "remote_address": driver.get_extra_info(None, "peername"), **more}


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
        close_sent=None if websocket.close_sent is None else websocket.close_sent.code,
        error_code=None if websocket.error is None else error_code(websocket.error),
    )
