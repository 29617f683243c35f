"""Bundles that a real runtime (crun) runs."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.peers import require

__all__ = ["PATIENCE", "crun", "unmount_all"]

# A net for what hangs.
PATIENCE = 60.0


def unmount_all(folder: Path) -> None:
    """What a test that failed has left."""
    for line in reversed(Path("/proc/self/mounts").read_text().splitlines()):
        where = line.split()[1]
        if where.startswith(str(folder)):
            subprocess.run(["umount", "-l", where], check=False)


def crun(bundle: str, name: str = "x") -> str:
    """Runs a bundle, and returns what it says.

    crun takes no hybrid of control groups 1 and 2, as some machines have it: then it gets to see
    those of version 1 alone.
    """
    program = require("crun")
    hide = "[ ! -d /sys/fs/cgroup/unified ] || umount /sys/fs/cgroup/unified; "
    script = f'{hide}exec "$0" run --bundle "$1" "$2"'
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, str(program), bundle, name],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done
    return done.stdout
