"""What every content store must do. Another backend is one more line of `BACKENDS`."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgd_server.content import ContentStore, LocalContentStore
from imgd_server.errors import Error, FieldError, Reason
from imgd_server.oci import Digest


@dataclass(frozen=True)
class Backend:
    """A kind of store, over one place that outlives its objects."""

    open: Callable[[], ContentStore]
    damage: Callable[[Digest], None]
    """Flips a bit of a stored blob, behind the store's back."""


def local(root: Path) -> Backend:
    def damage(digest: Digest) -> None:
        path = root / "blobs" / digest.algorithm / digest.hex
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.chmod(0o600)
        path.write_bytes(data)

    return Backend(lambda: LocalContentStore(root), damage)


BACKENDS = {"local": local}


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    return BACKENDS[request.param](tmp_path / "store")


@pytest.fixture
def store(backend: Backend) -> ContentStore:
    return backend.open()


def put(store: ContentStore, data: bytes, algorithm: str = "sha256") -> Digest:
    digest = Digest.of(data, algorithm)
    with store.ingest(digest, digest, len(data)) as ingest:
        ingest.write(data)
        ingest.commit()
    return digest


def leave(store: ContentStore, key: str, data: bytes) -> None:
    """An ingest that is left unfinished."""
    with store.ingest(key) as ingest:
        ingest.write(data)


def refused(reason: Reason) -> pytest.RaisesExc[Error]:
    return pytest.RaisesExc(Error, check=lambda error: error.reason is reason)


DATA = b"the bytes of a blob " * 1000
DIGEST = Digest.of(DATA)


# --- blobs


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
@pytest.mark.parametrize("data", [b"", b"x", bytes(3 << 20)], ids=len)
def test_what_is_committed_is_read_again(backend: Backend, data: bytes, algorithm: str) -> None:
    before = time.time()
    digest = put(backend.open(), data, algorithm)
    store = backend.open()
    info = store.info(digest)
    assert (info.digest, info.size) == (digest, len(data))
    # File systems keep times to some milliseconds.
    assert before - 1 <= info.stored_at <= time.time() + 1
    assert store.find(digest) == info
    assert list(store.blobs()) == [info]
    assert store.read(digest, len(data)) == data
    assert store.verify(digest)


def test_a_blob_that_is_not_there(store: ContentStore) -> None:
    put(store, b"another")
    leave(store, DIGEST, DATA)
    assert store.find(DIGEST) is None
    assert store.delete(DIGEST) == 0
    reads = (store.info, store.open, store.verify, lambda digest: store.read(digest, 100))
    for look in reads:
        with refused(Reason.BLOB_NOT_FOUND) as caught:
            look(DIGEST)
        assert caught.value.digest == DIGEST


def test_a_reader_reads_ranges(store: ContentStore) -> None:
    put(store, DATA)
    with store.open(DIGEST) as reader:
        assert reader.size == len(DATA)
        assert reader.pread(10, 5) == DATA[5:15]
        assert reader.pread(10, len(DATA) - 3) == DATA[-3:]
        assert reader.pread(10, len(DATA)) == b""
        assert reader.pread(len(DATA) * 2, 0) == DATA
        # A file of its own that sendfile(2) takes, with exactly these bytes.
        assert os.fstat(reader.fileno()).st_size == len(DATA)
        assert os.pread(reader.fileno(), len(DATA), 0) == DATA
    reader.close()
    reader.close()


def test_a_reader_survives_deletion_and_replacement(store: ContentStore) -> None:
    put(store, DATA)
    with store.open(DIGEST) as first:
        put(store, DATA)
        with store.open(DIGEST) as second:
            assert store.delete(DIGEST) == len(DATA)
            assert store.find(DIGEST) is None
            assert first.pread(len(DATA), 0) == second.pread(len(DATA), 0) == DATA


