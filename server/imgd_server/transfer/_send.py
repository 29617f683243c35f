"""One blob or manifest into a registry, with retries: the work of a flight."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from imgd_server.errors import Error, Origin, Reason
from imgd_server.oci import (
    Descriptor,
    Digest,
    Index,
    Manifest,
    Reference,
    media,
    parse_manifest,
)
from imgd_server.registry import Credentials, RegistryPusher, Upload
from imgd_server.transfer._flight import Flight, Turns
from imgd_server.transfer._lanes import Lanes
from imgd_server.transfer._outgoing import Opening
from imgd_server.transfer._progress import NodeState
from imgd_server.transfer._retry import RetryPolicy, is_transient, persist
from imgd_server.transfer._sources import Listing

__all__ = ["Sender", "as_referrer"]

T = TypeVar("T")

# Unfinished uploads that are remembered for a later push: one for each blob that was cut off.
_MAX_UPLOADS = 1000


def _blame(error: Error) -> None:
    """Says that it was the destination, where the source has not said that it was itself."""
    if error.origin is Origin.UNSPECIFIED:
        error.origin = Origin.DESTINATION


@dataclass(frozen=True, slots=True)
class Sender:
    """Brings things into registries. Its methods are flights' work, and belong to one event loop.

    Where an upload was cut off is remembered in memory alone, for its location may hold a secret.
    """

    pusher: RegistryPusher
    listing: Listing
    lanes: Lanes
    policy: RetryPolicy
    _uploads: OrderedDict[tuple[str, str, str], Upload] = field(default_factory=OrderedDict)
    # From two sources the same blob may go to the same place: whoever is second finds it there.
    _turns: Turns = field(default_factory=Turns)

    async def blob(
        self,
        flight: Flight[Any],
        reference: Reference,
        target: Descriptor,
        opening: Opening,
        mounts: Sequence[str],
        credentials: Credentials | None,
    ) -> NodeState:
        """A blob into the reference's repository; says how it came there."""
        flight.host = reference.domain
        key = reference.name, credentials.scope if credentials else "", target.digest
        upload = self._uploads.setdefault(key, Upload())
        self._uploads.move_to_end(key)
        if len(self._uploads) > _MAX_UPLOADS:
            self._uploads.popitem(last=False)

        def attempt() -> NodeState:
            if host := self.pusher.find_blob(reference, target, credentials, flight.cancellation):
                flight.host = host
                return NodeState.EXISTS
            try:
                with opening:
                    pushed = self.pusher.push_blob(
                        reference,
                        target,
                        opening,
                        upload,
                        mounts,
                        credentials,
                        flight.cancellation,
                    )
            except Error as error:
                if (error.reason, error.origin) == (Reason.DIGEST_MISMATCH, Origin.UNSPECIFIED):
                    opening.check()
                raise
            flight.host = pushed.host
            return NodeState.MOUNTED if pushed.mounted else NodeState.DONE

        def judge(error: Error) -> None:
            _blame(error)
            if not is_transient(error):
                upload.location = ""

        lane = self.lanes.of(flight)

        @asynccontextmanager
        async def turn() -> AsyncIterator[None]:
            async with self._turns.take(key), lane.take(reference.domain):
                yield

        state = await persist(
            flight,
            attempt,
            lane.executor,
            self.policy,
            judge,
            turn,
            # What was sent is safe when the registry says so, as the next attempt begins.
            reach=lambda: flight.resumed_bytes,
        )
        self._uploads.pop(key, None)
        return state

    async def manifest(
        self,
        flight: Flight[Any],
        reference: Reference,
        target: Descriptor,
        raw: bytes,
        credentials: Credentials | None,
    ) -> tuple[NodeState, bool]:
        """A manifest under the reference's digest, else its tag. Says how it came there, and
        whether the registry lists it under its subject by itself."""

        def attempt() -> tuple[NodeState, bool]:
            found = self.pusher.find_manifest(reference, credentials, flight.cancellation)
            if found == target.digest:
                flight.host = reference.domain
                return NodeState.EXISTS, False
            pushed = self.pusher.push_manifest(
                reference, target, raw, credentials, flight.cancellation
            )
            flight.host = pushed.host
            flight.done_bytes = len(raw)
            flight.moved_bytes += len(raw)
            return NodeState.DONE, pushed.knows_subject

        return await self._ask(flight, reference, attempt)

    async def list_referrer(
        self,
        flight: Flight[None],
        subject: Reference,
        target: Descriptor,
        raw: bytes,
        credentials: Credentials | None,
    ) -> None:
        """Adds a manifest to the list at its subject's tag, unless the registry has it listed
        (OCI distribution 1.1, "Referrers Tag Schema")."""

        def attempt() -> None:
            listed = self.listing.referrers(subject, "", credentials, flight.cancellation)
            if any(one.digest == target.digest for one in listed):
                return
            document = {
                "schemaVersion": 2,
                "mediaType": media.OCI_INDEX,
                "manifests": [
                    one.to_json()
                    for one in (
                        *listed,
                        as_referrer(target, parse_manifest(raw, target.media_type)),
                    )
                ],
            }
            index = json.dumps(document, separators=(",", ":")).encode()
            assert subject.digest
            # As long as a tag may be (the specification cuts it so).
            tag = f"{subject.digest.algorithm}-{subject.digest.hex[:64]}"
            self.pusher.push_manifest(
                replace(subject, digest=None, tag=tag),
                Descriptor(media.OCI_INDEX, Digest.of(index), len(index)),
                index,
                credentials,
                flight.cancellation,
            )

        await self._ask(flight, subject, attempt)

    async def _ask(self, flight: Flight[Any], reference: Reference, attempt: Callable[[], T]) -> T:
        lane = self.lanes.requests
        return await persist(
            flight,
            attempt,
            lane.executor,
            self.policy,
            _blame,
            lambda: lane.take(reference.domain),
        )


def as_referrer(target: Descriptor, parsed: Manifest | Index) -> Descriptor:
    """A manifest as lists of referrers show it, with its type and annotations."""
    kind = parsed.artifact_type
    if not kind and not isinstance(parsed, Index):
        kind = parsed.config.media_type
    return Descriptor(
        target.media_type,
        target.digest,
        target.size,
        annotations=parsed.annotations,
        artifact_type=kind,
    )
