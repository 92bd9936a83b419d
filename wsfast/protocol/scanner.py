"""The scanner of Sec-WebSocket-Extensions and -Protocol: tokens with separators between.

It goes through the header once, from left to right, and never back: what a peer sends costs no more
than its length.
"""

from __future__ import annotations

import re

from ..exceptions import InvalidHeaderFormat

__all__ = ["TOKEN", "Scanner"]

# RFC 9110 section 5.6.2. A token is ASCII, so str.lower() is safe on one.
_TOKEN_CHARACTER = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
TOKEN = re.compile(f"{_TOKEN_CHARACTER}+")
_BLANKS = re.compile(r"[ \t]*")
# What stands between quotes: by RFC 9110 section 5.6.4, and by RFC 6455 section 9.1, where it must
# be a token when the backslashes are gone. There is one way to match each character: it is linear.
_QUOTED = re.compile(r"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*")
_QUOTED_TOKEN = re.compile(rf"(?:\\?{_TOKEN_CHARACTER})*")
_ESCAPED = re.compile(r"\\(.)")


class Scanner:
    """Reads one header from left to right.

    Args:
        name: the header's name, for the error.
        header: its value; those of several headers of this name joined by ", ".
    """

    __slots__ = ("_header", "_name", "_position")

    def __init__(self, name: str, header: str) -> None:
        self._name = name
        self._header = header
        self._position = 0

    def token(self) -> str:
        """Read a token.

        Raises:
            InvalidHeaderFormat: there is something else. The message says where.
        """
        return self._read(TOKEN)

    def value(self, *, strict: bool) -> str:
        r"""Read a token or a quoted string, and take the quotes and the backslashes off.

        Args:
            strict: what is in the quotes must be a token. Otherwise it is any text but controls.

        Raises:
            InvalidHeaderFormat: there is something else. The message says where.
        """
        if not self.skip('"'):
            return self._read(TOKEN)
        text = self._read(_QUOTED_TOKEN if strict else _QUOTED)
        if (strict and not text) or not self.skip('"'):
            self.skip("\\")  # it is what follows that may not be escaped
            raise self._unexpected()
        return _ESCAPED.sub(r"\1", text) if "\\" in text else text

    def skip(self, character: str) -> bool:
        """Go behind ``character`` if it is the next one, and tell whether it was."""
        if not self._header.startswith(character, self._position):
            return False
        self._position += 1
        return True

    def separator(self, separators: str) -> str:
        """Go behind the next separator and the blanks around it.

        Args:
            separators: the characters that separate.

        Returns:
            The one that is there, "" at the end of the header.

        Raises:
            InvalidHeaderFormat: there is something else. The message says where.
        """
        if self._position == len(self._header):
            return ""
        self._read(_BLANKS)
        character = self._header[self._position : self._position + 1]
        if not character or character not in separators:
            raise self._unexpected()
        self._position += 1
        self._read(_BLANKS)
        return character

    def invalid(self, problem: str) -> InvalidHeaderFormat:
        """The exception for this header, with what is wrong about it."""
        msg = f"invalid {self._name} header: {problem}"
        return InvalidHeaderFormat(self._name, self._header, msg)

    def _read(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._header, self._position)
        if match is None:
            raise self._unexpected()
        self._position = match.end()
        return match[0]

    def _unexpected(self) -> InvalidHeaderFormat:
        if self._position == len(self._header):
            return self.invalid("Unexpected end of input")
        return self.invalid(f"Unexpected character at index {self._position}")