def test_a_discarded_blob_is_out_of_sight(store: ContentStore) -> None:
    put(store, DATA)
    kept = put(store, b"kept")
    with store.open(DIGEST) as reader:
        assert store.discard(DIGEST) == len(DATA)
        assert store.discard(DIGEST) == 0
        assert store.find(DIGEST) is None
        assert [info.digest for info in store.blobs()] == [kept]
        # It may come again, and go again, before its bytes are freed.
        put(store, DATA)
        assert store.discard(DIGEST) == len(DATA)
        put(store, DATA)
        store.sweep()
        assert store.read(DIGEST, len(DATA)) == reader.pread(len(DATA), 0) == DATA
    assert store.verify(kept)
    assert list(store.strays()) == []


def test_what_was_seen_is_discarded_and_what_came_since_is_not(store: ContentStore) -> None:
    seen = store.info(put(store, DATA))
    put(store, DATA)
    assert not store.discard_seen(seen)
    assert store.verify(DIGEST)
    assert store.discard_seen(store.info(DIGEST))
    assert store.find(DIGEST) is None
    assert not store.discard_seen(seen)
    empty = store.info(put(store, b""))
    assert store.discard_seen(empty)
    assert store.find(empty.digest) is None


@pytest.mark.parametrize("size", [1, 2_000_000])
def test_what_was_discarded_is_freed_in_steps(store: ContentStore, size: int) -> None:
    kept = put(store, b"0" * size)
    for data in (b"1", b"2", b"3"):
        assert store.discard(put(store, data * size)) == size
    assert [info.digest for info in store.blobs()] == [kept]
    assert store.sweep(0) == 0
    freed = [store.sweep(2), store.sweep(2)]
    assert max(freed) <= 2
    assert store.sweep() == 0
    assert store.verify(kept)


@pytest.mark.parametrize("count", [0, 1, 40])
def test_many_are_discarded_at_once(store: ContentStore, count: int) -> None:
    kept = put(store, b"kept")
    digests = [put(store, b"%02d" % number) for number in range(count)]
    gone = Digest.of(b"never came")
    assert store.discard_all([*digests, gone]) == 2 * count
    assert [*store.digests()] == [kept]
    assert store.discard_all(digests) == 0


def test_what_is_ours_is_no_stray_to_drop(store: ContentStore) -> None:
    digest = put(store, DATA)
    leave(store, "upload:1", b"half")
    for name in (f"blobs/sha256/{digest.hex}", "ingest/upload:1", "blobs/sha256", "", "../x", "/"):
        assert not store.drop_stray(name)
    assert store.verify(digest)
    assert store.partial("upload:1")


def test_only_small_blobs_are_read_whole(store: ContentStore) -> None:
    put(store, DATA)
    assert store.read(DIGEST, len(DATA)) == DATA
    with refused(Reason.MANIFEST_TOO_LARGE) as caught:
        store.read(DIGEST, len(DATA) - 1)
    assert caught.value.digest == DIGEST


def test_every_blob_is_listed_while_others_go(store: ContentStore) -> None:
    digests = {put(store, bytes([number])) for number in range(20)}
    digests |= {put(store, bytes([number]), "sha512") for number in range(20)}
    assert {info.digest for info in store.blobs()} == {*store.digests()} == digests
    listed = store.blobs()
    first = next(listed).digest
    for digest in digests - {first}:
        assert store.delete(digest) == 1
    assert {info.digest for info in listed} <= digests
    assert [info.digest for info in store.blobs()] == [first]


def test_damage_is_found(backend: Backend) -> None:
    store = backend.open()
    put(store, DATA)
    whole = put(store, b"whole")
    backend.damage(DIGEST)
    assert not store.verify(DIGEST)
    assert store.verify(whole)


def test_a_new_commit_mends_a_damaged_blob(backend: Backend) -> None:
    store = backend.open()
    put(store, DATA)
    backend.damage(DIGEST)
    put(store, DATA)
    assert store.verify(DIGEST)


def test_there_is_room_and_nothing_strange(store: ContentStore) -> None:
    put(store, DATA)
    leave(store, "upload:1", b"half")
    assert store.free_bytes() > 0
    assert list(store.strays()) == []


