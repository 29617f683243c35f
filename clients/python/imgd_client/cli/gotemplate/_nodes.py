"""The tree of a template. Each node knows its place, for messages, and prints as Go's do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

__all__ = [
    "Action",
    "Branch",
    "Chain",
    "Command",
    "Dot",
    "Field",
    "Function",
    "Jump",
    "Literal",
    "Node",
    "Operand",
    "Pipe",
    "Text",
    "Variable",
]


class Dot(NamedTuple):
    """`.`"""

    at: int

    def __str__(self) -> str:
        return "."


class Literal(NamedTuple):
    """A string, number, boolean or nil, and how it was written."""

    at: int
    value: str | int | float | bool | None
    text: str

    def __str__(self) -> str:
        return self.text


class Field(NamedTuple):
    """`.A.B`"""

    at: int
    names: Sequence[str]

    def __str__(self) -> str:
        return "".join(f".{name}" for name in self.names)


class Variable(NamedTuple):
    """`$x.A`; the name is with its `$`."""

    at: int
    name: str
    names: Sequence[str]

    def __str__(self) -> str:
        return self.name + "".join(f".{name}" for name in self.names)


class Function(NamedTuple):
    """A function's name."""

    at: int
    name: str

    def __str__(self) -> str:
        return self.name


class Chain(NamedTuple):
    """`(…).A`"""

    at: int
    pipe: Pipe
    names: Sequence[str]

    def __str__(self) -> str:
        return f"({self.pipe})" + "".join(f".{name}" for name in self.names)


Operand: TypeAlias = "Dot | Literal | Field | Variable | Function | Chain | Pipe"


class Command(NamedTuple):
    """An operand, and its arguments if it is a function."""

    at: int
    words: Sequence[Operand]

    def __str__(self) -> str:
        shown = (f"({word})" if isinstance(word, Pipe) else str(word) for word in self.words)
        return " ".join(shown)


class Pipe(NamedTuple):
    """Commands, each given what the one before made; and the variables that take the result."""

    at: int
    variables: Sequence[str]
    assigns: bool
    """Whether the variables are there already (`=`), not new (`:=`)."""
    commands: Sequence[Command]

    def __str__(self) -> str:
        shown = " | ".join(map(str, self.commands))
        sign = "=" if self.assigns else ":="
        return f"{', '.join(self.variables)} {sign} {shown}" if self.variables else shown


class Text(NamedTuple):
    """What is printed as it stands."""

    at: int
    text: str


class Action(NamedTuple):
    """`{{pipe}}`"""

    at: int
    pipe: Pipe


class Branch(NamedTuple):
    """`if`, `with` or `range`."""

    at: int
    word: str
    pipe: Pipe
    body: Sequence[Node]
    otherwise: Sequence[Node]


class Jump(NamedTuple):
    """`break` or `continue`."""

    at: int
    word: str


Node: TypeAlias = "Text | Action | Branch | Jump"
