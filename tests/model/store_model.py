"""What the store should be, in plain values: behaviour's words without a database.

It shares no code with the server. Times are seconds of a clock that tests move.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.model.fakes import Known

__all__ = ["Container", "Image", "Lease", "RefusedError", "StoreModel", "full_name"]

_ID = re.compile(r"(?:sha256:)?[0-9a-f]{64}")
_PREFIX = re.compile(r"(sha256:)?([0-9a-f]{4,64})")


class RefusedError(Exception):
    """The store must refuse, with this reason, and these holders where it tells them."""

    def __init__(self, reason: str, holders: Iterable[str] = ()) -> None:
        super().__init__(reason)
        self.reason, self.holders = reason, sorted(holders)


def full_name(text: str) -> str:
    """A name in full. Here every registry's name holds a colon."""
    first, slash, _ = text.partition("/")
    if not slash:
        text = f"docker.io/library/{text}"
    elif ":" not in first and first != "docker.io":
        text = f"docker.io/{text}"
    if "@" in text:
        name, _, digest = text.partition("@")
        head, _, last = name.rpartition("/")
        return f"{head}/{last.partition(':')[0]}@{digest}"
    return text if ":" in text.rpartition("/")[2] else f"{text}:latest"


def repository_of(name: str) -> str:
    return name.partition("@")[0] if "@" in name else name.rpartition(":")[0]


@dataclass
class Image:
    known: Known
    number: int
    """Counts first arrivals."""
    stored_at: float
    used_at: float
    blobs: set[str]
    learned: set[str] = field(default_factory=set)
    pinned: bool = False
    doomed: bool = False

    @property
    def target(self) -> str:
        return self.known.target

    @property
    def complete(self) -> bool:
        return self.blobs == set(self.known.sizes)

    @property
    def size(self) -> int:
        return sum(self.known.sizes[one] for one in self.blobs)

    def platform_ids(self) -> set[str]:
        """The IDs of platforms whose manifests are here."""
        return {child.image_id for child in self.known.children if child.target in self.blobs}


@dataclass
class Container:
    target: str
    state: str = "CREATED"
    heartbeat: float | None = None
    due: float | None = None


@dataclass
class Lease:
    expires: float
    targets: set[str] = field(default_factory=set)
    digests: set[str] = field(default_factory=set)