# --- ingests


def test_nothing_shows_before_the_commit(store: ContentStore) -> None:
    with store.ingest(DIGEST, DIGEST, len(DATA)) as ingest:
        ingest.write(DATA)
        assert ingest.offset == len(DATA)
        assert store.find(DIGEST) is None
        assert list(store.blobs()) == []
        info = ingest.commit()
    assert (info.digest, info.size) == (DIGEST, len(DATA))
    assert store.info(DIGEST) == info
    assert store.partial(DIGEST) is None


@pytest.mark.parametrize("data", [DATA, bytearray(DATA), memoryview(DATA)], ids=type)
def test_any_buffer_is_written(store: ContentStore, data: bytes | bytearray | memoryview) -> None:
    with store.ingest("key") as ingest:
        ingest.write(data)
        assert ingest.commit(DIGEST).size == len(DATA)


@pytest.mark.parametrize("reopened", [False, True], ids=["same store", "after a restart"])
def test_what_was_left_is_gone_on_with(backend: Backend, reopened: bool) -> None:
    store = backend.open()
    with store.ingest(DIGEST, DIGEST, len(DATA)) as ingest:
        ingest.write(DATA[:5000])
    if reopened:
        store = backend.open()
    with store.ingest(DIGEST, DIGEST, len(DATA)) as ingest:
        assert ingest.offset == 5000
        ingest.write(DATA[5000:])
        ingest.commit()
    assert store.read(DIGEST, len(DATA)) == DATA


def test_all_bytes_may_be_there_already(store: ContentStore) -> None:
    leave(store, DIGEST, DATA)
    with store.ingest(DIGEST, DIGEST, len(DATA)) as ingest:
        assert ingest.offset == len(DATA)
        ingest.commit()
    assert store.read(DIGEST, len(DATA)) == DATA


def test_without_resume_it_starts_anew(store: ContentStore) -> None:
    leave(store, "key", b"something else")
    with store.ingest("key", DIGEST, len(DATA), resume=False) as ingest:
        assert ingest.offset == 0
        ingest.write(DATA)
        ingest.commit()
    assert store.read(DIGEST, len(DATA)) == DATA


def test_more_than_the_size_can_not_be_the_blob(store: ContentStore) -> None:
    leave(store, DIGEST, DATA + b"x")
    with store.ingest(DIGEST, DIGEST, len(DATA)) as ingest:
        assert ingest.offset == 0
        ingest.write(DATA)
        ingest.commit()


def test_a_restart_forgets(store: ContentStore) -> None:
    with store.ingest(DIGEST, DIGEST, len(DATA)) as ingest:
        ingest.write(b"from a server that ignored the range")
        ingest.restart()
        assert ingest.offset == 0
        ingest.write(DATA)
        ingest.commit()
    assert store.read(DIGEST, len(DATA)) == DATA


STEP = st.one_of(
    st.binary(max_size=50), st.sampled_from(["leave", "reopen", "restart", "anew", "abort"])
)


