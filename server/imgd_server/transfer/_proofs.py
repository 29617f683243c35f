"""Who may have what is here because of somebody's credentials (ADR-0013).

A `Gate` is one pull's: what it may take of the store. `Proofs` are the daemon's: whether a caller
may have a stored image without pulling it.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from imgd_server.errors import Error, Origin, Reason
from imgd_server.images import children, choose_target, find_image, new_uid, read_manifest
from imgd_server.metadata import ImageRecord, MetadataStore, ReadSession, WriteSession
from imgd_server.oci import Descriptor, Digest, FormatError, Platform, Reference, media
from imgd_server.registry import Credentials, Privacy
from imgd_server.transfer._fetch import Fetcher, blame
from imgd_server.transfer._flight import Flight, FlightTable
from imgd_server.transfer._progress import now_us

__all__ = ["Gate", "ProofConfig", "Proofs", "Proven", "fetch_proof"]

# Repositories that are asked for one stored image; each costs a request, and most have one.
_MAX_ASKED = 3
_CHUNK = 1 << 19
# When a registry says nothing about the caller.
_SILENT = {
    Reason.REGISTRY_UNREACHABLE,
    Reason.REGISTRY_UNAVAILABLE,
    Reason.REGISTRY_TIMEOUT,
    Reason.REGISTRY_TLS,
    Reason.REGISTRY_RATE_LIMITED,
}


@dataclass(frozen=True, slots=True)
class ProofConfig:
    """How long a proof is good for (seconds), the key that credentials are hashed with, and whether
    private content is everybody's all the same."""

    lifetime: float = 3600.0
    share: bool = False
    key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)

    def scope(self, credentials: Credentials | None) -> str:
        """Who somebody is, without telling it: the same for the same credentials alone."""
        if credentials is None:
            return "daemon"
        if credentials.anonymous:
            return "anonymous"
        one = credentials
        parts = (one.user, one.password, one.identity_token, one.registry_token)
        text = "".join(f"{len(part)}:{part}" for part in parts)
        return hmac.new(self.key, text.encode(), hashlib.sha256).hexdigest()

    def oldest(self) -> int:
        """What was proven before then is proven no more."""
        return now_us() - int(self.lifetime * 1_000_000)


@dataclass(frozen=True, slots=True)
class Proven:
    """What a pull has proven: that its caller may read a repository, and what that gave. Of it the
    manifests `shown` are for everybody, but not what they list: they stand for that.

    `private` says whether it did so for credentials.
    """

    repository: str
    scope: str
    private: Privacy
    digests: tuple[Digest, ...]
    shown: tuple[Digest, ...]
    oldest: int

    def record(self, session: WriteSession) -> None:
        """Takes note of it."""
        if not self.private:
            session.free_private(self.digests)
            return
        session.mark_private(self.repository, self.shown)
        session.give_private(self.repository, self.digests)
        if self.private is Privacy.ASKED:
            session.put_proof(self.repository, self.scope, now_us(), self.oldest)