class StoreModel:
    """The images, names, containers and leases, and the blobs on the disk."""

    def __init__(self) -> None:
        self.now = 0.0
        self.images: dict[str, Image] = {}
        self.names: dict[str, str] = {}
        self.containers: dict[str, Container] = {}
        self.leases: dict[str, Lease] = {}
        self.disk: set[str] = set()
        self.uids: dict[str, str] = {}
        """Targets by resource name, as the store chose them."""
        self._arrivals = 0

    # --- looking

    def names_of(self, target: str) -> list[str]:
        return sorted(name for name, at in self.names.items() if at == target)

    def live_leases(self) -> dict[str, Lease]:
        return {key: one for key, one in self.leases.items() if one.expires > self.now}

    def held_by(self, target: str) -> tuple[list[str], list[str], list[str]]:
        """Running containers, other containers, leases."""
        using = {key: one for key, one in self.containers.items() if one.target == target}
        running = [key for key, one in using.items() if one.state in ("RUNNING", "PAUSED")]
        leases = [key for key, one in self.live_leases().items() if target in one.targets]
        return running, [key for key in using if key not in running], leases

    def holders(self, target: str) -> list[str]:
        running, idle, leases = self.held_by(target)
        pin = ["pin"] if self.images[target].pinned else []
        return (
            [f"containers/{c}" for c in (*running, *idle)] + [f"leases/{c}" for c in leases] + pin
        )

    def find(self, text: str) -> Image:
        if text.startswith("images/"):
            target = self.uids.get(text, "")
            if target not in self.images:
                raise RefusedError("IMAGE_NOT_FOUND")
            return self.images[target]
        if not _ID.fullmatch(text):
            name = full_name(text)
            if name in self.names:
                return self.images[self.names[name]]
            for image in self.images.values():
                if name in image.learned:
                    return image
        match = _PREFIX.fullmatch(text)
        if match and (found := self._by_prefix(f"sha256:{match[2]}")):
            if len({one.known.image_id for one in found}) > 1:
                raise RefusedError("IMAGE_AMBIGUOUS")
            return max(found, key=lambda one: one.number)
        raise RefusedError("IMAGE_NOT_FOUND")

    def _by_prefix(self, start: str) -> list[Image]:
        own = [
            one
            for one in self.images.values()
            if one.known.image_id.startswith(start) or one.target.startswith(start)
        ]
        return own or [
            one
            for one in self.images.values()
            if any(platform.startswith(start) for platform in one.platform_ids())
        ]

    def place(self, image: Image) -> tuple[float, str]:
        """What decides where it is listed; who comes first of equals is not told."""
        age = float("inf") if image.known.created is None else -float(image.known.created)
        return age, min(self.rows(image))

    def rows(self, image: Image) -> list[str]:
        """`repository tag`, as tables show an image."""
        names = self.names_of(image.target)
        tagged = [one for one in names if "@" not in one]
        rows = [f"{repository_of(one)} {one.rpartition(':')[2]}" for one in tagged]
        seen = {repository_of(one) for one in tagged}
        digests = {repository_of(one) for one in [*names, *image.learned] if "@" in one} - seen
        return rows + [f"{one} <none>" for one in digests] or ["<none> <none>"]

    def unique(self, target: str) -> set[str]:
        """The blobs that no other image has."""
        others: set[str] = set()
        for image in self.images.values():
            if image.target != target:
                others |= image.blobs
        return self.images[target].blobs - others

    def freeable(self, target: str) -> set[str]:
        """The blobs that go with an image: no lease holds them either."""
        leased = {one for lease in self.live_leases().values() for one in lease.digests}
        return self.unique(target) - leased

    def needed(self) -> set[str]:
        """The blobs that a collection must leave, of those that are there."""
        found: set[str] = set()
        for image in self.images.values():
            found |= image.blobs
        for lease in self.live_leases().values():
            found |= lease.digests & self.disk
        return found

    # --- pulling and naming

    def pull(self, known: Known, name: str, repository: str, *, everything: bool) -> str:
        """Returns the result that the pull should tell."""
        self.disk |= known.own()
        for child in known.children if everything else known.children[:1]:
            self.disk |= set(child.sizes)
        image = self.images.get(known.target)
        if image is None:
            self._arrivals += 1
            image = Image(known, self._arrivals, self.now, self.now, set())
            self.images[known.target] = image
        # What is here counts, whoever brought it.
        image.blobs |= known.own()
        for child in known.children:
            if child.target in self.disk:
                image.blobs |= set(child.sizes) & self.disk
        image.learned.add(f"{repository}@{known.target}")
        image.used_at = self.now
        before = self.put_name(name, known.target)
        if before == known.target:
            return "UP_TO_DATE"
        return "UPDATED" if before else "DOWNLOADED"

    def put_name(self, name: str, target: str) -> str:
        before = self.names.get(name, "")
        self.names[name] = target
        self.images[target].doomed = False
        return before

    def tag(self, text: str, tag: str, expected: str | None) -> str:
        """Returns the digest that the name left."""
        name = full_name(tag)
        before = self.names.get(name, "")
        if expected is not None and expected != before:
            raise RefusedError("DIGEST_CHANGED")
        image = self.find(text)
        image.used_at = self.now
        if before != image.target:
            self.put_name(name, image.target)
            return before
        return ""

    def untag(self, text: str, expected: str) -> str:
        """Returns the image's target."""
        name = full_name(text)
        if name not in self.names:
            raise RefusedError("IMAGE_NOT_FOUND")
        if expected and self.names[name] != expected:
            raise RefusedError("DIGEST_CHANGED")
        return self.names.pop(name)

    # --- removing

    def remove(self, text: str, *, force: bool) -> tuple[set[str], set[str], int]:
        """Returns names taken away, digests deleted, and bytes that nothing needs any more."""
        name = "" if _ID.fullmatch(text) or text.startswith("images/") else full_name(text)
        if image := self._named(name):
            if set(self.names_of(image.target)) - {name}:
                return self._remove_name(image, name), set(), 0
            return self._remove_whole([image], force=force)
        images = self._same(text, self.find(text))
        names = [one for image in images for one in self.names_of(image.target)]
        tags = [one for one in names if "@" not in one]
        single = len(tags) <= 1 and len({repository_of(one) for one in names}) <= 1
        if not force and (len(images) > 1 or not single):
            raise RefusedError("IMAGE_HAS_NAMES")
        if force:
            for image in images:
                running, _, leases = self.held_by(image.target)
                if running or leases:
                    raise RefusedError(
                        "IMAGE_IN_USE",
                        [*(f"containers/{c}" for c in running), *(f"leases/{c}" for c in leases)],
                    )
        return self._remove_whole(images, force=force)

    def _named(self, name: str) -> Image | None:
        """The image that has a name, or has learned it."""
        if name in self.names:
            return self.images[self.names[name]]
        return next((one for one in self.images.values() if name in one.learned), None)

    def _remove_name(self, image: Image, name: str) -> set[str]:
        """One of several. Docker keeps no digest of a repository that lost its last tag."""
        gone = {name}
        self.names.pop(name, None)
        left = self.names_of(image.target)
        here = repository_of(name)
        if "@" not in name and not any(
            repository_of(one) == here for one in left if "@" not in one
        ):
            gone |= {one for one in image.learned if repository_of(one) == here} - set(left)
        image.learned -= gone
        return gone

    def _same(self, text: str, found: Image) -> list[Image]:
        match = _PREFIX.fullmatch(text)
        if not match:
            return [found]
        same = [one for one in self.images.values() if one.known.image_id == found.known.image_id]
        exact = [one for one in same if one.target.startswith(f"sha256:{match[2]}")]
        return exact if len(exact) == 1 else same

    def _remove_whole(self, images: list[Image], *, force: bool) -> tuple[set[str], set[str], int]:
        untagged: set[str] = set()
        deleted: set[str] = set()
        freed = 0
        for image in images:
            if not force and (holders := self.holders(image.target)):
                raise RefusedError("IMAGE_IN_USE", holders)
        for image in images:
            names = self.names_of(image.target)
            untagged |= set(names)
            for name in names:
                del self.names[name]
            untagged |= image.learned
            if any(self.held_by(image.target)):
                image.pinned, image.doomed, image.learned = False, True, set()
                continue
            alone = self.freeable(image.target)
            freed += sum(image.known.sizes[one] for one in alone)
            deleted |= {image.known.image_id} | (alone & image.known.layers)
            del self.images[image.target]
        return untagged, deleted, freed

    def prune(self, *, everything: bool, filters: list[str]) -> tuple[set[str], int]:
        """Returns the targets taken and the bytes freed."""
        if switched := [one for one in filters if one.startswith("dangling")]:
            everything = switched[0] in ("dangling=false", "dangling=0")
        rest = [one for one in filters if not one.startswith("dangling")]
        wanted = [one for one in self.images.values() if all(self.fits(one, f) for f in rest)]
        taken, freed = set(), 0
        for image in wanted:
            if self.holders(image.target) or (not everything and self.names_of(image.target)):
                continue
            freed += self._remove_whole([image], force=False)[2]
            taken.add(image.target)
        return taken, freed

    def fits(self, image: Image, text: str) -> bool:
        """A filter, of those that the tests use."""
        key, _, value = text.partition("=")
        yes = value in ("true", "1")
        if key == "dangling":
            return (not self.names_of(image.target)) == yes
        if key == "in-use":
            return any(self.held_by(image.target)[:2]) == yes
        if key == "pinned":
            return image.pinned == yes
        if key == "kind":
            return image.known.kind == value
        if key in ("label", "label!"):
            name, has_value, wish = value.partition("=")
            labels = image.known.labels
            there = name in labels and (not has_value or labels[name] == wish)
            return there == (key == "label")
        if key in ("before", "since"):
            other = self.find(value).known.created
            created = image.known.created
            if created is None or other is None:
                return False
            return created < other if key == "before" else created > other
        if key == "until":
            return image.stored_at < self.now - _hours(value)
        if key == "last-used":
            return image.used_at < self.now - _hours(value)
        if key == "reference":
            return bool(self.shown(image, value))
        raise AssertionError(text)

    def shown(self, image: Image, pattern: str) -> list[str]:
        """The names and repo digests that a reference filter leaves."""
        names = [*self.names_of(image.target), *sorted(image.learned)]
        return [name for name in names if _name_fits(name, pattern)]

    # --- containers and leases

    def expire(self) -> None:
        """What the daemon's house-keeping does."""
        for container in self.containers.values():
            if container.due is not None and container.due <= self.now:
                container.state, container.due = "EXITED", None
        for key, lease in list(self.leases.items()):
            if lease.expires <= self.now:
                del self.leases[key]
                self.release(lease.targets)

    def release(self, targets: Iterable[str]) -> None:
        """What was doomed goes with its last holder."""
        for target in list(targets):
            image = self.images.get(target)
            if image and image.doomed and not self.names_of(target) and not self.holders(target):
                del self.images[target]

    def create(self, key: str, text: str, heartbeat: float | None) -> None:
        if key in self.containers:
            raise RefusedError("CONTAINER_EXISTS")
        image = self.find(text)
        image.used_at = self.now
        due = None if heartbeat is None else self.now + 3 * heartbeat
        self.containers[key] = Container(image.target, "CREATED", heartbeat, due)

    def change(self, key: str, action: str, *, force: bool = False) -> None:
        """Start, pause, resume, stop, heartbeat or remove."""
        if key not in self.containers:
            raise RefusedError("CONTAINER_NOT_FOUND")
        container = self.containers[key]
        state = container.state
        beat = None if container.heartbeat is None else self.now + 3 * container.heartbeat
        if action == "start" and state != "RUNNING":
            _only(state, "CREATED", "EXITED")
            container.state, container.due = "RUNNING", beat
            self.images[container.target].used_at = self.now
        elif action == "pause" and state != "PAUSED":
            _only(state, "RUNNING")
            container.state = "PAUSED"
        elif action == "resume" and state != "RUNNING":
            _only(state, "PAUSED")
            container.state = "RUNNING"
        elif action == "stop" and state in ("RUNNING", "PAUSED"):
            container.state, container.due = "EXITED", None
        elif action == "heartbeat":
            if container.heartbeat is None:
                raise RefusedError("CONTAINER_STATE")
            _only(state, "CREATED", "RUNNING", "PAUSED")
            container.due = beat
        elif action == "remove":
            if not force:
                _only(state, "CREATED", "EXITED")
            del self.containers[key]
            self.release([container.target])

    def lease(self, key: str, hours: float, texts: list[str], digests: list[str]) -> None:
        if key in self.live_leases():
            raise RefusedError("LEASE_EXISTS")
        over = self.leases.pop(key, None)
        if over:
            # It ends first, and takes with it what was waiting for that.
            before = set(self.images)
            self.release(over.targets)
            try:
                targets = {self.find(text).target for text in texts}
            except RefusedError:
                # All or nothing: the refusal takes that back, too.
                assert before == set(self.images), "not modelled"
                self.leases[key] = over
                raise
        else:
            targets = {self.find(text).target for text in texts}
        self.leases[key] = Lease(self.now + 3600 * hours, targets, set(digests))

    def renew(self, key: str, hours: float) -> None:
        if key not in self.live_leases():
            raise RefusedError("LEASE_NOT_FOUND")
        self.leases[key].expires = self.now + 3600 * hours

    def take_in_pull(self, key: str, hours: float, target: str) -> None:
        """A pull's own lease: made, or added to."""
        over = self.leases.get(key)
        if over and over.expires <= self.now:
            del self.leases[key]
            self.release(over.targets)
        lease = self.leases.setdefault(key, Lease(self.now))
        lease.expires = max(lease.expires, self.now + 3600 * hours)
        lease.targets.add(target)

    def give_back(self, key: str) -> None:
        if lease := self.leases.pop(key, None):
            self.release(lease.targets)

    def collect(self) -> set[str]:
        """Returns the blobs that go."""
        self.expire()
        gone = self.disk - self.needed()
        self.disk -= gone
        return gone


def _only(state: str, *states: str) -> None:
    if state not in states:
        raise RefusedError("CONTAINER_STATE")


def _hours(text: str) -> float:
    return 3600 * float(text.removesuffix("h"))


def _name_fits(name: str, pattern: str) -> bool:
    repository = repository_of(name)
    forms = {repository} | (set() if "@" in name else {name})
    start = "docker.io/library/" if repository.count("/") == 2 else ""
    start = start if repository.startswith(start) else "docker.io/"
    forms |= {form.removeprefix(start) for form in forms}
    # As far as the tests' patterns go: a star stays between slashes.
    parts = pattern.split("/")
    return any(
        len(parts) == len(form.split("/")) and all(map(fnmatch.fnmatchcase, form.split("/"), parts))
        for form in forms
    )
