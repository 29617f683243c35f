"""An OCI runtime bundle's `config.json` from an image's config and a caller's overrides.

Sources: OCI runtime 1.0.2, config.md; OCI image 1.1, conversion.md; the defaults (capabilities,
mounts, masked paths) are Docker's and `runc spec`'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from imgd_server.errors import FieldError
from imgd_server.images._inspect import Inspection
from imgd_server.rootfs import read_inside

__all__ = ["BundleRequest", "User", "find_user", "runtime_config"]

# Real ones have some KiB; directories of whole universities fit.
_MAX_DATABASE = 4 << 20
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_MAX_ID = (1 << 32) - 2
_CAPABILITIES = [
    f"CAP_{name}"
    for name in (
        "AUDIT_WRITE",
        "CHOWN",
        "DAC_OVERRIDE",
        "FOWNER",
        "FSETID",
        "KILL",
        "MKNOD",
        "NET_BIND_SERVICE",
        "NET_RAW",
        "SETFCAP",
        "SETGID",
        "SETPCAP",
        "SETUID",
        "SYS_CHROOT",
    )
]
_MASKED = [
    *(
        f"/proc/{name}"
        for name in (
            "acpi",
            "asound",
            "interrupts",
            "kcore",
            "keys",
            "latency_stats",
            "sched_debug",
            "scsi",
            "timer_list",
            "timer_stats",
        )
    ),
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
]
_READ_ONLY = [f"/proc/{name}" for name in ("bus", "fs", "irq", "sys", "sysrq-trigger")]


@dataclass(frozen=True, slots=True)
class BundleRequest:
    """What of a bundle differs from the image's defaults; as BundleSpec has it."""

    path: str = ""
    args: Sequence[str] = ()
    env: Sequence[str] = ()
    working_dir: str = ""
    user: str = ""
    terminal: bool = False
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class User:
    """Whom a process runs as."""

    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()
    home: str = "/"


def find_user(root: int, text: str) -> User:
    """The user that `user[:group]` means in a root file system (a descriptor): names and numbers,
    by its own `/etc/passwd` and `/etc/group`, no link in which leads out of it.

    As Docker has it: without a group, the user's own and those that list it. Raises FIELD_INVALID
    for a name that is not there.
    """
    name, colon, group = text.partition(":")
    name = name or "0"
    users = _entries(root, b"etc/passwd", 7)
    groups = _entries(root, b"etc/group", 4)
    # A name wins over a number that looks the same.
    entry = _entry(users, name)
    if entry is not None:
        user = User(_id(entry[2]) or 0, _id(entry[3]) or 0, home=entry[5] or "/")
        name = entry[0]
    else:
        uid = _id(name)
        if uid is None:
            raise FieldError("bundle.user", f"bundle.user: the image has no user {name[:100]!r}")
        user = User(uid)
    if colon and group:
        found = _entry(groups, group)
        gid = _id(found[2]) if found else _id(group)
        if gid is None:
            raise FieldError("bundle.user", f"bundle.user: the image has no group {group[:100]!r}")
        return User(user.uid, gid, home=user.home)
    more = {
        gid
        for one in groups
        if entry is not None and name in one[3].split(",") and (gid := _id(one[2])) is not None
    }
    return User(user.uid, user.gid, tuple(sorted(more - {user.gid})), user.home)


def _entries(root: int, path: bytes, fields: int) -> list[list[str]]:
    raw = read_inside(root, path, _MAX_DATABASE) or b""
    lines = raw.decode("utf-8", "replace").splitlines()
    return [parts for line in lines if len(parts := line.strip().split(":")) >= fields]


def _entry(entries: Sequence[list[str]], name: str) -> list[str] | None:
    """The entry with this name, else the one with this number."""
    named = next((one for one in entries if one[0] == name), None)
    number = _id(name)
    if named is not None or number is None:
        return named
    return next((one for one in entries if _id(one[2]) == number), None)


def _id(text: str) -> int | None:
    if not (text.isascii() and text.isdecimal()) or len(text) > 10:
        return None
    return int(text) if int(text) <= _MAX_ID else None


def _environment(
    image: Sequence[str], added: Sequence[str], home: str, terminal: bool
) -> list[str]:
    """Variables, later ones in the place of earlier ones of the same name."""
    found = {"PATH": _PATH, **({"TERM": "xterm"} if terminal else {})}
    for one in (*image, *added):
        name, _, value = one.partition("=")
        found[name] = value
    found.setdefault("HOME", home)
    return [f"{name}={value}" for name, value in found.items()]


