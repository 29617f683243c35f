"""Carrying a template out (text/template, exec.go)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ._errors import ArgumentError, TemplateError
from ._functions import FUNCTIONS, HEADER_FUNCTIONS, LAZY
from ._functions import Function as Callee
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
from ._parse import parse
from ._printf import show
from ._values import NO_VALUE, Struct, Value, is_true, type_name

__all__ = ["Template"]

# A template that doubles a string, or ranges over a large number, ends here instead of with the
# machine's memory or patience. Every execution adds a share, for lists of any length.
_STEPS, _MORE_STEPS = 250_000, 2_000
_CHARACTERS, _MORE_CHARACTERS = 16 << 20, 64 << 10
_NONE = object()


class _Jumped(Exception):  # noqa: N818
    """`break` or `continue`."""

    def __init__(self, word: str) -> None:
        self.word = word


class Template:
    """A template that was read, to be carried out any number of times.

    Raises:
        TemplateError: It can't be read, or names a function that is not there.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._nodes = parse(text, FUNCTIONS)
        self._steps = _STEPS
        self._characters = _CHARACTERS

    def execute(self, data: Value) -> str:
        """What it prints of `data`. Raises TemplateError."""
        pieces: list[str] = []
        self._run(_Run(self, self._text, data, False, pieces))
        return "".join(pieces)

    def header(self, data: Value) -> str:
        """What it prints of a table's header, as far as it gets: docker ignores errors there."""
        pieces: list[str] = []
        try:
            self._run(_Run(self, self._text, data, True, pieces))
        except TemplateError:
            pass
        return "".join(pieces)

    def _run(self, run: _Run) -> None:
        self._steps += _MORE_STEPS
        self._characters += _MORE_CHARACTERS
        run.walk(self._nodes)

    def spend(self, characters: int) -> None:
        """Takes note of characters, and of a step. Raises ArgumentError when it is enough."""
        self._steps -= 1
        self._characters -= characters
        if self._steps < 0:
            raise ArgumentError("the template takes too many steps")
        if self._characters < 0:
            raise ArgumentError("the template makes too much text")


