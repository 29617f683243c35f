"""Shell patterns over the paths of files, in time that does not depend on the pattern's shape."""

from __future__ import annotations

from imgd_server.errors import FieldError

__all__ = ["PathPattern"]

MAX_PATTERN = 1024


class PathPattern:
    r"""A pattern over whole paths: `*` and `?` never cross `/`, `**` does, and `/**/` also fits one
    `/`; `[a-z]` and `[^a-z]` (or `[!a-z]`) are classes, `\` escapes. One that does not begin with a
    `/` fits in any directory.

    All its positions are followed at once, as bits of one number, so a character of a path costs
    a few operations on numbers of the pattern's length, whatever the pattern.

    Raises FIELD_INVALID, for the field `pattern`.
    """

    def __init__(self, text: str) -> None:
        if len(text) > MAX_PATTERN:
            raise _refuse(f"has more than {MAX_PATTERN} characters")
        self._text = text if text.startswith("/") else f"**/{text}"
        # By position: what is taken there, None for any but `/`; which stars stand before it.
        self._tokens: list[_Class | str | None] = []
        self._stars = self._crossing = self._joining = 0
        self._parse()
        self._end = 1 << len(self._tokens)
        self._taken: dict[str, int] = {}

    def matches(self, path: str) -> bool:
        """Whether it fits."""
        state = 1
        state |= (state & self._joining) << 1
        for character in path:
            stay = self._crossing if character == "/" else self._stars
            state = (state & self._takes(character)) << 1 | state & stay
            state |= (state & self._joining) << 1
            if not state:
                return False
        return bool(state & self._end)

    def _takes(self, character: str) -> int:
        found = self._taken.get(character)
        if found is None:
            found = sum(
                1 << place
                for place, token in enumerate(self._tokens)
                if (token is None and character != "/")
                or token == character
                or (isinstance(token, _Class) and character != "/" and token.has(character))
            )
            if len(self._taken) < 4096:
                self._taken[character] = found
        return found

    def _parse(self) -> None:
        text, place = self._text, 0
        while place < len(text):
            character = text[place]
            bit = 1 << len(self._tokens)
            if character == "*":
                length = len(text) - place - len(text[place:].lstrip("*"))
                self._stars |= bit
                if length > 1:
                    self._crossing |= bit
                    before = place > 0 and text[place - 1] == "/"
                    if before and text.startswith("/", place + length):
                        self._joining |= bit
                place += length
                continue
            if character == "?":
                self._tokens.append(None)
            elif character == "[":
                place, found = _class(text, place + 1)
                self._tokens.append(found)
                continue
            else:
                if character == "\\":
                    place += 1
                    if place == len(text):
                        raise _refuse("ends with a '\\' that escapes nothing")
                self._tokens.append(text[place])
            place += 1


class _Class:
    def __init__(self, ranges: list[tuple[str, str]], *, negated: bool) -> None:
        self._ranges, self._negated = ranges, negated

    def has(self, character: str) -> bool:
        return any(low <= character <= high for low, high in self._ranges) != self._negated


def _class(text: str, place: int) -> tuple[int, _Class]:
    negated = text.startswith(("^", "!"), place)
    place += negated
    ranges: list[tuple[str, str]] = []
    while not (ranges and text.startswith("]", place)):
        place, low = _one(text, place)
        high = low
        if text.startswith("-", place) and not text.startswith("]", place + 1):
            place, high = _one(text, place + 1)
        if low > high:
            raise _refuse(f"has a class with an empty range, {low}-{high}")
        ranges.append((low, high))
    return place + 1, _Class(ranges, negated=negated)


def _one(text: str, place: int) -> tuple[int, str]:
    place += text.startswith("\\", place)
    if place >= len(text):
        raise _refuse("has a class that is not closed")
    return place + 1, text[place]


def _refuse(message: str) -> FieldError:
    return FieldError("pattern", f"pattern: {message}")
