r"""Shell patterns over image names, as the `reference` filter has them.

The grammar is that of Go's path.Match, which Docker uses: `*` and `?` never cross `/`, `[a-z]` and
`[^a-z]` are classes, `\` escapes. Beyond it, `**` crosses `/`.
"""

from __future__ import annotations

import re

from imgd_server.oci import DEFAULT_DOMAIN

__all__ = ["PatternError", "ReferencePattern"]

_OFFICIAL = f"{DEFAULT_DOMAIN}/library/"
_HUB = f"{DEFAULT_DOMAIN}/"
_HOST = re.compile(r"localhost|[^/*?\[\\]*\.[^/*?\[\\]*|[^/*?\[\\]+:[0-9]+", re.ASCII)
# More stars than any name has parts cost, and mean nothing more.
_MAX_STARS = 64
# What SQLite's GLOB takes for more than itself.
_GLOB_SPECIAL = frozenset("*?[")


class PatternError(ValueError):
    """A pattern breaks the grammar; the message says how."""


class ReferencePattern:
    """One pattern, tried against an image's name in four forms.

    These are the familiar name, the familiar name with its tag, and both in full. A host alone
    (`ghcr.io`, `localhost:5000`, also with a `/` behind it) fits everything in that registry.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self._expression, self._glob = _translate(text)
        bare = text.removesuffix("/")
        self._host = f"{bare}/" if _HOST.fullmatch(bare) else ""

    def matches(self, name: str, repository: str) -> bool:
        """Whether a name (full, with tag or digest) of this repository (full) fits."""
        if self._host and repository.startswith(self._host):
            return True
        fits = self._expression.fullmatch
        cut = len(repository) - len(familiar_name(repository))
        if fits(repository) or (cut and fits(repository[cut:])):
            return True
        if "@" in name[len(repository) :]:
            return False
        return bool(fits(name) or (cut and fits(name[cut:])))

    @property
    def globs(self) -> tuple[str, ...]:
        """Patterns of SQLite's GLOB, one of which every full name that fits does match."""
        found = tuple(f"{start}{self._glob}*" for start in ("", _HUB, _OFFICIAL))
        return (*found, f"{self._host}*") if self._host else found


def familiar_name(repository: str) -> str:
    """A full repository's name as people write it."""
    if repository.startswith(_OFFICIAL) and "/" not in repository[len(_OFFICIAL) :]:
        return repository[len(_OFFICIAL) :]
    return repository.removeprefix(_HUB)


def familiar(name: str) -> str:
    """A full name, with tag or digest, as people write it."""
    repository = name.partition("@")[0]
    return name.replace(repository, familiar_name(repository), 1)


def _translate(text: str) -> tuple[re.Pattern[str], str]:
    """The pattern as a regular expression, and as a GLOB that takes at least as much.

    What stands behind a star matches at its first chance, as in Go, and is never taken back
    (atomic groups): so no pattern is slow.
    """
    expression: list[str] = []
    glob: list[str] = []
    stars = 0
    position = 0
    while position < len(text):
        character = text[position]
        if character == "*":
            crossing = text.startswith("**", position)
            while position < len(text) and text[position] == "*":
                position += 1
            expression.append(f"{')' if stars else ''}(?>{'.' if crossing else '[^/]'}*?")
            glob.append("*")
            stars += 1
            if stars > _MAX_STARS:
                raise PatternError(f"has more than {_MAX_STARS} stars")
            continue
        if character == "?":
            expression.append("[^/]")
            glob.append("?")
        elif character == "[":
            position, found = _class(text, position + 1)
            expression.append(found)
            glob.append("?")
            continue
        else:
            if character == "\\":
                position += 1
                if position == len(text):
                    raise PatternError("ends with a '\\' that escapes nothing")
                character = text[position]
            expression.append(re.escape(character))
            glob.append(f"[{character}]" if character in _GLOB_SPECIAL else character)
        position += 1
    if stars:
        # The last star may be tried again until the name ends where the pattern does.
        last = max(place for place, part in enumerate(expression) if "(?>" in part)
        expression[last] = expression[last].replace("(?>", "(?:")
        expression.append(")")
    return re.compile("".join(expression), re.ASCII | re.DOTALL), "".join(glob)


def _class(text: str, position: int) -> tuple[int, str]:
    """Reads a class whose `[` stands before `position`; returns what is behind it, and its form."""
    negated = text.startswith("^", position)
    position += negated
    ranges: list[str] = []
    while True:
        if text.startswith("]", position) and ranges:
            return position + 1, f"[{'^' if negated else ''}{''.join(ranges)}]"
        position, low = _class_character(text, position)
        high = low
        if text.startswith("-", position):
            position, high = _class_character(text, position + 1)
        if low > high:
            raise PatternError(f"has a class with an empty range, {low}-{high}")
        ranges.append(f"{re.escape(low)}-{re.escape(high)}")


def _class_character(text: str, position: int) -> tuple[int, str]:
    if text.startswith("\\", position):
        position += 1
    elif text.startswith(("-", "]"), position):
        raise PatternError("has a malformed class")
    if position >= len(text):
        raise PatternError("has a class that is not closed")
    return position + 1, text[position]
