"""Platforms, and which manifests of an index fit one."""

from __future__ import annotations

import platform as _host
import re
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from ._errors import FormatError, show
from ._json import Fields

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._descriptor import Descriptor

ATTESTATION_ANNOTATION: Final = "vnd.docker.reference.type"

_COMPONENT = re.compile(r"[A-Za-z0-9_.-]+")
_OS = re.compile(r"([A-Za-z0-9_-]+)(?:\(([A-Za-z0-9_.%-]*)((?:\+[A-Za-z0-9_.%-]+)*)\))?")
# The values of Go's GOOS and GOARCH: only they may stand alone, for nothing else tells them apart.
# fmt: off
_KNOWN_OS: Final = frozenset(
    (
        "aix", "android", "darwin", "dragonfly", "freebsd", "hurd", "illumos", "ios", "js",
        "linux", "nacl", "netbsd", "openbsd", "plan9", "solaris", "windows", "zos",
    )
)
_KNOWN_ARCHITECTURES: Final = frozenset(
    (
        "386", "amd64", "amd64p32", "arm", "armbe", "arm64", "arm64be", "loong64", "mips",
        "mips64", "mips64le", "mips64p32", "mips64p32le", "mipsle", "ppc", "ppc64",
        "ppc64le", "riscv", "riscv64", "s390", "s390x", "sparc", "sparc64", "wasm",
    )
)
# fmt: on
_MAX_LENGTH: Final = 256
_NUMBERED = re.compile(r"v?([0-9]{1,2})")
_ARM64 = re.compile(r"v([89])(?:\.([0-9]))?")


@dataclass(frozen=True, slots=True)
class Platform:
    """What an image runs on (OCI image 1.1, image-index.md, "platform").

    Attributes:
        os: A GOOS value.
        architecture: A GOARCH value.
        variant: The CPU's variant, such as ``v7``; empty for the base one.
        os_version: ``os.version``.
        os_features: ``os.features``.
    """

    os: str
    architecture: str
    variant: str = ""
    os_version: str = ""
    os_features: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Platform:
        """Read ``os[(version+feature…)]/architecture[/variant]``, an OS or an architecture alone.

        What is left out is the host's. The result is normalised.

        Raises:
            FormatError: ``PLATFORM_INVALID``.
        """
        if len(text) > _MAX_LENGTH:
            raise _bad(f"a platform has at most {_MAX_LENGTH} characters, not {len(text)}", text)
        parts = text.split("/")
        if len(parts) > 3:
            raise _bad("a platform is os/architecture/variant, and there are more parts", text)
        os_match = _OS.fullmatch(parts[0])
        # An architecture may stand first and hold what an OS cannot.
        if os_match is None and not (len(parts) == 1 and _COMPONENT.fullmatch(parts[0])):
            raise _bad("a platform's OS holds letters, digits, '_' and '-'", parts[0])
        for part in parts[1:]:
            if not _COMPONENT.fullmatch(part):
                raise _bad("a platform's part holds letters, digits, '_', '.' and '-'", part)
        os_name, version, features = os_match.groups() if os_match else (parts[0], None, None)
        named = cls(
            os=os_name,
            architecture=parts[1] if len(parts) > 1 else "",
            variant=parts[2] if len(parts) > 2 else "",
            os_version=_unquote(version or "", text),
            os_features=tuple(_unquote(f, text) for f in (features or "").split("+") if f),
        ).normalized()
        if len(parts) > 1:
            return named
        host = cls.host()
        if named.os in _KNOWN_OS:
            return replace(named, architecture=host.architecture, variant=host.variant)
        alone = cls(os=host.os, architecture=parts[0]).normalized()
        if alone.architecture in _KNOWN_ARCHITECTURES:
            return alone
        raise _bad("this is neither an operating system nor an architecture that is known", text)

    @classmethod
    def host(cls) -> Platform:
        """Return the platform that this process runs on, normalised."""
        os = {"win32": "windows", "cygwin": "windows"}.get(sys.platform, sys.platform)
        machine = _host.machine().lower()
        arm = re.match(r"armv([5-8])", machine)
        if arm:
            return cls(os.rstrip("0123456789"), "arm", f"v{arm[1]}").normalized()
        return cls(os.rstrip("0123456789"), machine).normalized()

    def normalized(self) -> Platform:
        """Return the canonical spelling, as containerd does (``x86_64`` is ``amd64``…)."""
        os = self.os.lower()
        architecture, variant = _normalize_architecture(
            self.architecture.lower(), self.variant.lower()
        )
        return replace(
            self,
            os="darwin" if os == "macos" else os,
            architecture=architecture,
            variant=variant,
            os_features=tuple(sorted(set(self.os_features))),
        )

    @classmethod
    def from_json(cls, obj: object, *, where: str = "platform") -> Platform:
        """Read the OCI JSON object as it is written; absent and null members are empty.

        Raises:
            FormatError: ``PLATFORM_INVALID`` for a member of another type.
        """
        fields = Fields(obj, reason="PLATFORM_INVALID", where=where)
        return cls(
            os=fields.string("os"),
            architecture=fields.string("architecture"),
            variant=fields.string("variant"),
            os_version=fields.string("os.version"),
            os_features=fields.strings("os.features"),
        )

    def to_json(self) -> dict[str, object]:
        """Return the OCI JSON object: the two required members, and the others unless empty."""
        members: dict[str, object] = {"architecture": self.architecture, "os": self.os}
        if self.os_version:
            members["os.version"] = self.os_version
        if self.os_features:
            members["os.features"] = list(self.os_features)
        if self.variant:
            members["variant"] = self.variant
        return members

    def __str__(self) -> str:
        parts = (self.os, self.architecture, self.variant)
        return "/".join(part for part in parts if part) or "unknown"


