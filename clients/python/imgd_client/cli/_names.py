"""Names and IDs as people read them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imgd_client import ImgdError

__all__ = [
    "domain_of",
    "familiar",
    "has_version",
    "may_be_id",
    "plain_error",
    "printable",
    "pulling_from",
    "repository",
    "short_id",
    "split",
]


def familiar(full: str) -> str:
    """A full name without `docker.io/`, and without `library/` where one component is left."""
    name = full.removeprefix("docker.io/")
    if name != full and name.startswith("library/") and name.count("/") == 1:
        return name.removeprefix("library/")
    return name


def split(reference: str) -> tuple[str, str, str]:
    """A reference's name, tag and digest; empty where it has none."""
    name, _, digest = reference.partition("@")
    folder, slash, last = name.rpartition("/")
    last, _, tag = last.partition(":")
    return f"{folder}{slash}{last}", tag, digest


def repository(full: str) -> str:
    """The familiar name without tag and digest."""
    return familiar(split(full)[0])


def has_version(reference: str) -> bool:
    """Whether it has a tag or digest."""
    _, tag, digest = split(reference)
    return bool(tag or digest)


def may_be_id(image: str) -> bool:
    """Whether it may be an image's ID, or the beginning of one."""
    return re.fullmatch(r"(images/.*|(sha(256|512):)?[0-9a-f]+)", image) is not None


def host_and_path(reference: str) -> tuple[str, str]:
    """The host of a reference's registry, and the repository there."""
    name = split(reference)[0]
    domain, slash, path = name.partition("/")
    # The rule of distribution/reference: a first segment of this form is a host.
    is_host = domain == "localhost" or any(c in ".:" or c.isupper() for c in domain)
    if not (slash and is_host):
        domain, path = "docker.io", name if slash else f"library/{name}"
    return domain, path


def domain_of(reference: str) -> str:
    """The host of a reference's registry, Docker Hub's by its usual name."""
    domain = host_and_path(reference)[0]
    return "docker.io" if domain == "index.docker.io" else domain


def pulling_from(reference: str) -> str:
    """Docker's first line of a pull."""
    _, tag, digest = split(reference)
    domain, path = host_and_path(reference)
    what = f"{domain}/{path}@{digest}" if digest else tag or "latest"
    return f"{what}: Pulling from {path}"


def short_id(digest: str) -> str:
    """Twelve digits of a digest."""
    return digest.partition(":")[2][:12] if ":" in digest else digest[:12]


def printable(path: str) -> str:
    """A file's name as a terminal may see it: it can be anything."""
    return "".join(one if one.isprintable() else "\ufffd" for one in path)


def plain_error(error: ImgdError) -> str:
    """What an error says, with the last word alone of the place in the request that it names."""
    text = str(error)
    for one in error.field_violations:
        if text.startswith(f"{one.field}: "):
            return text[one.field.rfind(".") + 1 :]
    return text