def runtime_config(
    found: Inspection,
    wanted: BundleRequest,
    user: User,
    *,
    root: str,
    hostname: str,
    volumes: Mapping[str, str],
    owner: tuple[int, int] | None,
) -> dict[str, Any]:
    """The runtime config. `root` is where the root file system is, `volumes` are folders of the
    host by their place in it, and `owner` is who runs it without privileges (uid, gid): then root
    in the container is that user, and nobody else is.

    Raises FIELD_INVALID where nothing says what to run, or it can't be said, or for a variable
    without a name.
    """
    for place, one in enumerate(wanted.env):
        if one.find("=") < 1:
            raise FieldError(f"bundle.env[{place}]", f"bundle.env[{place}]: wants NAME=value")
    args = [*found.words("Entrypoint"), *(wanted.args or found.words("Cmd"))]
    if not args:
        raise FieldError("bundle.args", "bundle.args: the image has no command; say one")
    cwd = wanted.working_dir or found.text("WorkingDir") or "/"
    if not cwd.startswith("/"):
        cwd = f"/{cwd}"
    environment = _environment(found.words("Env"), wanted.env, user.home, wanted.terminal)
    strings = [*args, cwd, *environment]
    if any("\0" in one for one in strings):
        raise FieldError("bundle", "bundle: a NUL can't be in an argument or a variable")
    return {
        "ociVersion": "1.0.2",
        "process": {
            "terminal": wanted.terminal,
            "user": {"uid": user.uid, "gid": user.gid, "additionalGids": [*user.groups]},
            "args": args,
            "env": environment,
            "cwd": cwd,
            "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), _CAPABILITIES),
            "noNewPrivileges": False,
        },
        "root": {"path": root, "readonly": wanted.read_only},
        "hostname": hostname[:64],
        "mounts": [*_mounts(owner), *(_volume(*one) for one in sorted(volumes.items()))],
        "annotations": _annotations(found),
        "linux": _linux(owner),
    }


def _mounts(owner: tuple[int, int] | None) -> list[dict[str, Any]]:
    terminals = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]
    safe = ["nosuid", "noexec", "nodev"]
    system: list[dict[str, Any]] = [
        {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": [*safe, "ro"]},
        {
            "destination": "/sys/fs/cgroup",
            "type": "cgroup",
            "source": "cgroup",
            "options": [*safe, "relatime", "ro"],
        },
    ]
    if owner is not None:
        # Only the owner of a network namespace may mount its sysfs.
        system = [
            {"destination": "/sys", "type": "none", "source": "/sys", "options": ["rbind", *safe]}
        ]
        system[0]["options"].append("ro")
    return [
        {"destination": "/proc", "type": "proc", "source": "proc", "options": safe},
        {
            "destination": "/dev",
            "type": "tmpfs",
            "source": "tmpfs",
            "options": ["nosuid", "strictatime", "mode=755", "size=65536k"],
        },
        {
            "destination": "/dev/pts",
            "type": "devpts",
            "source": "devpts",
            "options": terminals if owner else [*terminals, "gid=5"],
        },
        {
            "destination": "/dev/shm",  # noqa: S108 - in the container
            "type": "tmpfs",
            "source": "shm",
            "options": [*safe, "mode=1777", "size=65536k"],
        },
        {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": safe},
        *system,
    ]


def _volume(destination: str, source: str) -> dict[str, Any]:
    return {
        "destination": destination,
        "type": "none",
        "source": source,
        "options": ["rbind", "rw", "nodev"],
    }


def _annotations(found: Inspection) -> dict[str, str]:
    """conversion.md, "Annotation Fields"."""
    prefix = "org.opencontainers.image"
    if (config := found.config) is None:
        return {}
    platform, created = config.platform, config.created
    implicit = {
        "os": platform.os,
        "architecture": platform.architecture,
        "variant": platform.variant,
        "os.version": platform.os_version,
        "os.features": ",".join(platform.os_features),
        "author": config.author,
        "created": created.isoformat().replace("+00:00", "Z") if created else "",
        "stopSignal": found.text("StopSignal"),
        "exposedPorts": ",".join(found.keys("ExposedPorts")),
    }
    # Labels win over what is implied.
    shown = {f"{prefix}.{key}": value for key, value in implicit.items() if value}
    return {**shown, **config.labels}


def _linux(owner: tuple[int, int] | None) -> dict[str, Any]:
    namespaces = ["pid", "ipc", "uts", "mount", "network"]
    settings: dict[str, Any] = {
        "maskedPaths": _MASKED,
        "readonlyPaths": _READ_ONLY,
    }
    if owner is None:
        settings["resources"] = {"devices": [{"allow": False, "access": "rwm"}]}
    else:
        namespaces.append("user")
        for key, identity in zip(("uidMappings", "gidMappings"), owner, strict=True):
            settings[key] = [{"containerID": 0, "hostID": identity, "size": 1}]
    return settings | {"namespaces": [{"type": one} for one in namespaces]}