def is_attestation(descriptor: Descriptor) -> bool:
    """Say whether an index's entry is about another (BuildKit), and so no image."""
    if ATTESTATION_ANNOTATION in descriptor.annotations:
        return True
    platform = descriptor.platform
    return platform is not None and (platform.os, platform.architecture) == ("unknown", "unknown")


def select_platforms(
    candidates: Sequence[Descriptor], wanted: Platform, *, strict: bool = False
) -> list[Descriptor]:
    """Return the entries of an index that `wanted` can run, best first.

    Order and fall-backs are those of containerd's ``platforms.Only``: the exact platform, then
    lower variants, then the architecture that it can emulate (arm64: arm v8 down to v5; amd64:
    386). Among equals more ``os.features`` win, then the index's order. `strict` takes no
    fall-back. Attestations and entries without a platform never match.
    """
    wanted = wanted.normalized()
    ranks: dict[tuple[str, str, str], int] = {}
    for option in [wanted] if strict else _options(wanted):
        option = option.normalized()
        ranks.setdefault((option.os, option.architecture, option.variant), len(ranks))
    features = set(wanted.os_features)
    found: list[tuple[int, int, int]] = []
    for position, candidate in enumerate(candidates):
        if candidate.platform is None or is_attestation(candidate):
            continue
        has = candidate.platform.normalized()
        rank = ranks.get((has.os, has.architecture, has.variant))
        if rank is not None and features.issuperset(has.os_features):
            found.append((rank, -len(has.os_features), position))
    return [candidates[position] for _, _, position in sorted(found)]


def _bad(rule: str, part: str) -> FormatError:
    return FormatError("PLATFORM_INVALID", f"{rule}: {show(part)}", part)


def _unquote(option: str, text: str) -> str:
    try:
        return unquote(option, errors="strict")
    except UnicodeDecodeError as error:
        raise _bad("a platform's OS version and features are UTF-8", text) from error


def _normalize_architecture(architecture: str, variant: str) -> tuple[str, str]:
    match architecture:
        case "i386":
            return "386", ""
        case "x86_64" | "x86-64" | "amd64":
            return "amd64", "" if variant == "v1" else variant
        case "aarch64" | "arm64":
            if variant in ("8", "v8", "v8.0"):
                variant = ""
            elif variant in ("9", "9.0", "v9.0"):
                variant = "v9"
            return "arm64", variant
        case "armhf":
            return "arm", "v7"
        case "armel":
            return "arm", "v6"
        case "arm":
            if variant in ("", "7"):
                variant = "v7"
            elif variant in ("5", "6", "8"):
                variant = f"v{variant}"
    return architecture, variant


def _options(wanted: Platform) -> list[Platform]:
    match wanted.architecture:
        case "amd64":
            lower = [f"v{n}" for n in range(_number(wanted.variant) - 1, 0, -1)]
            return [
                wanted,
                *(replace(wanted, variant=variant) for variant in lower),
                replace(wanted, architecture="386", variant=""),
            ]
        case "arm":
            lower = [f"v{n}" for n in range(_number(wanted.variant) - 1, 4, -1)]
            return [wanted, *(replace(wanted, variant=variant) for variant in lower)]
        case "arm64":
            arm = replace(wanted, architecture="arm", variant="v8")
            return [
                *(replace(wanted, variant=variant) for variant in _arm64_variants(wanted.variant)),
                *_options(arm),
            ]
    return [wanted]


def _number(variant: str) -> int:
    found = _NUMBERED.fullmatch(variant)
    return int(found[1]) if found else 0


def _arm64_variants(variant: str) -> list[str]:
    found = _ARM64.fullmatch(variant or "v8")
    if found is None:
        return [variant]
    major, minor = int(found[1]), int(found[2] or 0)
    names = [f"v{major}.{n}" if n else f"v{major}" for n in range(minor, -1, -1)]
    if major == 9:
        # Arm's Architecture Reference Manual: v9.n extends v8.(n+5).
        names += [f"v8.{n}" if n else "v8" for n in range(min(minor + 5, 9), -1, -1)]
    return names
