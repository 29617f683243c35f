"""A terminal for programs that look whether they have one: what they drew, as a person sees it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

__all__ = ["Terminal"]

PATIENCE = 60.0
_PIECE = re.compile(r"\x1b\[(?P<what>[0-9;?]*)(?P<verb>[A-Za-z])|[\r\n]|[^\x1b\r\n]+|\x1b")


class Terminal:
    """A program on a pseudo-terminal.

    Knows the control sequences that progress bars use: up, erase, colours, and the cursor's.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        width: int = 80,
        height: int = 24,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.lines: list[str] = [""]
        """Everything on the screen, and above it."""
        self.raw = ""
        """Everything that was written."""
        self._row = self._column = 0
        self._width = width
        self._rest = ""
        self._end, end = pty.openpty()
        fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
        # What the caller's own terminal is, or a test runner says that it is, is nothing to us.
        foreign = {"NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES"}
        inherited = {key: value for key, value in os.environ.items() if key not in foreign}
        self.process = subprocess.Popen(
            command,
            stdin=end,
            stdout=end,
            stderr=end,
            start_new_session=True,
            env={**inherited, "TERM": "xterm-256color", **(environment or {})},
            # So that Ctrl-C reaches it as it would a shell's foreground job.
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(end)

    @property
    def text(self) -> str:
        """The lines, without what pads them."""
        return "\n".join(line.rstrip() for line in self.lines).rstrip("\n")

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Reads what the program writes until the condition holds. Raises TimeoutError."""
        end = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > end or not self._read(PATIENCE):
                raise TimeoutError(f"the screen shows only:\n{self.text}")

    def type(self, keys: str) -> None:
        """Presses keys."""
        os.write(self._end, keys.encode())

    def wait(self) -> int:
        """Reads to the program's end; returns its exit status."""
        while self._read(PATIENCE):
            pass
        return self.process.wait(PATIENCE)

    def close(self) -> None:
        """Ends the program if it runs."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(PATIENCE)
        os.close(self._end)

    def _read(self, seconds: float) -> bool:
        if not select.select([self._end], [], [], seconds)[0]:
            return False
        try:
            written = os.read(self._end, 1 << 16).decode(errors="replace")
        except OSError:
            # The program has closed its end.
            return False
        self.raw += written
        self._draw(written)
        return bool(written)

    def _draw(self, written: str) -> None:
        text = self._rest + written
        # A sequence may come in two pieces.
        cut = text.rfind("\x1b")
        self._rest = (
            text[cut:] if cut >= 0 and not re.match(r"\x1b\[[0-9;?]*[A-Za-z]", text[cut:]) else ""
        )
        for piece in _PIECE.finditer(text.removesuffix(self._rest) if self._rest else text):
            if piece["verb"]:
                self._control(piece["verb"], piece["what"])
            elif piece[0] == "\r":
                self._column = 0
            elif piece[0] == "\n":
                self._down()
            else:
                self._write(piece[0])

    def _control(self, verb: str, what: str) -> None:
        if verb == "A":
            self._row = max(0, self._row - int(what or 1))
        elif verb == "K":
            line = self.lines[self._row]
            self.lines[self._row] = "" if what == "2" else line[: self._column]
        elif verb not in "mhl":
            raise ValueError(f"this terminal knows no ESC[{what}{verb}")

    def _down(self) -> None:
        self._row += 1
        if self._row == len(self.lines):
            self.lines.append("")

    def _write(self, text: str) -> None:
        for character in text:
            if self._column == self._width:
                self._down()
                self._column = 0
            line = self.lines[self._row].ljust(self._column)
            self.lines[self._row] = line[: self._column] + character + line[self._column + 1 :]
            self._column += 1
