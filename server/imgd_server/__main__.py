"""The `imgd` command: `serve`, `fsck`, `gc`, `demo`, `version`."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence

# gRPC's core reads this when it is loaded. What it would print, in a form of its own, reaches us as
# an error or a status too.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

from imgd_server import __version__
from imgd_server.app import check, collect_garbage, configure_logs, serve
from imgd_server.config import Config, add_flags, load
from imgd_server.demo import demo
from imgd_server.errors import Error

__all__ = ["main"]

# Docker's: wrong usage is no failure of the work.
EXIT_FAILURE = 1
EXIT_USAGE = 125
EXIT_INTERRUPTED = 130


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]
        self.exit(EXIT_USAGE, f"{self.prog}: {message}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="imgd", description="The container image daemon.")
    commands = parser.add_subparsers(dest="command", required=True)
    run_daemon = commands.add_parser(
        "serve",
        help="run the daemon",
        description="Runs the daemon until SIGTERM or SIGINT. A flag wins over the environment, "
        "which wins over the file.",
    )
    add_flags(run_daemon)
    fsck = commands.add_parser("fsck", help="check a store that no daemon uses")
    add_flags(fsck, "root", "log_level", "log_format")
    fsck.add_argument("--verify-content", action="store_true", help="read every blob again")
    fsck.add_argument(
        "--repair", action="store_true", help="repair what is safe; a pull fetches what is missing"
    )
    gc = commands.add_parser("gc", help="free what nothing refers to in a store no daemon uses")
    add_flags(gc, "root", "log_level", "log_format")
    gc.add_argument("--dry-run", action="store_true", help="say what would be freed")
    show = commands.add_parser("demo", help="serve samples from a fresh state and pull one")
    show.add_argument("--once", action="store_true", help="end after the pull")
    commands.add_parser("version", help="print the version")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        return _run(options)
    except Error as error:
        sys.stderr.write(f"imgd: {error.message} ({error.reason.name})\n")
        return EXIT_FAILURE
    except OSError as error:
        sys.stderr.write(f"imgd: {error}\n")
        return EXIT_FAILURE
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def _run(options: argparse.Namespace) -> int:
    if options.command == "version":
        sys.stdout.write(f"imgd {__version__}\n")
        return 0
    if options.command == "demo":
        configure_logs(Config(log_level="warning", log_format="text"))
        return asyncio.run(demo(serve, once=options.once))
    config = load(vars(options))
    configure_logs(config)
    if options.command == "fsck":
        problems = asyncio.run(
            check(config, verify_content=options.verify_content, repair=options.repair)
        )
        lines = [f"{one.reason.name} {one.subject}: {one.message}\n" for one in problems]
        sys.stdout.write("".join(lines) or "no problems found\n")
        return 0 if all(one.repaired for one in problems) else EXIT_FAILURE
    if options.command == "gc":
        report = asyncio.run(collect_garbage(config, dry_run=options.dry_run))
        sys.stdout.write(
            f"{'would delete' if options.dry_run else 'deleted'} {report.deleted_blobs} blobs and "
            f"{report.deleted_partials} unfinished ones: {report.freed_bytes} bytes\n"
        )
        return 0
    asyncio.run(serve(config))
    return 0


if __name__ == "__main__":
    sys.exit(main())
