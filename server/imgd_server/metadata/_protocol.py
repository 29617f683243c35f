"""What the metadata store is, whatever database keeps it.

State changes are synchronous functions of a session, and one function is one transaction:

    record = await store.read(lambda session: session.image_by_name(name))

`write` runs its function in a transaction that is durable when `write` returns. No other function
writes meanwhile, but several callers' may share one commit (each in a savepoint of its own): what a
function sees of the others' may not be durable yet, where `write_alone` promises that it is. A
function must not wait for anything, must not keep the session, and may run twice when the database
asks for it.
What a function raises undoes its changes, and only its own, and reaches its caller.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Protocol, TypeVar

from imgd_server.metadata._containers import ContainerRecord
from imgd_server.metadata._events import EventRecord, KeptAnswer
from imgd_server.metadata._query import ImageQuery
from imgd_server.metadata._records import (
    BlobRef,
    ImageRecord,
    ImageVersion,
    LeaseRecord,
    Name,
    PlatformRecord,
    TransferRecord,
)
from imgd_server.oci import Descriptor, Digest

__all__ = ["MetadataStore", "ReadSession", "WriteSession"]

T = TypeVar("T")


class ReadSession(Protocol):
    """Looks at one consistent state of the store. Look-ups return None for what is not there."""

    # --- images
    def image(self, uid: str) -> ImageRecord | None:
        """The image with this uid."""
        ...

    def image_by_name(self, name: str) -> ImageRecord | None:
        """The image that has this full name (tag or digest reference)."""
        ...

    def image_by_target(self, digest: str) -> ImageRecord | None:
        """The image with this target digest."""
        ...

    def images_by_id_prefix(self, prefix: str, limit: int) -> list[ImageRecord]:
        """Images whose image ID or target digest starts so, the newest here first; where there are
        none, those of which the ID of another platform does.

        `prefix` is `sha256:` (or `sha512:`) and hex digits, or hex digits alone for any algorithm.
        """
        ...

    def images_by_repo_digest(self, repo_digest: str) -> list[ImageRecord]:
        """Images with this `name@digest`, learned or asked for."""
        ...

    def list_images(
        self, after: tuple[int, int] | None, limit: int, query: ImageQuery | None = None
    ) -> list[tuple[tuple[int, int], ImageRecord]]:
        """A page of the images that fit the query (None: of all): newest create time first, those
        without one last, then by the first row that a table shows of them (repository, then tag).

        `after` is the position (as returned beside each image) to go on behind; None to begin. A
        list has the order of its beginning: an image that was there then and still is appears
        once, whatever is named, added or deleted between its pages. Raises PAGE_TOKEN_INVALID when
        too much has changed since.
        """
        ...

    def list_versions(
        self, after: tuple[int, int] | None, limit: int, query: ImageQuery | None = None
    ) -> tuple[int, list[ImageVersion]]:
        """The page of `list_images` as a list's number, and what tells whether records that were
        read before are still the same. Costs a microsecond an image."""
        ...

    def images_of(self, versions: Sequence[ImageVersion]) -> list[ImageRecord]:
        """The records of versions that this session has listed, in their order."""
        ...

    def count_images(self) -> int:
        """How many images there are."""
        ...

    def count_used_images(self) -> int:
        """How many images containers use."""
        ...

    def content_bytes(self, *, in_use: bool = False) -> int:
        """The size of all stored content of images, each blob once; with `in_use` only of those
        that containers use."""
        ...

    def unused_images(self, before: int, now: int, limit: int) -> list[ImageRecord]:
        """Images last used, or else stored, before then, that are not pinned and that no container
        uses and no unexpired lease holds; the one unused for longest first."""
        ...

    def image_platforms(self, uid: str) -> list[PlatformRecord]:
        """The platforms of an image, in the order of its index."""
        ...

    def image_blobs(self, uid: str) -> list[BlobRef]:
        """The blobs of an image."""
        ...

    def exclusive_blobs(self, uid: str, now: int | None = None) -> list[BlobRef]:
        """The stored blobs of an image that no other image has; with `now`, and that no lease that
        is unexpired then holds."""
        ...

    def blobs_beside(self, uids: Sequence[str], now: int) -> set[str]:
        """The digests of all that images other than these have stored, or unexpired leases hold."""
        ...

    def images_with_blob(self, digest: str) -> list[str]:
        """The uids of the images that have this blob stored."""
        ...

    def image_containers(self, uid: str) -> tuple[list[str], list[str]]:
        """The IDs of the containers that use an image: running or paused ones, and the others."""
        ...

    def image_leases(self, uid: str, now: int) -> list[str]:
        """The IDs of the unexpired leases that hold an image."""
        ...

    # --- containers
    def container(self, container_id: str) -> ContainerRecord | None:
        """The container with this ID."""
        ...

    def list_containers(
        self,
        image: str | None,
        states: Sequence[str],
        labels: Sequence[tuple[str, str | None]],
        after: tuple[int, str] | None,
        limit: int,
    ) -> list[ContainerRecord]:
        """A page of containers, newest first; `after` is (created, ID) to go on behind.

        `image` is a uid, None for any; no states means any; each label must be there, with its
        value unless that is None.
        """
        ...

    def count_containers(self, states: Sequence[str]) -> int:
        """How many containers there are in these states; no states means any."""
        ...

    def silent_containers(self, now: int) -> list[ContainerRecord]:
        """Containers whose heartbeat is overdue."""
        ...

    # --- the registry inside
    def repository_tags(self, repository: str, after: str, limit: int) -> list[str]:
        """Tags (the last part only) in a repository, lexically after `after`."""
        ...

    def has_repository(self, repository: str) -> bool:
        """Whether anything has a name, a repo digest or a link in this repository."""
        ...

    def repositories(self, after: str, limit: int) -> list[str]:
        """Repositories that have a name or a link, lexically after `after`."""
        ...

    def repository_manifest(self, repository: str, digest: str) -> Descriptor | None:
        """A manifest that this repository shows: linked to it, or of an image (or a child of one)
        that has a name or repo digest there."""
        ...

    def repository_has_blob(self, repository: str, digest: str) -> bool:
        """Whether this repository shows the blob: linked, needed by a manifest that is linked, or
        stored for an image as above."""
        ...

    def any_repository_has_blob(self, digest: str) -> bool:
        """Whether some repository shows the blob, as `repository_has_blob` tells of each."""
        ...

    def linked_digests(self, after: str, limit: int) -> list[Digest]:
        """The digests that are linked to any repository, in order from behind `after`."""
        ...

    def repository_holder(self, repository: str, digest: str) -> Digest | None:
        """A manifest that this repository shows and that needs the blob, or the manifest, with this
        digest: an index needs its children. None where nothing does."""
        ...

    def referrers(
        self, repository: str, subject: str, artifact_type: str, after: str, limit: int
    ) -> tuple[list[Descriptor], bool]:
        """The manifests that were linked to this repository with this subject, by digest from
        behind `after`, and whether there are more. An empty `artifact_type` means any.

        A page ends early when its descriptors, which hold annotations, come to a MiB.
        """
        ...

    # --- holds
    def lease(self, lease_id: str) -> LeaseRecord | None:
        """The lease, expired or not."""
        ...

    def list_leases(self, after: str, now: int, limit: int) -> list[LeaseRecord]:
        """A page of callers' unexpired leases (not `is_own`) in the order of their IDs, behind
        `after`."""
        ...

    def expired_leases(self, now: int, limit: int) -> list[LeaseRecord]:
        """Leases whose time is over, the oldest first, the daemon's own included. Their digests,
        of which there may be many, are left out."""
        ...

    def next_expiry(self) -> int | None:
        """When the first lease, or container whose heartbeat stays away, is over; None where there
        is none that ends. It may be past."""
        ...

    def held_digests(self, now: int) -> set[str]:
        """Every blob digest that an image is made of or an unexpired lease holds, and those that
        referrers of these are made of. What is not among them may be collected."""
        ...

    def held_among(self, digests: Sequence[str], now: int) -> set[str]:
        """Those of the digests that are held, as in `held_digests`."""
        ...

    def held_snapshots(self, chain_ids: Sequence[str], now: int) -> set[str]:
        """Those of the chain IDs that images were unpacked for, or an unexpired lease holds (among
        its digests). The others' snapshots may be collected."""
        ...

    # --- private content
    def has_private_content(self) -> bool:
        """Whether there is any."""
        ...

    def is_private(self, digest: str) -> bool:
        """Whether this content came with credentials, and nobody got it without since."""
        ...

    def givers(self, digest: str) -> list[str]:
        """The repositories that gave this private content; none for what is not private."""
        ...

    def closed_to(self, repository: str, digests: Sequence[str]) -> dict[str, list[str]]:
        """Those of the digests that are private, were asked of other repositories, and that this
        one has not given; each with the repositories that gave it."""
        ...

    def loose_private_content(self, now: int, limit: int) -> list[str]:
        """The digests of private content that no image has stored and no unexpired lease holds, in
        order."""
        ...

    def proven(self, repository: str, scope: str) -> int | None:
        """When a repository last said that these credentials (a keyed hash) may read it."""
        ...

    # --- history
    def events(self, after: int, since: int | None, limit: int) -> list[EventRecord]:
        """Events in order: with a cursor above `after`, and not before `since` unless None."""
        ...

    def event_bounds(self) -> tuple[int, int]:
        """The highest cursor that was dropped from the history, and the highest ever given; 0
        where there is none. A reader at or above the first has missed nothing."""
        ...

    def kept_answer(self, request_id: str) -> KeptAnswer | None:
        """The answer kept for a request ID."""
        ...

    # --- transfers
    def transfer(self, uid: str) -> TransferRecord | None:
        """The transfer with this uid."""
        ...

    def transfer_by_request(self, request_id: str) -> TransferRecord | None:
        """The transfer that was asked for with this request ID."""
        ...

    def list_transfers(
        self, states: Sequence[str], after: tuple[int, str] | None, limit: int
    ) -> list[TransferRecord]:
        """A page of transfers, newest first; `after` is (created, uid) to go on behind. `nodes`
        are left out. No states means any."""
        ...


