"""From tokens to a tree (text/template/parse, parse.go)."""

from __future__ import annotations

import re
from collections.abc import Container, Sequence
from contextlib import contextmanager
from math import isfinite
from typing import TYPE_CHECKING

from . import _lex
from ._nodes import (
    Action,
    Branch,
    Chain,
    Command,
    Dot,
    Field,
    Function,
    Jump,
    Literal,
    Node,
    Operand,
    Pipe,
    Text,
    Variable,
)
from ._printf import quote

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._errors import TemplateError

__all__ = ["parse"]

# The tree is walked by recursion: far above what anybody nests, far below Python's own limit.
_MAX_DEPTH = 50
_MISSING = ("define", "template", "block")
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3})|(.))")
_SIMPLE = {**dict(zip("abfnrtv", "\a\b\f\n\r\t\v", strict=True)), "\\": "\\", '"': '"', "'": "'"}
_INTEGER = re.compile(r"[+-]?(0[xX][0-9a-fA-F_]+|0[bB][01_]+|0[oO]?[0-7_]+|[1-9][\d_]*|0)")
_FLOAT = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def parse(template: str, functions: Container[str]) -> Sequence[Node]:
    """A template's tree. Raises TemplateError, also for the name of an unknown function."""
    return _Parser(template, functions).whole()


