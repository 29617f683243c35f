"""Runs imgctl: one readable line for every failure, and docker's exit codes."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

import click

from imgd_client import ImgdError

from ._app import app

__all__ = ["main"]

FAILURE = 1
USAGE = 125
INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line and returns the exit code."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    try:
        code = app.main(args=argv, prog_name="imgctl", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except BrokenPipeError:
        # Whoever read the output has enough. Nothing may be written when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    except click.UsageError as error:
        error.show()
        return USAGE
    except click.ClickException as error:
        return _fail(error.format_message())
    except ImgdError as error:
        return _fail(str(error))


def _leave(number: int, _frame: FrameType | None) -> NoReturn:
    # Unwinds, so that a pull that is ours is cancelled.
    raise SystemExit(128 + number)


def _fail(message: str) -> int:
    click.echo(f"imgctl: {' '.join(message.split())}", err=True)
    return FAILURE


if __name__ == "__main__":
    sys.exit(main())