class WriteSession(ReadSession, Protocol):
    """Looks and changes."""

    # --- images
    def put_image(
        self,
        record: ImageRecord,
        platforms: Sequence[PlatformRecord],
        blobs: Iterable[BlobRef],
    ) -> ImageRecord:
        """Adds an image, or brings the one with the same target digest up to date.

        The known record keeps its uid, stored time, pin, names and repo digests; blobs and
        platforms are merged, so that what was stored stays stored. `names` and `repo_digests` of
        `record` are added to the known ones (names do not move here: see `put_name`). Returns the
        record as it is now.
        """
        ...

    def put_name(self, name: Name, uid: str) -> str | None:
        """Points a name at an image, which then is not doomed. Returns the target digest that it
        pointed at before, None when it is new. Raises IMAGE_NOT_FOUND for an unknown uid."""
        ...

    def delete_name(self, name: str) -> bool:
        """Takes a name away. Says whether it was there."""
        ...

    def forget_repo_digest(self, repo_digest: str) -> bool:
        """Takes a `name@digest` that was learned from its images. Says whether it was there."""
        ...

    def delete_image(self, uid: str) -> None:
        """Deletes an image with its names, platforms and blob references. No container may use
        it."""
        ...

    def lose_blobs(self, uid: str, digests: Sequence[str]) -> None:
        """Records that blobs of an image are not stored after all, and none of its platforms
        complete: `put_image` with what is found now tells which are."""
        ...

    # The setters pass over an unknown uid: whoever deleted the image meant it.
    def touch_image(self, uid: str, now: int) -> None:
        """Sets its time of last use."""
        ...

    def set_pinned(self, uid: str, pinned: bool) -> None:
        """Pins or unpins an image."""
        ...

    def set_unpacked_size(self, uid: str, size: int) -> None:
        """Records the sum of its unpacked layers."""
        ...

    def add_snapshots(self, uid: str, chain_ids: Iterable[str]) -> None:
        """Holds snapshots for as long as the image is there, whether they are made yet or not."""
        ...

    def set_doomed(self, uid: str, doomed: bool) -> None:
        """Says that the image goes with its last hold, or takes that back."""
        ...

    # --- containers
    def put_container(self, record: ContainerRecord) -> None:
        """Adds a container, or brings its state, times and exit status up to date."""
        ...

    def delete_container(self, container_id: str) -> bool:
        """Forgets a container. Says whether it was there."""
        ...

    # --- the registry inside
    def link_blob(self, repository: str, digest: str) -> None:
        """Shows a blob in a repository. Idempotent."""
        ...

    def link_manifest(
        self,
        repository: str,
        target: Descriptor,
        *,
        subject: str | None = None,
        blobs: Iterable[str] = (),
    ) -> None:
        """Shows a manifest in a repository by its digest. Idempotent.

        `blobs` are those that it is made of, itself included. With a `subject` it is a referrer,
        whose `target` has the annotations and artifact type to list; its blobs are held as long as
        the subject is.
        """
        ...

    def unlink(self, repository: str, digest: str) -> bool:
        """Hides a blob or manifest from a repository. Says whether it was linked."""
        ...

    def forget_links(self, digests: Sequence[str]) -> set[str]:
        """Hides what is not to be stored any more from every repository; returns which were
        linked."""
        ...

    # --- holds
    def put_lease(self, record: LeaseRecord) -> None:
        """Adds a lease, or replaces its time and labels and adds to its digests and images."""
        ...

    def delete_lease(self, lease_id: str) -> bool:
        """Ends a lease. Says whether it was there."""
        ...

    def delete_transfer_leases(self, digest: str = "") -> int:
        """Ends the leases of transfers that have ended, or are forgotten: those that hold a digest,
        by default all. Returns how many."""
        ...

    # --- private content
    def mark_private(self, repository: str, digests: Sequence[str]) -> None:
        """Says that content which is about to come from this repository comes with credentials.
        That it gave it is for `give_private` to say."""
        ...

    def give_private(self, repository: str, digests: Sequence[str]) -> None:
        """Says that this repository gave what is private among the digests."""
        ...

    def free_private(self, digests: Sequence[str]) -> None:
        """Says that content is for everybody, or not here any more."""
        ...

    def put_proof(self, repository: str, scope: str, proven: int, oldest: int) -> None:
        """Records when a repository said that these credentials may read it, and forgets what was
        proven before `oldest`."""
        ...

    # --- history
    def add_event(self, event: EventRecord) -> None:
        """Adds to the history, with the next cursor."""
        ...

    def delete_events(self, before: int, most: int) -> int:
        """Drops events older than `before`, and all but the newest `most`; returns how many."""
        ...

    def keep_answer(self, answer: KeptAnswer) -> None:
        """Keeps an answer, in the transaction that it tells of."""
        ...

    def delete_expired_answers(self, now: int) -> int:
        """Forgets answers whose time is over, and returns how many."""
        ...

    # --- transfers
    def put_transfer(self, record: TransferRecord) -> None:
        """Adds or replaces a transfer. Raises REQUEST_ID_REUSED when another has its request ID."""
        ...

    def delete_transfer(self, uid: str) -> bool:
        """Forgets a transfer. Says whether it was there."""
        ...

    def delete_expired_transfers(self, now: int) -> int:
        """Forgets ended transfers whose retention is over, and returns how many."""
        ...

    def next_epoch(self) -> int:
        """Counts a start of the daemon: 1 the first time, one more each time. Event sequence
        numbers are made of it, so that they rise across a crash."""
        ...


