"""Words of a Dockerfile: parting them, and replacing variables in them (BuildKit's `shlex`)."""

from __future__ import annotations

import re
from collections.abc import Mapping

__all__ = ["expand", "split_words"]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_SPECIAL = re.compile(r"[0-9]+|[@*#?$!-]", re.ASCII)
_MAX_DEPTH = 16  # of `${a:-${b:-…}}`
_MAX_TEXT = 1 << 20  # what variables may make of a word: each time it may double


def split_words(text: str) -> list[str]:
    """The words of a line, at blanks that are not quoted; quotes and backslashes stay."""
    words: list[str] = []
    word, quote, position = "", "", 0
    while position < len(text):
        character = text[position]
        if character == "\\" and quote != "'" and position + 1 < len(text):
            word += text[position : position + 2]
            position += 2
            continue
        if character == quote:
            quote = ""
        elif not quote and character in "'\"":
            quote = character
        if character.isspace() and not quote:
            if word:
                words.append(word)
            word = ""
        else:
            word += character
        position += 1
    return [*words, word] if word else words


def expand(text: str, values: Mapping[str, str]) -> str:
    """A word without its quotes, its variables replaced. Raises ValueError."""
    return _Reader(text, values).read("")


class _Reader:
    def __init__(self, text: str, values: Mapping[str, str]) -> None:
        self._text, self._values = text, values
        self._position = self._depth = 0
        self._room = _MAX_TEXT

    def read(self, end: str) -> str:
        """Up to `end`, which is passed over; "" for the end of the text."""
        made: list[str] = []
        while (character := self._next()) != end:
            if not character:
                raise ValueError(f"{self._text[:100]!r} lacks a {end!r}")
            if character == "'":
                made.append(self._until("'"))
            elif character == '"':
                made.append(self._quoted())
            elif character == "$":
                made.append(self._variable())
            elif character == "\\":
                made.append(self._next() or "\\")
            else:
                made.append(character)
        return "".join(made)

    def _next(self) -> str:
        character = self._text[self._position : self._position + 1]
        self._position += 1
        return character

    def _until(self, end: str) -> str:
        place = self._text.find(end, self._position)
        if place < 0:
            raise ValueError(f"{self._text[:100]!r} lacks a {end}")
        found = self._text[self._position : place]
        self._position = place + 1
        return found

    def _quoted(self) -> str:
        made: list[str] = []
        while (character := self._next()) != '"':
            if not character:
                raise ValueError(f'{self._text[:100]!r} lacks a "')
            if character == "$":
                made.append(self._variable())
            elif character == "\\":
                escaped = self._next()
                made.append(escaped if escaped and escaped in '"$\\' else "\\" + escaped)
            else:
                made.append(character)
        return "".join(made)

    def _variable(self) -> str:
        if not self._text.startswith("{", self._position):
            if match := _NAME.match(self._text, self._position):
                self._position = match.end()
                return self._counted(self._values.get(match[0], ""))
            # Arguments of a shell and the like, which are none here; else the sign itself.
            if match := _SPECIAL.match(self._text, self._position):
                self._position = match.end()
                return ""
            return "$"
        self._position += 1
        match = _NAME.match(self._text, self._position)
        if match is None:
            raise ValueError(f"{self._text[:100]!r} has a ${{}} without a name")
        self._position = match.end()
        value = self._values.get(match[0])
        sign = self._next()
        if sign == "}":
            return self._counted(value or "")
        is_set = value is not None
        if sign == ":":
            sign = self._next()
            is_set = bool(value)
        if sign not in ("-", "+", "?"):
            raise ValueError(f"{self._text[:100]!r} has a form of ${{}} that is not known")
        if self._depth >= _MAX_DEPTH:
            raise ValueError(f"variables are nested deeper than {_MAX_DEPTH}")
        self._depth += 1
        other = self.read("}")
        self._depth -= 1
        if sign == "?" and not is_set:
            raise ValueError(f"{match[0][:100]} is not set: {other[:100]}")
        if sign == "+":
            return other if is_set else ""
        return self._counted(value or "") if is_set else other

    def _counted(self, value: str) -> str:
        self._room -= len(value)
        if self._room < 0:
            raise ValueError(f"variables make more than {_MAX_TEXT} characters of it")
        return value
