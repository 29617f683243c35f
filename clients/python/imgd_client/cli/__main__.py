"""Runs imgctl: one readable line for every failure, and docker's exit codes."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

import click

from ._app import app

__all__ = ["main"]

FAILURE = 1
USAGE = 125
INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line and returns the exit code."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    threading.excepthook = _tell_of_thread
    # Its core writes lines of its own, and reads this when it is imported: nothing here may import
    # it any earlier.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from imgd_client import ImgdError

    for stream in (sys.stdout, sys.stderr):
        # As docker: UTF-8 in any locale, and bytes that are none as they are.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="surrogateescape")
    try:
        code = _run(sys.argv[1:] if argv is None else argv)
        if sys.stdout:
            sys.stdout.flush()
        return code
    except BrokenPipeError:
        # Whoever read the output has enough.
        _give_up_output()
        return 128 + signal.SIGPIPE
    except (KeyboardInterrupt, click.Abort):
        if sys.stderr and sys.stderr.isatty():
            # The terminal has written ^C.
            click.echo(err=True)
        return INTERRUPTED
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "imgctl"
        _tell(f"{error.format_message().rstrip('.')}. See '{path} --help'.")
        return USAGE
    except click.ClickException as error:
        return _fail(error.format_message())
    except ImgdError as error:
        from ._names import plain_error

        return _fail(plain_error(error))
    except OSError as error:
        # The only files here are what is printed to.
        _give_up_output()
        return _fail(f"can't write the output: {error.strerror}")


def _run(words: Sequence[str]) -> int:
    # Not click's own main(), which writes to a terminal that is not there, and exits by itself.
    if instruction := os.environ.get("_IMGCTL_COMPLETE"):
        from ._completion import complete

        return complete(app, instruction)
    try:
        with app.make_context("imgctl", [*words]) as context:
            app.invoke(context)
    except click.exceptions.Exit as done:
        return done.exit_code
    return 0


def _leave(number: int, _frame: FrameType | None) -> NoReturn:
    # Unwinds, so that a pull that is ours is cancelled.
    raise SystemExit(128 + number)


def _tell_of_thread(args: threading.ExceptHookArgs) -> None:
    trace = args.exc_traceback
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    # A channel that is closed while calls go on fails in a thread of gRPC's, which has nobody to
    # tell and nothing more to do.
    where = trace.tb_frame.f_globals.get("__name__", "") if trace else ""
    if not where.startswith("grpc."):
        threading.__excepthook__(args)


def _give_up_output() -> None:
    """Lets nothing be written when the interpreter ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(message: str) -> int:
    _tell(message)
    return FAILURE


def _tell(message: str) -> None:
    click.echo(f"imgctl: {' '.join(message.split())}", err=True)


if __name__ == "__main__":
    sys.exit(main())