@given(steps=st.lists(STEP, max_size=12), algorithm=st.sampled_from(["sha256", "sha512"]))
@pytest.mark.parametrize("kind", BACKENDS)
def test_any_way_to_the_same_bytes(
    kind: str, steps: list[bytes | str], algorithm: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    backend = BACKENDS[kind](tmp_path_factory.mktemp("store"))
    store, expected = backend.open(), b""
    ingest = store.ingest("key")
    for step in steps:
        if isinstance(step, bytes):
            ingest.write(step)
            expected += step
        elif step == "restart":
            ingest.restart()
            expected = b""
        elif step == "abort":
            ingest.abort()
            ingest, expected = store.ingest("key"), b""
        else:
            ingest.close()
            store = backend.open() if step == "reopen" else store
            ingest = store.ingest("key", resume=step != "anew")
            expected = b"" if step == "anew" else expected
        assert ingest.offset == len(expected)
    digest = Digest.of(expected, algorithm)
    assert ingest.commit(digest).size == len(expected)
    assert store.read(digest, len(expected)) == expected
    assert list(store.partials()) == []


@pytest.mark.parametrize("given_digest", [True, False], ids=["digest first", "digest last"])
@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_a_wrong_digest_is_refused_and_forgotten(
    store: ContentStore, algorithm: str, given_digest: bool
) -> None:
    promised = Digest.of(b"what was promised", algorithm)
    with store.ingest("key", promised if given_digest else None) as ingest:
        ingest.write(b"what came")
        with refused(Reason.DIGEST_MISMATCH) as caught:
            ingest.commit(None if given_digest else promised)
    assert caught.value.digest == promised
    actual = hashlib.new(algorithm, b"what came").hexdigest()
    assert actual in caught.value.message
    assert list(store.blobs()) == []
    assert list(store.partials()) == []
    with store.ingest("key") as again:
        assert again.offset == 0


def test_a_digest_of_another_algorithm_at_the_end(store: ContentStore) -> None:
    wanted = Digest.of(DATA, "sha512")
    with store.ingest("key", DIGEST) as ingest:
        ingest.write(DATA)
        assert ingest.commit(wanted).digest == wanted
    assert store.verify(wanted)
    assert store.find(DIGEST) is None


def test_too_few_bytes_are_refused_and_forgotten(store: ContentStore) -> None:
    with store.ingest(DIGEST, DIGEST, len(DATA)) as ingest:
        ingest.write(DATA[:-1])
        with refused(Reason.SIZE_MISMATCH) as caught:
            ingest.commit()
    assert caught.value.digest == DIGEST
    assert store.find(DIGEST) is None
    assert store.partial(DIGEST) is None


def test_too_many_bytes_are_refused_and_not_kept(store: ContentStore) -> None:
    with store.ingest(DIGEST, DIGEST, len(DATA)) as ingest:
        ingest.write(DATA[:-1])
        with refused(Reason.SIZE_MISMATCH) as caught:
            ingest.write(DATA[-1:] + b"x")
        assert caught.value.digest == DIGEST
        assert ingest.offset == len(DATA) - 1
        ingest.write(DATA[-1:])
        ingest.commit()
    assert store.read(DIGEST, len(DATA)) == DATA


def test_a_size_without_a_digest(store: ContentStore) -> None:
    with store.ingest("key", size=3) as ingest, refused(Reason.SIZE_MISMATCH):
        ingest.write(b"four")


def test_an_ingest_needs_a_digest_in_the_end(store: ContentStore) -> None:
    with store.ingest("key") as ingest, pytest.raises(ValueError, match="digest"):
        ingest.commit()


def test_a_blob_that_is_there_already_is_fine(store: ContentStore) -> None:
    put(store, DATA)
    with store.ingest("upload:1") as ingest:
        ingest.write(DATA)
        assert ingest.commit(DIGEST).size == len(DATA)
    assert [info.digest for info in store.blobs()] == [DIGEST]
    assert store.read(DIGEST, len(DATA)) == DATA
    assert list(store.partials()) == []


@pytest.mark.parametrize("end", ["close", "commit", "abort", "mismatch"])
def test_one_at_a_time_for_a_key(store: ContentStore, end: str) -> None:
    ingest = store.ingest("key", DIGEST)
    with refused(Reason.TOO_BUSY):
        store.ingest("key")
    with store.ingest("another") as other:
        other.write(b"unhindered")
    if end == "mismatch":
        with refused(Reason.DIGEST_MISMATCH):
            ingest.commit()
    else:
        ingest.write(DATA)
        getattr(ingest, end)()
    with store.ingest("key") as again:
        assert again.offset == (len(DATA) if end == "close" else 0)
        # An ingest that has ended has no say any more.
        ingest.close()
        ingest.abort()
        with refused(Reason.TOO_BUSY):
            store.ingest("key")
    assert store.partial("key") is not None


def test_many_bring_the_same_blob(store: ContentStore) -> None:
    start = threading.Barrier(8)

    def bring(number: int) -> None:
        with store.ingest(f"upload:{number}") as ingest:
            ingest.write(DATA)
            start.wait(60)
            ingest.commit(DIGEST)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(bring, range(8)))
    assert [info.digest for info in store.blobs()] == [DIGEST]
    assert store.verify(DIGEST)
    assert list(store.partials()) == []