class _Run:
    def __init__(
        self, template: Template, text: str, data: Value, header: bool, out: list[str]
    ) -> None:
        self._budget = template
        self._text = text
        self._functions = HEADER_FUNCTIONS if header else FUNCTIONS
        self._out = out
        self._dot = data
        self._variables: list[tuple[str, Value]] = [("$", data)]

    # --- nodes -----------------------------------------------------------------------------------

    def walk(self, nodes: Sequence[Node]) -> None:
        for node in nodes:
            match node:
                case Text(_, text):
                    self._print(text, node)
                case Action(_, pipe):
                    value = self._pipe(pipe)
                    if not pipe.variables:
                        self._print(show(value), node)
                case Branch():
                    self._branch(node)
                case Jump(_, word):
                    raise _Jumped(word)

    def _print(self, text: str, node: Node) -> None:
        self._spend(len(text), node.at, "")
        self._out.append(text)

    def _branch(self, node: Branch) -> None:
        known = len(self._variables)
        value = self._pipe(node.pipe, declare=node.word != "range")
        if node.word == "range":
            self._range(node, value)
        elif is_true(value):
            self._body(node.body, value if node.word == "with" else self._dot)
        else:
            self.walk(node.otherwise)
        del self._variables[known:]

    def _body(self, nodes: Sequence[Node], dot: Value) -> None:
        outer, known = self._dot, len(self._variables)
        self._dot = dot
        try:
            self.walk(nodes)
        finally:
            self._dot = outer
            del self._variables[known:]

    def _range(self, node: Branch, value: Value) -> None:
        names, empty = node.pipe.variables, True
        for key, item in self._items(node, value):
            empty = False
            known = len(self._variables)
            # Of two variables, the first takes the key; one alone takes the item.
            for name, one in zip(reversed(names), (item, key), strict=False):
                self._set(name, one, node.pipe.assigns)
            try:
                self._body(node.body, item)
            except _Jumped as jumped:
                if jumped.word == "break":
                    break
            finally:
                del self._variables[known:]
        if empty:
            self.walk(node.otherwise)

    def _items(self, node: Branch, value: Value) -> Iterable[tuple[Value, Value]]:
        pairs: Iterable[tuple[Value, Value]]
        match value:
            case list():
                pairs = enumerate(value)
            case dict():
                pairs = sorted(value.items())
            case int() if not isinstance(value, bool):
                if len(node.pipe.variables) > 1:
                    message = f"can't use {value} to iterate over more than one variable"
                    raise self._fail(node.pipe.commands[-1], message)
                pairs = ((number, number) for number in range(value))
            case _ if value is None or value is NO_VALUE:
                pairs = ()
            case _:
                raise self._fail(node.pipe.commands[-1], f"range can't iterate over {show(value)}")
        for pair in pairs:
            self._spend(0, node.at, "range")
            yield pair

    # --- pipelines -------------------------------------------------------------------------------

    def _pipe(self, pipe: Pipe, *, declare: bool = True) -> Value:
        value: Value = _NONE
        for command in pipe.commands:
            value = self._command(command, value)
        for name in pipe.variables if declare else ():
            self._set(name, value, pipe.assigns)
        return value

    def _set(self, name: str, value: Value, assigns: bool) -> None:
        if not assigns:
            self._variables.append((name, value))
            return
        for number in reversed(range(len(self._variables))):
            if self._variables[number][0] == name:
                self._variables[number] = (name, value)
                return

    def _command(self, command: Command, piped: Value) -> Value:
        first, *words = command.words
        if isinstance(first, Function):
            return self._call(command, first, words, piped)
        if words or piped is not _NONE:
            raise self._fail(first, self._no_function(first))
        if isinstance(first, Literal) and first.value is None:
            raise self._fail(first, "nil is not a command")
        return self._value(first)

    def _no_function(self, word: Operand) -> str:
        if isinstance(word, Field | Variable | Chain) and word.names:
            return f"{word.names[-1]} is not a method but has arguments"
        return f"can't give argument to non-function {word}"

    def _value(self, word: Operand) -> Value:
        match word:
            case Dot():
                return self._dot
            case Literal():
                return word.value
            case Field():
                return self._fields(word, self._dot, word.names)
            case Variable():
                return self._fields(word, self._variable(word.name), word.names)
            case Chain():
                return self._fields(word, self._pipe(word.pipe), word.names)
            case Pipe():
                return self._pipe(word)
            case Function():
                return self._call(word, word, (), _NONE)

    def _variable(self, name: str) -> Value:
        return next(value for known, value in reversed(self._variables) if known == name)

    def _fields(self, word: Field | Variable | Chain, value: Value, names: Sequence[str]) -> Value:
        for name in names:
            value = self._field(word, value, name)
        return value

    def _field(self, word: Field | Variable | Chain, value: Value, name: str) -> Value:
        match value:
            case Struct():
                try:
                    return value.get(name)
                except KeyError:
                    if not value.kind:
                        raise self._fail(word, f'map has no entry for key "{name}"') from None
            case dict():
                return value.get(name, NO_VALUE)
            case None:
                raise self._fail(word, f"nil pointer evaluating {name}")
        if value is NO_VALUE:
            return NO_VALUE
        raise self._fail(word, f"can't evaluate field {name} in type {type_name(value)}")

    # --- functions -------------------------------------------------------------------------------

    def _call(
        self, whole: Command | Function, name: Function, words: Sequence[Operand], piped: Value
    ) -> Value:
        function = self._functions[name.name]
        extra = [] if piped is _NONE else [piped]
        self._check_count(name, function, len(words) + len(extra))
        if name.name in LAZY:
            return self._decide(name.name, words, extra)
        values = [self._argument(function, number, word) for number, word in enumerate(words)]
        for value in extra:
            self._check_type(name, function, len(words), value, f"{value}")
            values.append(value)
        try:
            result = function.call(self._budget.spend, values)
            self._budget.spend(_weight(result))
        except ArgumentError as error:
            raise self._fail(whole, f"error calling {name}: {error}", name.at) from None
        return result

    def _check_count(self, name: Function, function: Callee, count: int) -> None:
        least = len(function.takes) - function.variadic
        if count < least or (count > least and not function.variadic):
            want = f"want at least {least}" if function.variadic else f"want {least}"
            raise self._fail(name, f"wrong number of args for {name}: {want} got {count}")

    def _decide(self, name: str, words: Sequence[Operand], extra: Sequence[Value]) -> Value:
        value: Value = None
        for word in words:
            value = self._value(word)
            if is_true(value) == (name == "or"):
                return value
        return extra[0] if extra else value

    def _argument(self, function: Callee, number: int, word: Operand) -> Value:
        value = self._value(word)
        literal = word.text if isinstance(word, Literal) else None
        self._check_type(word, function, number, value, literal)
        return value

    def _check_type(
        self, word: Operand, function: Callee, number: int, value: Value, literal: str | None
    ) -> None:
        wanted = function.takes[min(number, len(function.takes) - 1)].removeprefix("...")
        fits = {
            "any": True,
            "string": isinstance(value, str),
            "int": isinstance(value, int) and not isinstance(value, bool),
            "[]string": isinstance(value, list) and all(isinstance(item, str) for item in value),
        }
        if fits[wanted]:
            return
        if literal == "nil":
            raise self._fail(word, f"cannot assign nil to {wanted}")
        if value is None or value is NO_VALUE:
            raise self._fail(word, f"invalid value; expected {wanted}")
        if isinstance(word, Literal):
            expected = "integer" if wanted == "int" else wanted
            raise self._fail(word, f"expected {expected}; found {word}")
        raise self._fail(word, f"wrong type for value; expected {wanted}; got {type_name(value)}")

    # --- failing ---------------------------------------------------------------------------------

    def _spend(self, characters: int, at: int, what: str) -> None:
        try:
            self._budget.spend(characters)
        except ArgumentError as error:
            raise self._failed(at, what, str(error)) from None

    def _fail(self, node: Operand | Command, message: str, at: int | None = None) -> TemplateError:
        return self._failed(node.at if at is None else at, str(node), message)

    def _failed(self, at: int, shown: str, message: str) -> TemplateError:
        line = self._text.count("\n", 0, at) + 1
        # Go counts bytes, from 0.
        column = len(self._text[self._text.rfind("\n", 0, at) + 1 : at].encode())
        return TemplateError(f'template: :{line}:{column}: executing "" at <{shown}>: {message}')


def _weight(value: Value) -> int:
    """About how many characters of memory a function's result is."""
    if isinstance(value, list):
        return sum(64 + len(item) if isinstance(item, str) else 64 for item in value)
    return len(value) if isinstance(value, str) else 0
