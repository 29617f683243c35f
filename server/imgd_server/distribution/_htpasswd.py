"""Users and passwords in Apache's htpasswd format, bcrypt only, as docker-registry takes them."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import os
import re
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import bcrypt

from imgd_server.distribution._protocol import refuse
from imgd_server.distribution._watched import WatchedFiles, invalid

__all__ = ["Passwords", "Throttle", "parse_htpasswd"]

_KEY = "registry_htpasswd"
_HASH = re.compile(rb"\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{53}")
# Each step doubles the work: 15 takes seconds, and 31 a day.
_LEAST_COST, _MOST_COST = 4, 15
# bcrypt looks at so many bytes of a password.
_MAX_PASSWORD = 72
# Checks at once, and how many more may wait: a check takes a tenth of a second of a processor.
_CHECKS, _MAX_WAITING = 2, 64
# Pairs that were proven; a client sends its pair with every request.
_MAX_PROVEN = 1000
# An address may fail so often at once, and then once in so many seconds.
_BURST, _REFILL_SECONDS = 10.0, 6.0
_MAX_ADDRESSES = 10_000


def parse_htpasswd(data: bytes) -> dict[bytes, bytes]:
    """The users' hashes. Raises FIELD_INVALID with the line's number, and never its text."""
    users: dict[bytes, bytes] = {}
    for number, line in enumerate(data.splitlines(), 1):
        text = line.strip()
        if not text or text.startswith(b"#"):
            continue
        user, colon, hashed = text.partition(b":")
        match = _HASH.fullmatch(hashed)
        if not user or not colon or not match:
            raise invalid(_KEY, f"line {number} is no user:hash of bcrypt (htpasswd -B makes it)")
        if not _LEAST_COST <= int(match[1]) <= _MOST_COST:
            raise invalid(_KEY, f"line {number}: a cost of {_LEAST_COST} to {_MOST_COST} is taken")
        if user in users:
            raise invalid(_KEY, f"line {number} names a user for the second time")
        users[user] = hashed
    if not users:
        raise invalid(_KEY, "the file names no user")
    return users


class Throttle:
    """How often an address may fail: a bucket that leaks. An IPv6 host counts with its /64."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def charge(self, address: str) -> float:
        """Counts an attempt as a failure until `refund`. Returns the seconds to wait where there
        have been too many; then it counts nothing."""
        key, now = _network(address), self._clock()
        level = self._level(key, now)
        if level > _BURST - 1:
            return (level - (_BURST - 1)) * _REFILL_SECONDS
        self._levels[key] = level + 1, now
        self._levels.move_to_end(key)
        if len(self._levels) > _MAX_ADDRESSES:
            self._levels.popitem(last=False)
        return 0.0

    def refund(self, address: str) -> None:
        """The attempt was no failure."""
        key, now = _network(address), self._clock()
        self._levels[key] = max(self._level(key, now) - 1, 0.0), now

    def _level(self, key: str, now: float) -> float:
        level, at = self._levels.get(key, (0.0, now))
        return max(level - (now - at) / _REFILL_SECONDS, 0.0)


def _network(address: str) -> str:
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.IPv6Network((parsed, 64), strict=False))
    return str(parsed)


class Passwords:
    """Checks users' passwords. Belongs to one event loop.

    An unknown user costs the work of a known one. What was proven is remembered, as a keyed hash,
    for as long as the file has that user with that hash.
    """

    def __init__(self, path: str, throttle: Throttle | None = None) -> None:
        self._file = WatchedFiles({_KEY: path}, parse_htpasswd)
        self._throttle = throttle or Throttle()
        self._secret = os.urandom(32)
        self._proven: OrderedDict[bytes, None] = OrderedDict()
        self._checking: dict[bytes, asyncio.Task[bool]] = {}
        self._threads = ThreadPoolExecutor(_CHECKS, "bcrypt")

    async def check(self, user: bytes, password: bytes, address: str) -> bool:
        """Whether the password is the user's. Refuses with TOOMANYREQUESTS an address that has
        failed too often, and anybody while too many wait."""
        users = self._file.current()
        known = users.get(user)
        pair = self._keyed(b"pair", user, password, known or b"")
        if pair in self._proven:
            self._proven.move_to_end(pair)
            return True
        # A client opens several connections at once: one check for all of them.
        task = self._checking.get(pair)
        if task is None:
            self._admit(address)
            hashed = known or self._decoy(users, user)

            async def prove() -> bool:
                met = await self._matches(password, hashed) and known is not None
                if met:
                    self._throttle.refund(address)
                    self._remember(pair)
                return met

            task = asyncio.create_task(prove())
            self._checking[pair] = task
            task.add_done_callback(lambda _: self._checking.pop(pair))
        return await asyncio.shield(task)

    def close(self) -> None:
        """Ends the threads, when the checks under way are done."""
        self._threads.shutdown(cancel_futures=True)

    def _admit(self, address: str) -> None:
        if wait := self._throttle.charge(address):
            raise refuse(
                "TOOMANYREQUESTS",
                "too many failed logins from this address; wait",
                headers={"Retry-After": str(int(wait) + 1)},
            )
        if len(self._checking) >= _CHECKS + _MAX_WAITING:
            self._throttle.refund(address)
            raise refuse(
                "TOOMANYREQUESTS", "too many logins at once; wait", headers={"Retry-After": "1"}
            )

    async def _matches(self, password: bytes, hashed: bytes) -> bool:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, _matches, password, hashed)

    def _remember(self, pair: bytes) -> None:
        self._proven[pair] = None
        if len(self._proven) > _MAX_PROVEN:
            self._proven.popitem(last=False)

    def _decoy(self, users: dict[bytes, bytes], user: bytes) -> bytes:
        """The hash that an unknown user is checked against, always the same one: where hashes
        differ in cost, the time must not tell either."""
        choice = int.from_bytes(self._keyed(b"decoy", user)[:8], "big")
        return list(users.values())[choice % len(users)]

    def _keyed(self, *parts: bytes) -> bytes:
        digests = b"".join(hashlib.sha256(part).digest() for part in parts)
        return hmac.digest(self._secret, digests, "sha256")


def _matches(password: bytes, hashed: bytes) -> bool:
    try:
        return bcrypt.checkpw(password[:_MAX_PASSWORD], hashed)
    except ValueError:  # a NUL, say
        return False
