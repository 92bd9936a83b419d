"""The negotiation of permessage-deflate (RFC 7692 section 7.1), free of everything else.

The parameters of an offer and of a response come as the header scanner types them: True for one
without a value, a number, a str for what looks like neither, a list for one that is repeated.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from .deflate_options import DEFAULT_CLIENT_WINDOW_BITS, DEFAULT_WINDOW_BITS, Settings

__all__ = ["Agreement", "accept_response", "answer_offer", "make_offer"]

MAX_WINDOW_BITS = 15


class Agreement(NamedTuple):
    """What holds for the connection, in the words of the RFC."""

    server_no_context_takeover: bool
    client_no_context_takeover: bool
    server_max_window_bits: int
    client_max_window_bits: int


class Parameters(NamedTuple):
    """The parameters of one offer or response; in an offer the last may be True."""

    server_no_context_takeover: bool = False
    client_no_context_takeover: bool = False
    server_max_window_bits: int | None = None
    client_max_window_bits: int | None = None


def read_parameters(items: Mapping[str, object], *, response: bool) -> Parameters | None:
    """Check the parameters; None if one of them is unknown, repeated or wrong.

    Only a number that is written without a sign, a leading zero and a point is an int here.
    """
    for name, value in items.items():
        if name in ("server_no_context_takeover", "client_no_context_takeover"):
            valid = value is True
        elif name in ("server_max_window_bits", "client_max_window_bits"):
            valid = type(value) is int and 8 <= value <= MAX_WINDOW_BITS
            if value is True:
                # "I can do with less", which has no meaning in an answer (section 7.1.2.2).
                valid = name == "client_max_window_bits" and not response
        else:
            valid = False
        if not valid:
            return None
    values: dict[str, Any] = dict(items)
    return Parameters(**values)


def number(value: int | None) -> int | None:
    """The value of an option that is a number or a word."""
    return None if isinstance(value, bool) else value


def answer_offer(
    settings: Settings, items: Mapping[str, object]
) -> tuple[dict[str, Any], Agreement] | None:
    """What a server answers an offer, and what then holds; None if it declines it."""
    offer = read_parameters(items, response=False)
    if offer is None:
        return None
    if offer.server_no_context_takeover and settings.server_no_context_takeover is False:
        return None

    # The family of ws states what has to be agreed. The other one states what this side does, or
    # would like, and takes what it gets.
    server_limit = number(settings.server_max_window_bits)
    if offer.server_max_window_bits is not None and (
        settings.server_max_window_bits is False
        or (server_limit is not None and offer.server_max_window_bits < server_limit)
    ):
        return None
    client_limit = number(settings.client_max_window_bits)
    if client_limit is not None and offer.client_max_window_bits is None:
        return None

    response: dict[str, Any] = {}
    server_no_context_takeover = bool(
        offer.server_no_context_takeover
        or settings.server_no_context_takeover
        or settings.no_context_takeover
    )
    if server_no_context_takeover:
        response["server_no_context_takeover"] = True
    client_no_context_takeover = bool(
        settings.client_no_context_takeover
        or settings.request_no_context_takeover
        or (offer.client_no_context_takeover and settings.client_no_context_takeover is None)
    )
    if client_no_context_takeover:
        response["client_no_context_takeover"] = True

    server_bits = min(
        server_limit or settings.max_window_bits or DEFAULT_WINDOW_BITS,
        offer.server_max_window_bits or MAX_WINDOW_BITS,
    )
    # Some clients refuse an answer that they did not ask for, though section 7.1.2.1 allows it.
    if offer.server_max_window_bits is not None or server_limit is not None:
        response["server_max_window_bits"] = server_bits

    client_bits = MAX_WINDOW_BITS
    if offer.client_max_window_bits is not None and settings.client_max_window_bits is not False:
        # Never more than what was offered.
        offered = number(offer.client_max_window_bits) or MAX_WINDOW_BITS
        wish = client_limit or settings.request_max_window_bits or DEFAULT_CLIENT_WINDOW_BITS
        client_bits = min(wish, offered)
        if client_bits < MAX_WINDOW_BITS or client_limit is not None:
            response["client_max_window_bits"] = client_bits

    return response, Agreement(
        server_no_context_takeover, client_no_context_takeover, server_bits, client_bits
    )


def make_offer(settings: Settings) -> dict[str, Any]:
    """What a client offers."""
    offer: dict[str, Any] = {}
    if settings.server_no_context_takeover or settings.request_no_context_takeover:
        offer["server_no_context_takeover"] = True
    if settings.client_no_context_takeover or settings.no_context_takeover:
        offer["client_no_context_takeover"] = True
    server_bits = number(settings.server_max_window_bits) or settings.request_max_window_bits
    if server_bits is not None:
        offer["server_max_window_bits"] = server_bits
    if settings.client_max_window_bits is None:
        offer["client_max_window_bits"] = settings.max_window_bits or True
    elif settings.client_max_window_bits is not False:
        offer["client_max_window_bits"] = settings.client_max_window_bits
    return offer


def accept_response(settings: Settings, items: Mapping[str, object]) -> Agreement | None:
    """What holds after a server's response to `make_offer`; None if a client must refuse it."""
    response = read_parameters(items, response=True)
    if response is None:
        return None
    offer = make_offer(settings)

    if "server_no_context_takeover" in offer and not response.server_no_context_takeover:
        return None
    if response.client_no_context_takeover and settings.client_no_context_takeover is False:
        return None

    server_bits = response.server_max_window_bits or MAX_WINDOW_BITS
    if "server_max_window_bits" in offer and (
        response.server_max_window_bits is None or server_bits > offer["server_max_window_bits"]
    ):
        return None

    own_limit = number(settings.client_max_window_bits) or settings.max_window_bits
    client_bits = response.client_max_window_bits
    if client_bits is not None and (
        "client_max_window_bits" not in offer
        or client_bits > (number(offer["client_max_window_bits"]) or MAX_WINDOW_BITS)
    ):
        return None

    return Agreement(
        response.server_no_context_takeover,
        # What a client offers of its own it does in any case (section 7.1.1.2).
        response.client_no_context_takeover or "client_no_context_takeover" in offer,
        server_bits,
        min(own_limit or DEFAULT_WINDOW_BITS, client_bits or MAX_WINDOW_BITS),
    )