@dataclass(slots=True)
class Gate:
    """What one pull may take of what is here. `private` says whether its registry answers for
    credentials, as it turns out; `told` whether it did where it said what is meant."""

    metadata: MetadataStore
    config: ProofConfig
    reference: Reference
    credentials: Credentials | None
    private: Privacy = Privacy.NONE
    told: Privacy = Privacy.NONE
    _open: set[str] = field(default_factory=set)
    _marked: set[str] = field(default_factory=set)

    async def mark(self, targets: Sequence[Descriptor]) -> None:
        """Before content that is not here is asked for: says whose it will be."""
        fresh = [one.digest for one in targets if one.digest not in self._marked]
        if self.private and fresh:
            await self.metadata.write(
                lambda session: session.mark_private(self.reference.name, fresh)
            )
            self._marked.update(fresh)

    async def closed(self, targets: Sequence[Descriptor]) -> dict[str, list[str]]:
        """Those of the targets, which are here and held, that this pull's repository has yet to
        prove that it has; each with the repositories that gave it."""
        asked = [one.digest for one in targets if one.digest not in self._open]
        if self.config.share or not asked:
            return {}
        name, scope = self.reference.name, self.config.scope(self.credentials)

        def look(session: ReadSession) -> tuple[dict[str, list[str]], bool]:
            if self.private is Privacy.ASKED:
                return session.closed_to(name, asked), False
            # Who was asked for nothing has not shown that the repository's private content is for
            # him, unless he has lately.
            closed = session.closed_to("", asked)
            if closed and (session.proven(name, scope) or 0) >= max(self.config.oldest(), 1):
                return session.closed_to(name, asked), True
            return closed, False

        closed, proven = await self.metadata.read(look)
        if proven:
            # It is no proof again.
            self.private = max(self.private, Privacy.SENT)
        # What is held stays, so nobody can bring it here with credentials later.
        self._open.update(one for one in asked if one not in closed)
        return closed

    def open(self, target: Descriptor, private: Privacy) -> None:
        """Takes note that the repository has proven to have it, and whether for credentials."""
        self._open.add(target.digest)
        self.private = max(self.private, private)

    def proven(self, targets: Sequence[Descriptor]) -> Proven:
        """What it comes to, when all these were had."""
        if self.config.share and not self.private:
            # Nobody was asked for what was here: that frees nothing.
            targets = ()
        return Proven(
            self.reference.name,
            self.config.scope(self.credentials),
            self.private,
            tuple(one.digest for one in targets),
            tuple(one.digest for one in targets if is_document(one) and not self.told),
            self.config.oldest(),
        )


def is_document(target: Descriptor) -> bool:
    """Whether it is a manifest or an index."""
    return media.is_manifest(target.media_type) or media.is_index(target.media_type)


async def fetch_proof(
    flight: Flight[Any],
    fetcher: Fetcher,
    reference: Reference,
    target: Descriptor,
    credentials: Credentials | None,
    givers: Sequence[str],
) -> None:
    """Proves that the reference's repository has content that is here: by asking, where it is one
    of the registry that gave it, else by its bytes, which are dropped.

    Raises DIGEST_MISMATCH, SIZE_MISMATCH, and what the fetcher does.
    """
    if target.data is not None:
        _check(target, Digest.of(target.data, target.digest.algorithm).hex)
        return
    if is_document(target):
        await fetcher.read(flight, reference, target, credentials)
        return
    if any(Reference.parse(one).domain == reference.domain for one in givers):
        try:
            size = await fetcher.blob_size(flight, reference, target.digest, credentials)
        except Error as error:
            # One that is to be had by its URLs alone.
            if error.reason is not Reason.REMOTE_NOT_FOUND or not target.urls:
                raise
        else:
            if size != target.size:
                raise Error(
                    Reason.SIZE_MISMATCH,
                    f"{target.digest} has {target.size} bytes, and {reference.domain} says {size}",
                    digest=target.digest,
                )
            return
    hashing = _Hashing(flight, fetcher, reference, target, credentials)
    await fetcher.persist(flight, reference, hashing.attempt, lane=fetcher.lanes.of(flight))


class _Hashing:
    """A blob on its way to nowhere; another attempt goes on where the last one stopped."""

    def __init__(
        self,
        flight: Flight[Any],
        fetcher: Fetcher,
        reference: Reference,
        target: Descriptor,
        credentials: Credentials | None,
    ) -> None:
        self._flight, self._target = flight, target
        self._open = partial(fetcher.registry.open_blob, reference, target)
        self._credentials = credentials
        self._restart()

    def _restart(self) -> None:
        self._hasher = self._target.digest.hasher()
        self._flight.done_bytes = 0

    def attempt(self) -> None:
        """Reads and hashes to the end."""
        flight, buffer = self._flight, memoryview(bytearray(_CHUNK))
        if flight.done_bytes >= self._target.size:
            self._restart()
        with self._open(flight.done_bytes, self._credentials, flight.cancellation) as stream:
            flight.host = stream.host
            flight.tell(stream.private)
            if stream.offset != flight.done_bytes:
                self._restart()
            while length := stream.readinto(buffer[: flight.portion(_CHUNK)]):
                self._hasher.update(buffer[:length])
                flight.done_bytes += length
                flight.moved_bytes += length
                flight.spend(length)
            flight.cancellation.check()
            try:
                _check(self._target, self._hasher.hexdigest())
            except Error:
                stream.distrust()
                self._restart()
                raise


