"""Cutting a template into text and tokens (text/template/parse, lex.go, has the grammar)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from ._errors import TemplateError

__all__ = ["Token", "fail", "tokens"]

_LEFT, _RIGHT = "{{", "}}"
_SPACE = " \t\r\n"
_WORD = r"[^\W\d]\w*"
# The order matters: a number before a field (`.5`), a field before a dot.
_TOKEN = re.compile(
    rf"""
      (?P<space>[ \t\r\n]+)
    | (?P<number>[+-]?(?:\d|\.\d)[\w.]*(?:(?<=[eEpP])[+-]\w+)?)
    | (?P<field>\.{_WORD})
    | (?P<variable>\$(?:{_WORD})?)
    | (?P<word>{_WORD})
    | (?P<string>"(?:[^"\\\n]|\\[^\n])*"|`[^`]*`)
    | (?P<char>'(?:[^'\\\n]|\\[^\n])+')
    | (?P<sign>:=|=|\||\(|\)|,|\.)
    """,
    re.VERBOSE,
)
# What may follow a name, a field or a variable.
_END = re.compile(r"[ \t\r\n.,|:=()]|-?}}|\Z")


class Token(NamedTuple):
    """A piece: `text`, `open`, `close`, `end of template`, or one of the pattern's names."""

    kind: str
    text: str
    at: int


def fail(template: str, at: int, message: str) -> TemplateError:
    """An error of the grammar, in text/template's form."""
    line = template.count("\n", 0, at) + 1
    return TemplateError(f"template: :{line}: {message}")


def tokens(template: str) -> Iterator[Token]:
    """A template's tokens. Raises TemplateError."""
    at, trim = 0, False
    while True:
        start = template.find(_LEFT, at)
        text = template[at:] if start < 0 else template[at:start]
        if trim:
            text = text.lstrip(_SPACE)
        trims_left = start >= 0 and _trims(template, start + 2)
        if trims_left:
            text = text.rstrip(_SPACE)
        if text:
            yield Token("text", text, at)
        if start < 0:
            break
        inside = start + (4 if trims_left else 2)
        if template.startswith("/*", inside):
            at, trim = _comment(template, inside)
            continue
        yield Token("open", _LEFT, start)
        close = inside
        for token in _action(template, inside):
            close = token.at + len(token.text)
            yield token
        trim = template[close] == "-"
        close += 1 if trim else 0
        # Trim markers have their space inside; it was skipped before the marker.
        yield Token("close", _RIGHT, close)
        at = close + 2
    yield Token("end of template", "", len(template))


def _trims(template: str, at: int) -> bool:
    return template[at : at + 1] == "-" and template[at + 1 : at + 2] in tuple(_SPACE)


def _comment(template: str, at: int) -> tuple[int, bool]:
    end = template.find("*/", at + 2)
    if end < 0:
        raise fail(template, at, "unclosed comment")
    after = end + 2
    rest = template[after:]
    if rest.startswith(_RIGHT):
        return after + 2, False
    trimmed = rest.lstrip(_SPACE)
    if len(trimmed) < len(rest) and trimmed.startswith("-" + _RIGHT):
        return after + len(rest) - len(trimmed) + 3, True
    raise fail(template, at, "comment ends before closing delimiter")


def _action(template: str, at: int) -> Iterator[Token]:
    """Tokens up to the closing delimiter or its trim marker, white space included."""
    begin, spaced = at, False
    while not (template.startswith(_RIGHT, at) or (spaced and template.startswith("-}}", at))):
        found = _TOKEN.match(template, at)
        if found is None:
            raise fail(template, max(begin, at - 1), _strange(template, at))
        kind = found.lastgroup or ""
        if kind in ("word", "field", "variable") and not _END.match(template, found.end()):
            raise fail(template, at, _bad_character(template[found.end()]))
        yield Token(kind, found.group(), at)
        spaced = kind == "space"
        at = found.end()


def _strange(template: str, at: int) -> str:
    rest = template[at:]
    if not rest:
        return "unclosed action"
    if rest[0] == "}":
        return _bad_character("}")
    return {
        '"': "unterminated quoted string",
        "`": "unterminated raw quoted string",
        "'": "unterminated character constant",
    }.get(rest[0], f'unexpected "{rest[0]}" in command')


def _bad_character(character: str) -> str:
    return f"bad character U+{ord(character):04X} {character!r}"