# --- unfinished ingests


def test_partials_are_those_that_nobody_writes(store: ContentStore) -> None:
    before = time.time()
    leave(store, "upload:1", b"12345")
    leave(store, DIGEST, b"")
    with store.ingest("upload:2") as ingest:
        ingest.write(b"under way")
        found = {one.key: one for one in store.partials()}
        assert {key: one.size for key, one in found.items()} == {"upload:1": 5, DIGEST: 0}
        assert all(before - 1 <= one.updated_at <= time.time() + 1 for one in found.values())
    assert {one.key for one in store.partials()} == {"upload:1", "upload:2", DIGEST}


def test_one_partial_also_while_it_is_written(store: ContentStore) -> None:
    assert store.partial("key") is None
    with store.ingest("key") as ingest:
        ingest.write(b"123")
        found = store.partial("key")
        assert found is not None
        assert (found.key, found.size) == ("key", 3)
        ingest.write(b"45")
        assert [one.size for one in [store.partial("key")] if one] == [5]
    assert [one.size for one in [store.partial("key")] if one] == [5]
    with store.ingest("key") as ingest:
        ingest.abort()
    assert store.partial("key") is None


def test_a_partial_is_read_while_it_is_written(store: ContentStore) -> None:
    assert store.read_partial("key", 10, 0) == b""
    with store.ingest("key") as ingest:
        ingest.write(b"01234")
        assert store.read_partial("key", 3, 0) == b"012"
        assert store.read_partial("key", 10, 3) == b"34"
        assert store.read_partial("key", 10, 5) == b""
        ingest.write(b"56789")
        assert store.read_partial("key", 100, 4) == b"456789"
        ingest.restart()
        assert store.read_partial("key", 10, 0) == b""
        ingest.write(b"x")
    assert store.read_partial("key", 10, 0) == b"x"
    with store.ingest("key") as ingest:
        ingest.commit(Digest.of(b"x"))
    assert store.read_partial("key", 10, 0) == b""
    with pytest.raises(FieldError):
        store.read_partial("../key", 10, 0)


def test_partials_may_go_while_they_are_listed(store: ContentStore) -> None:
    keys = {f"upload:{number}" for number in range(20)}
    for key in keys:
        leave(store, key, b"x")
    listed = store.partials()
    first = next(listed).key
    for key in keys - {first}:
        assert store.drop_partial(key)
    assert {one.key for one in listed} <= keys
    assert [one.key for one in store.partials()] == [first]


def test_a_partial_is_dropped_unless_it_is_written(store: ContentStore) -> None:
    assert not store.drop_partial("key")
    with store.ingest("key") as ingest:
        ingest.write(b"12345")
        assert not store.drop_partial("key")
    assert store.drop_partial("key")
    assert not store.drop_partial("key")
    leave(store, "empty", b"")
    assert store.drop_partial("empty")
    assert list(store.partials()) == []


@pytest.mark.parametrize("key", ["a", "a" * 255, "A-Z_09.:", Digest.of(b"", "sha512"), "..."])
def test_keys(store: ContentStore, key: str) -> None:
    leave(store, key, b"x")
    assert [one.key for one in store.partials()] == [key]


@pytest.mark.parametrize(
    "key",
    ["", ".", "..", "a/b", "../x", "/etc/x", "a" * 256, "a b", "a\n", "a\0", "é", "٣", "a\\b"],
)
def test_what_is_no_key(store: ContentStore, key: str) -> None:
    for use in (store.ingest, store.partial, store.drop_partial):
        with pytest.raises(FieldError) as caught:
            use(key)
        assert (caught.value.reason, caught.value.field) == (Reason.FIELD_INVALID, "key")
    assert list(store.partials()) == []