def _check(target: Descriptor, found: str) -> None:
    if found != target.digest.hex:
        raise Error(
            Reason.DIGEST_MISMATCH,
            f"the bytes of {target.digest} have another digest",
            digest=target.digest,
        )


@dataclass(frozen=True, slots=True)
class Proofs:
    """Whether callers may have stored images. Its methods belong to one event loop."""

    metadata: MetadataStore
    config: ProofConfig
    fetcher: Fetcher
    flights: FlightTable

    async def admit(
        self,
        image: ImageRecord,
        name: str,
        credentials: Credentials | None,
        *,
        parts: Sequence[Descriptor] = (),
        uid: str = "",
        may_ask: bool = True,
        watch: Callable[[Flight[Any]], None] = lambda _: None,
    ) -> bool:
        """Lets a caller have a stored image, called `name`, if it is for everybody, or if the
        caller has proven, or proves now, that a repository that gave it lets him read it. Of an
        index he is to have the manifests `parts`, which may have come another way than itself.

        False where that can't be found out: he brings credentials for a registry that did not give
        it. `watch` is shown what is asked. Raises REGISTRY_UNAUTHORIZED where the registry refuses
        or (without `may_ask`) can't be asked, and the registry's failures.
        """
        if self.config.share:
            return True
        reference = _reference(name)
        scope, oldest = self.config.scope(credentials), self.config.oldest()
        wanted = [*dict.fromkeys((image.target.digest, *(one.digest for one in parts)))]
        proven: set[str] = set()
        passed: set[Digest] = set()
        manifests = [one for one in (image.target, *parts) if media.is_manifest(one.media_type)]

        def is_proven(session: ReadSession, repository: str) -> bool:
            return repository in proven or (session.proven(repository, scope) or 0) >= max(
                oldest, 1
            )

        def look(session: ReadSession) -> dict[Digest, list[str]]:
            givers = {one: session.givers(one) for one in wanted if session.is_private(one)}
            for one in passed:
                givers.pop(one, None)
            return {
                digest: some
                for digest, some in givers.items()
                if not any(is_proven(session, one) for one in some)
            }

        while closed := await self.metadata.read(look):
            if not may_ask:
                raise _unproven(reference, name)
            digest, givers = next(iter(closed.items()))
            asked = _to_ask(givers, reference, credentials, image)
            if digest != image.target.digest and reference and reference.name not in givers:
                # Its own repository may have that too, which a pull finds out.
                asked = [] if _is_name(reference, image) else asked
            if not asked:
                return False
            blobs = [
                blob.digest
                for one in manifests
                if one.digest == digest
                for blob in await asyncio.to_thread(self._blobs, one)
            ]
            repository, private = await self._ask_one(
                asked, digest, blobs, name, credentials, uid or new_uid(), watch
            )
            if private is Privacy.ASKED:
                proven.add(repository)
            passed.add(digest)
        return True

    def _blobs(self, manifest: Descriptor) -> tuple[Descriptor, ...]:
        content = self.fetcher.content
        found = content.find(manifest.digest)
        return children(read_manifest(content, manifest)) if found else ()

    async def _ask_one(
        self,
        asked: Sequence[str],
        digest: Digest,
        blobs: Sequence[Digest],
        name: str,
        credentials: Credentials | None,
        uid: str,
        watch: Callable[[Flight[Any]], None],
    ) -> tuple[str, Privacy]:
        """Has a caller prove that he may have a manifest, with its blobs, of one of the
        repositories; says which, and whether that was for credentials. Raises as `admit`."""
        reference = _reference(name)
        scope, oldest = self.config.scope(credentials), self.config.oldest()
        for position, repository in enumerate(asked, 1):
            where = Reference.parse(f"{repository}@{digest}")
            if reference and reference.name == repository:
                where = reference.with_default_tag()
            try:
                private = await self._ask(where, repository, digest, blobs, credentials, uid, watch)
            except Error as error:
                if position < len(asked) and error.reason is not Reason.CANCELLED:
                    continue
                raise _refused(error, name, where) from error
            if private is Privacy.ASKED:
                await self.metadata.write(
                    lambda session: session.put_proof(repository, scope, now_us(), oldest)  # noqa: B023
                )
            return repository, private
        raise AssertionError("nobody to ask")

    async def admit_named(
        self, name: str, credentials: Credentials | None, platform: Platform | None = None
    ) -> tuple[str, Digest]:
        """Admits a caller to what a name (or ID) stands for, for a platform or the one that is
        served by default; returns the image's uid and the manifest of it that he may have: what
        comes a moment later, also of other platforms, was asked of nobody.

        Raises as `admit`, and IMAGE_NOT_FOUND, IMAGE_AMBIGUOUS, PLATFORM_NOT_FOUND."""

        def find(session: ReadSession) -> tuple[ImageRecord, Descriptor]:
            image = find_image(session, name)
            return image, choose_target(image, session.image_platforms(image.uid), platform)

        image, part = await self.metadata.read(find)
        if not await self.admit(image, name, credentials, parts=[part]):
            raise Error(
                Reason.REGISTRY_UNAUTHORIZED,
                f"{name} came from another registry, with credentials: name it as that has it, and "
                "bring credentials for that",
            )
        return image.uid, part.digest

    async def _ask(
        self,
        reference: Reference,
        repository: str,
        digest: Digest,
        blobs: Sequence[Digest],
        credentials: Credentials | None,
        uid: str,
        watch: Callable[[Flight[Any]], None],
    ) -> Privacy:
        closed = await self.metadata.read(lambda session: session.closed_to("", blobs))
        given = [one for one in blobs if repository in closed.get(one, ())]

        async def work(flight: Flight[Privacy]) -> Privacy:
            for one in dict.fromkeys((reference, Reference.parse(f"{repository}@{digest}"))):
                resolved = await self.fetcher.resolve(flight, one, credentials)
                flight.host = resolved.host
                flight.tell(resolved.private)
                if resolved.private is Privacy.ASKED:
                    return resolved.private
            if given:
                # Who shows manifests to everybody may not show the blobs: one says it of all.
                await self.fetcher.blob_size(flight, reference, given[-1], credentials)
            return flight.private

        scope = credentials.scope if credentials else ""
        async with self.flights.join(("prove", str(reference), scope), uid, work) as flight:
            watch(flight)
            return await flight.result()