class _Parser:
    def __init__(self, template: str, functions: Container[str]) -> None:
        self._template = template
        self._functions = functions
        self._tokens = [*_lex.tokens(template)]
        self._next = 0
        self._variables = ["$"]
        self._depth = 0
        self._ranges = 0

    def whole(self) -> Sequence[Node]:
        nodes, stop = self._nodes()
        if stop.kind != "end of template":
            raise self._fail(stop, f"unexpected {{{{{stop.text}}}}}")
        return nodes

    # --- tokens ----------------------------------------------------------------------------------

    def _peek(self, *, spaces: bool = False) -> _lex.Token:
        while not spaces and self._tokens[self._next].kind == "space":
            self._next += 1
        return self._tokens[self._next]

    def _take(self, *, spaces: bool = False) -> _lex.Token:
        token = self._peek(spaces=spaces)
        self._next += 1
        return token

    def _close(self, context: str) -> None:
        token = self._take()
        if token.kind != "close":
            raise self._fail(token, f'unexpected "{token.text}" in {context}')

    def _fail(self, token: _lex.Token, message: str) -> TemplateError:
        return _lex.fail(self._template, token.at, message)

    @contextmanager
    def _deeper(self, token: _lex.Token) -> Iterator[None]:
        if self._depth == _MAX_DEPTH:
            raise self._fail(token, f"nested more than {_MAX_DEPTH} deep")
        self._depth += 1
        yield
        self._depth -= 1

    # --- lists and branches ----------------------------------------------------------------------

    def _nodes(self) -> tuple[list[Node], _lex.Token]:
        """Nodes up to `end`, `else` or the template's end, and that token."""
        found: list[Node] = []
        while True:
            token = self._take()
            if token.kind == "text":
                found.append(Text(token.at, token.text))
                continue
            if token.kind == "end of template":
                return found, token
            word = self._peek()
            if word.kind == "word" and word.text in ("end", "else"):
                self._take()
                return found, word
            found.append(self._node(word))

    def _node(self, word: _lex.Token) -> Node:
        if word.kind == "word":
            if word.text in ("if", "with", "range"):
                self._take()
                return self._branch(word)
            if word.text in ("break", "continue"):
                self._take()
                if not self._ranges:
                    raise self._fail(word, f"{{{{{word.text}}}}} outside {{{{range}}}}")
                self._close(word.text)
                return Jump(word.at, word.text)
            if word.text in _MISSING:
                raise self._fail(word, f"{{{{{word.text}}}}} is not supported here")
        pipe = self._pipe("command")
        self._close("command")
        return Action(word.at, pipe)

    def _branch(self, word: _lex.Token) -> Branch:
        known = len(self._variables)
        with self._deeper(word):
            pipe = self._pipe(word.text)
            self._close(word.text)
            self._ranges += word.text == "range"
            body, stop = self._nodes()
            self._ranges -= word.text == "range"
            otherwise: Sequence[Node] = ()
            if stop.text == "else":
                otherwise = self._otherwise(word)
            else:
                self._end(stop)
        del self._variables[known:]
        return Branch(word.at, word.text, pipe, body, otherwise)

    def _otherwise(self, word: _lex.Token) -> Sequence[Node]:
        following = self._peek()
        if following.text == word.text and word.text in ("if", "with"):
            # `else if` needs no end of its own.
            self._take()
            return [self._branch(following)]
        self._close("else")
        nodes, stop = self._nodes()
        self._end(stop)
        return nodes

    def _end(self, stop: _lex.Token) -> None:
        if stop.kind == "end of template":
            raise self._fail(stop, "unexpected EOF")
        if stop.text != "end":
            raise self._fail(stop, f"expected end; found {{{{{stop.text}}}}}")
        self._close("end")

    # --- pipelines -------------------------------------------------------------------------------

    def _pipe(self, context: str, closing: str = "}}") -> Pipe:
        start = self._peek()
        variables, assigns = self._declaration(context)
        commands: list[Command] = []
        while True:
            token = self._peek()
            if token.text == closing:
                break
            if token.kind == "close":
                raise self._fail(token, "unclosed left paren")
            if token.text == ")":
                raise self._fail(token, "unexpected right paren")
            commands.append(self._command())
            if self._peek().text == "|":
                self._take()
        if not commands:
            raise self._fail(start, f"missing value for {context}")
        for command in commands[1:]:
            if isinstance(command.words[0], Literal | Dot):
                number = commands.index(command) + 1
                message = f"non executable command in pipeline stage {number}"
                raise _lex.fail(self._template, command.at, message)
        if not assigns:
            self._variables.extend(variables)
        return Pipe(start.at, variables, assigns, commands)

    def _declaration(self, context: str) -> tuple[Sequence[str], bool]:
        """`$x :=`, `$x =`, or of a range `$i, $x :=`; nothing is taken where there is none."""
        start, names = self._next, list[str]()
        while self._peek().kind == "variable":
            token = self._take()
            sign = self._peek()
            if sign.text in (":=", "="):
                self._take()
                names.append(token.text)
                assigns = sign.text == "="
                for name in names if assigns else ():
                    self._check_variable(name, token)
                return names, assigns
            if sign.text != ",":
                break
            if context != "range" or names:
                raise self._fail(sign, f"too many declarations in {context}")
            self._take()
            names.append(token.text)
        self._next = start
        return (), False

    def _command(self) -> Command:
        start = self._peek()
        words: list[Operand] = []
        while True:
            words.append(self._operand())
            token = self._peek(spaces=True)
            if token.kind == "space":
                token = self._peek()
                if token.kind != "close" and token.text not in ("|", ")"):
                    continue
            elif token.kind != "close" and token.text not in ("|", ")"):
                raise self._fail(token, f'unexpected "{token.text}" in operand')
            return Command(start.at, words)

    def _operand(self) -> Operand:
        token = self._peek()
        term = self._term()
        names: list[str] = []
        at = self._peek(spaces=True).at
        while self._peek(spaces=True).kind == "field":
            names.append(self._take(spaces=True).text[1:])
        if self._peek(spaces=True).text == ".":
            raise self._fail(token, "unexpected <.> in operand")
        if not names:
            return term
        match term:
            case Field(_, first):
                return Field(at, [*first, *names])
            case Variable(_, name, _):
                return Variable(at, name, names)
            case Pipe():
                return Chain(at, term, names)
            case _:
                raise self._fail(token, f"unexpected . after term {quote(str(term))}")

    def _term(self) -> Operand:
        token = self._take()
        match token.kind:
            case "field":
                return Field(token.at, [token.text[1:]])
            case "variable":
                self._check_variable(token.text, token)
                return Variable(token.at, token.text, ())
            case "word":
                return self._word(token)
            case "string" | "char" | "number":
                return Literal(token.at, self._value(token), token.text)
        if token.text == ".":
            return Dot(token.at)
        if token.text == "(":
            with self._deeper(token):
                pipe = self._pipe("parenthesized pipeline", ")")
            self._take()
            return pipe
        raise self._fail(token, f'unexpected "{token.text}" in command')

    def _check_variable(self, name: str, token: _lex.Token) -> None:
        if name not in self._variables:
            raise self._fail(token, f'undefined variable "{name}"')

    def _word(self, token: _lex.Token) -> Operand:
        constants = {"true": True, "false": False, "nil": None}
        if token.text in constants:
            return Literal(token.at, constants[token.text], token.text)
        if token.text not in self._functions:
            raise self._fail(token, f'function "{token.text}" not defined')
        return Function(token.at, token.text)

    # --- constants -------------------------------------------------------------------------------

    def _value(self, token: _lex.Token) -> str | int | float:
        text = token.text
        if token.kind == "number":
            return self._number(token)
        if text.startswith("`"):
            return text[1:-1]
        unquoted = self._unquote(token)
        if token.kind == "string":
            return unquoted
        if len(unquoted) != 1:
            raise self._fail(token, f"malformed character constant: {text}")
        return ord(unquoted)

    def _number(self, token: _lex.Token) -> int | float:
        text = token.text
        try:
            if _INTEGER.fullmatch(text):
                octal = re.sub(r"^([+-]?)0(?=[0-7_])", r"\g<1>0o", text)
                number = int(octal, 0)
                if not -(1 << 63) <= number < 1 << 63:
                    raise self._fail(token, f'integer overflow: "{text}"')
                return number
            if _FLOAT.fullmatch(text) and isfinite(float(text)):
                return float(text)
        except ValueError:
            pass
        raise self._fail(token, f'bad number syntax: "{text}"')

    def _unquote(self, token: _lex.Token) -> str:
        wrong = "'" if token.kind == "string" else '"'

        def replace(found: re.Match[str]) -> str:
            byte, short, long, octal, simple = found.groups()
            if simple is not None:
                if simple not in _SIMPLE or simple == wrong:
                    raise self._fail(token, f"invalid syntax: {token.text}")
                return _SIMPLE[simple]
            if byte is not None or octal is not None:
                code = int(byte, 16) if byte is not None else int(octal, 8)
                if code > 0xFF:
                    raise self._fail(token, f"invalid syntax: {token.text}")
                # A byte of UTF-8, perhaps one of several; joined below.
                return bytes([code]).decode("utf-8", "surrogateescape")
            code = int(short or long, 16)
            if code > 0x10FFFF or 0xD800 <= code < 0xE000:
                raise self._fail(token, f"invalid syntax: {token.text}")
            return chr(code)

        text = _ESCAPE.sub(replace, token.text[1:-1])
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")