class MetadataStore(Protocol):
    """Images, names, leases and transfers, in transactions."""

    async def read(self, function: Callable[[ReadSession], T]) -> T:
        """Runs a function on one consistent state, the newest. Raises STORE_CORRUPT."""
        ...

    async def write(self, function: Callable[[WriteSession], T]) -> T:
        """Runs a function in a transaction; durable on return. Raises DISK_FULL, STORE_CORRUPT,
        TOO_BUSY, and then nothing has changed.

        Whoever is cancelled here does not know whether it was run: one that has not begun is not.
        """
        ...

    def listing_version(self) -> int | None:
        """A number that is another one after each commit that may change what lists of images show,
        in their BASIC view and whatever containers, leases and last uses do. It changes before
        `write` returns. A hint that costs nothing: None says that it is not known just now.
        """
        ...

    async def write_alone(self, function: Callable[[WriteSession], T]) -> T:
        """As `write`, sharing its commit with nobody: all that the function sees is durable
        already. For one that acts outside the store, where nothing is undone."""
        ...

    async def verify(self) -> list[str]:
        """Reads everything, and tells what is damaged; nothing when all is well."""
        ...

    def next_change(self) -> Awaitable[None]:
        """What ends with the next commit after this call. Ask for it, look, then wait: so that
        nothing is missed in between."""
        ...

    async def close(self) -> None:
        """Finishes what was asked for, then closes. What is asked for later is refused with
        SHUTTING_DOWN; closing again is harmless."""
        ...