def _reference(name: str) -> Reference | None:
    try:
        return Reference.parse(name)
    except FormatError:
        return None


def _to_ask(
    givers: Sequence[str],
    reference: Reference | None,
    credentials: Credentials | None,
    image: ImageRecord,
) -> list[str]:
    """The repositories to be asked: a caller's credentials are shown to no other registry than that
    of the name that he gave, or to the only one that there is."""
    domains = {Reference.parse(one).domain for one in givers}
    named = reference.domain if reference else ""
    if credentials is not None and not credentials.anonymous:
        is_name = reference is not None and _is_name(reference, image)
        if named not in domains and (len(domains) > 1 or is_name):
            return []
        domains = {named} if named in domains else domains
    found = [one for one in givers if Reference.parse(one).domain in domains]
    own = reference.name if reference else ""
    return sorted(found, key=lambda one: one != own)[:_MAX_ASKED]


def _is_name(reference: Reference, image: ImageRecord) -> bool:
    """Whether an image was named by it: an ID, or the beginning of one, reads as a name too."""
    digits = reference.path.removeprefix("library/")
    like_id = digits == "sha256" or not set(digits) - set("0123456789abcdef")
    named = str(reference.with_default_tag()) in {one.name for one in image.names}
    return named or not like_id or reference.domain != "docker.io"


def _unproven(reference: Reference | None, name: str) -> Error:
    return Error(
        Reason.REGISTRY_UNAUTHORIZED,
        f"{name} is here for those whose credentials its registry has accepted lately, and the "
        "pull policy does not let it be asked about these: pull with IF_NOT_PRESENT or ALWAYS",
        origin=Origin.SOURCE,
        reference=str(reference) if reference else "",
        host=reference.domain if reference else "",
    )


def _refused(error: Error, name: str, where: Reference) -> Error:
    """What a registry's refusal, or silence, means for what is here."""
    own = Error.from_json(blame(error).to_json())
    own.reference = own.reference or str(where)
    if own.reason in _SILENT:
        own.message = (
            f"{name} is here, but {where.domain} can't be asked whether these credentials may have "
            f"it: {error.message}"
        )
    elif own.reason is not Reason.CANCELLED:
        own.message = f"{name} is here, but its registry does not give it to you: {error.message}"
    return own
