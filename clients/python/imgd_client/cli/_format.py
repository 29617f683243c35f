"""The option --format as docker has it (cli/command/formatter, formatter.go), and JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click
from google.protobuf.message import Message

from ._tabwriter import align

if TYPE_CHECKING:
    from .gotemplate import Struct, Template

__all__ = [
    "format_option",
    "formatter",
    "is_table",
    "to_dict",
    "write_object",
    "write_rows",
    "write_table",
]

_HELP = "'json', or a Go template such as '{{.ID}}'; 'table TEMPLATE' adds a header."


def format_option(*names: str, help: str = _HELP) -> Callable[[Any], Any]:  # noqa: A002
    """`--format`, and more names for it. The parameter is `form`; empty when not given."""
    return click.option(*names, "--format", "form", default="", metavar="FORMAT", help=help)


def is_table(form: str) -> bool:
    """Whether the usual table is wanted."""
    return form in ("", "table")


def write_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Prints rows in columns under a header."""
    lines = ["\t".join(cells) for cells in (header, *rows)]
    click.echo(align("\n".join(lines)))


def write_rows(form: str, rows: Iterable[Struct], header: Mapping[str, str]) -> None:
    """Prints a list in the format wanted; `header` has the titles of the fields of a row.

    Raises:
        ClickException: The template can't be read or carried out. Nothing was printed.
    """
    from .gotemplate import Struct, encode

    if form == "json":
        lines = [encode(row) for row in rows]
    else:
        table = form.startswith("table")
        text = form.removeprefix("table").strip(" ").replace("\\t", "\t").replace("\\n", "\n")
        template = _parsed(text)
        lines = [_executed(template, row) for row in rows]
        if table:
            titles = Struct("header", header, lenient=True)
            lines = [align("\n".join([template.header(titles), *lines]))]
    if lines:
        click.echo("\n".join(lines))


def formatter(form: str, example: Struct) -> Callable[[Struct], str]:
    """How to write one thing after another, as `form` says.

    Raises:
        ClickException: The template can't be read, or can't be carried out for such a thing as
            `example`.
    """
    template = _parsed("{{json .}}" if form == "json" else form)
    _executed(template, example)
    return lambda found: _executed(template, found)


def write_object(form: str, found: Struct) -> None:
    """Prints one thing in the format wanted: JSON, or a template. Raises ClickException."""
    from .gotemplate import encode

    click.echo(encode(found) if form == "json" else _executed(_parsed(form), found))


def _parsed(text: str) -> Template:
    from .gotemplate import Template, TemplateError

    try:
        return Template(text)
    except TemplateError as error:
        raise click.ClickException(f"template parsing error: {error}") from None


def _executed(template: Template, found: Struct) -> str:
    from .gotemplate import TemplateError

    try:
        return template.execute(found)
    except TemplateError as error:
        raise click.ClickException(f"template parsing error: {error}") from None


def to_dict(message: Message) -> dict[str, Any]:
    """A message as protobuf's JSON has it."""
    from google.protobuf.json_format import MessageToDict

    found: dict[str, Any] = MessageToDict(message)
    return found
