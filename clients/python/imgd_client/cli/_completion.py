"""imgctl completion: the scripts that make a shell ask `_complete`."""

from __future__ import annotations

import os
from typing import ClassVar

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    add_completion_class,
    get_completion_class,
    shell_complete,
    split_arg_string,
)

from ._command import command

__all__ = ["Bash", "complete", "completion"]

_VARIABLE = "_IMGCTL_COMPLETE"

_BASH = """\
%(complete_func)s() {
    local type value
    COMPREPLY=()
    while IFS=, read -r type value; do
        case $type in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            *) COMPREPLY+=("$value") ;;
        esac
    done < <(COMP_LINE="$COMP_LINE" COMP_POINT=$COMP_POINT COMP_WORDBREAKS="$COMP_WORDBREAKS" \\
        %(complete_var)s=bash_complete "$1" 2>/dev/null)
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""


@add_completion_class
class Bash(BashComplete):
    """click's, but for names with `:`, `=` or `@`, at which bash breaks words."""

    source_template: ClassVar[str] = _BASH

    def get_completion_args(self) -> tuple[list[str], str]:
        """The words before the cursor, and the one at it."""
        line = os.environ["COMP_LINE"].encode(errors="surrogateescape")
        before = line[: int(os.environ["COMP_POINT"])].decode(errors="replace")
        words = split_arg_string(before)[1:]
        if not words or before[-1:].isspace():
            return words, ""
        return words[:-1], words[-1]

    def format_completion(self, item: CompletionItem) -> str:
        """What bash is to put in place of the piece after the last break."""
        breaks = set(os.environ.get("COMP_WORDBREAKS", "")) & set(":=@")
        _, incomplete = self.get_completion_args()
        kept = max((incomplete.rfind(one) + 1 for one in breaks), default=0)
        return f"{item.type},{item.value[kept:]}"


def complete(app: click.Command, instruction: str) -> int:
    """Answers a shell that asks; returns the exit code."""
    return shell_complete(app, {}, "imgctl", _VARIABLE, instruction)


@command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Prints the script that completes imgctl's words and the daemon's names in a shell.

    \b
    bash: source <(imgctl completion bash)
    zsh:  source <(imgctl completion zsh)
    fish: imgctl completion fish | source
    """
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(ctx.find_root().command, {}, "imgctl", _VARIABLE).source())
