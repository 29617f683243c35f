"""A hostile registry that takes pushes, right or wrong.

    with TakingRegistry() as registry:
        registry.cut("PATCH", after=100_000)
        ...  # push to f"{registry.host}/team/app:1"
        assert registry.holds("team/app", image, "1")

Blobs belong to repositories here. What `refuse` and `cut` do comes before a request is looked at;
faults (`on`) change the answer to one that was carried out.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BufferedIOBase
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.fake_images import FakeImage, digest_of
from tests.hostile import HostileRegistry
from tests.misbehaviour import Answer, Request

__all__ = ["TakingRegistry"]

_UPLOAD = re.compile(r"/v2/(.+)/blobs/uploads/([0-9]*)")
_INDEX = "application/vnd.oci.image.index.v1+json"


@dataclass(eq=False)
class _Halt:
    """See `TakingRegistry.halt`."""

    pattern: re.Pattern[str]
    after: int
    skip: int
    stopped: threading.Event = field(default_factory=threading.Event)


class TakingRegistry(HostileRegistry):
    """See the module. `mounts` and `chunks` say what it does, `keeps` whether an upload that was
    cut off has what came, `referrers` whether it lists them; `minimum` is told of chunks."""

    def __init__(
        self,
        *,
        mounts: bool = True,
        chunks: bool = True,
        keeps: bool = True,
        referrers: bool = False,
        minimum: int = 0,
        **more: Any,
    ) -> None:
        super().__init__(**more)
        self.mounts, self.chunks, self.keeps = mounts, chunks, keeps
        self.lists_referrers, self.minimum = referrers, minimum
        self.uploads: dict[str, bytearray] = {}
        self.linked: set[tuple[str, str]] = set()
        """Which repository has which blob."""
        self.received = 0
        """Bytes of blobs that came."""
        self.early_answers: dict[str, Answer] = {}
        """By method: what is answered before a body is read, which then never is."""
        self.order: list[str] = []
        """What was completed, in that order: digests of blobs, and names of manifests."""
        self._begun = 0
        self._refusals: list[tuple[re.Pattern[str], Answer]] = []
        self._cuts: list[tuple[re.Pattern[str], int]] = []
        self._halts: list[_Halt] = []

    # --- for the test

    def add(self, repository: str, image: FakeImage, *tags: str) -> str:
        """See HostileRegistry."""
        self.linked |= {(repository, digest) for digest in image.blobs}
        return super().add(repository, image, *tags)

    def refuse(
        self, pattern: str, status: int, code: str = "", *, times: int = 1, **more: str
    ) -> None:
        """Answers the next requests that match so, before anything is done."""
        headers = {name.replace("_", "-"): value for name, value in more.items()}
        body = json.dumps({"errors": [{"code": code, "message": "no"}]}).encode()
        answer = Answer(status, {"Content-Type": "application/json", **headers}, body)
        self._refusals += [(re.compile(pattern), answer)] * times

    def cut(self, pattern: str, after: int, *, times: int = 1) -> None:
        """Ends the connection after so many bytes of the next matching requests' bodies."""
        self._cuts += [(re.compile(pattern), after)] * times

    def halt(self, pattern: str, after: int = 0, *, skip: int = 0) -> threading.Event:
        """Stops reading a matching request (the next one but `skip`) after so many bytes of its
        body, until `release`; then reads what has come. Returns what is set when it stops."""
        halt = _Halt(re.compile(pattern), after, skip)
        self._halts.append(halt)
        return halt.stopped

    @property
    def content(self) -> tuple[set[str], set[tuple[str, str]]]:
        """The digests of blobs, and the names of manifests with their repositories."""
        return set(self._blobs), set(self._images)

    def holds(self, repository: str, image: FakeImage, *names: str) -> bool:
        """Whether it has all of an image in a repository, under names."""
        kept = all(
            self._blobs.get(digest) == data and (repository, digest) in self.linked
            for digest, data in image.blobs.items()
        )
        below = all(
            self._images.get((repository, digest)) == found
            for digest, found in image.manifests.items()
        )
        return (
            kept
            and below
            and all(
                self._images.get((repository, name)) == (image.media_type, image.raw)
                for name in names
            )
        )

    def tagged(self, repository: str, tag: str) -> bytes | None:
        """The manifest under a tag."""
        found = self._images.get((repository, tag))
        return found[1] if found else None

    # --- answering

    def early(self, method: str, path: str) -> Answer | None:
        """See HostileRegistry."""
        return self.early_answers.get(method)

    def receive(self, method: str, path: str, stream: BufferedIOBase, length: int) -> bytes:
        """See HostileRegistry."""
        for position, (pattern, after) in enumerate(self._cuts):
            if length and pattern.search(f"{method} {path}"):
                del self._cuts[position]
                data = stream.read(min(after, length))
                self.received += len(data)
                if self.keeps and (match := _UPLOAD.fullmatch(urlsplit(path).path)):
                    self.uploads[match[2]] += data
                raise ConnectionResetError("as the test wants it")
        for halt in [*self._halts]:
            if halt.pattern.search(f"{method} {path}"):
                halt.skip -= 1
                if halt.skip < 0:
                    self._halts.remove(halt)
                    data = stream.read(min(halt.after, length))
                    halt.stopped.set()
                    self.held.wait()
                    return self._rest(path, stream, length, data)
        return stream.read(length)

    def _rest(self, path: str, stream: BufferedIOBase, length: int, data: bytes) -> bytes:
        """The whole body, where its sender still sends it; else the upload keeps what came."""
        try:
            while len(data) < length and (more := stream.read(min(1 << 16, length - len(data)))):
                data += more
        except OSError:
            pass
        if len(data) == length:
            return data
        self.received += len(data)
        if self.keeps and (match := _UPLOAD.fullmatch(urlsplit(path).path)):
            self.uploads[match[2]] += data
        raise ConnectionResetError("its sender has gone")

    def _right(self, request: Request) -> Answer:
        split = urlsplit(request.path)
        if not split.path.startswith("/v2/"):
            return super()._right(request)
        if refused := self._authorize(request):
            return refused
        for position, (pattern, answer) in enumerate(self._refusals):
            if pattern.search(f"{request.method} {request.path}"):
                del self._refusals[position]
                return answer
        query = {name: values[0] for name, values in parse_qs(split.query).items()}
        if match := _UPLOAD.fullmatch(split.path):
            return self._upload(request, match[1], match[2], query)
        repository, kind, name = split.path.removeprefix("/v2/").rsplit("/", 2)
        if request.method == "PUT" and kind == "manifests":
            return self._take_manifest(request, repository, name)
        if kind == "referrers" and self.lists_referrers:
            return self._list(repository, name)
        if kind == "blobs" and (repository, name) not in self.linked:
            return _error(404, "BLOB_UNKNOWN")
        return super()._right(request)

    def _upload(
        self, request: Request, repository: str, upload: str, query: Mapping[str, str]
    ) -> Answer:
        if request.method == "POST":
            other = (query.get("from", ""), query.get("mount", ""))
            if self.mounts and other in self.linked:
                self.linked.add((repository, other[1]))
                return Answer(201, {"Location": f"/v2/{repository}/blobs/{other[1]}"})
            self._begun += 1
            upload = str(self._begun)
            self.uploads[upload] = bytearray()
            return self._told(202, repository, upload)
        if upload not in self.uploads:
            return _error(404, "BLOB_UPLOAD_UNKNOWN")
        kept = self.uploads[upload]
        if request.method == "GET":
            return self._told(204, repository, upload)
        if request.method == "PATCH" and not self.chunks:
            return _error(405, "UNSUPPORTED")
        place = re.fullmatch(r"([0-9]+)-[0-9]+", request.headers.get("content-range", ""))
        if place and int(place[1]) != len(kept):
            return self._told(416, repository, upload)
        kept += request.body
        self.received += len(request.body)
        if request.method == "PATCH":
            return self._told(202, repository, upload)
        del self.uploads[upload]
        if digest_of(bytes(kept)) != query.get("digest"):
            return _error(400, "DIGEST_INVALID")
        digest = self.put_blob(bytes(kept))
        self.linked.add((repository, digest))
        self.order.append(digest)
        return Answer(201, {"Location": f"/v2/{repository}/blobs/{digest}"})

    def _told(self, status: int, repository: str, upload: str) -> Answer:
        headers = {"Location": f"/v2/{repository}/blobs/uploads/{upload}"}
        if length := len(self.uploads[upload]):
            headers["Range"] = f"0-{length - 1}"
        if self.minimum:
            headers["OCI-Chunk-Min-Length"] = str(self.minimum)
        return Answer(status, headers)

    def _take_manifest(self, request: Request, repository: str, name: str) -> Answer:
        document = json.loads(request.body)
        parts = [one for one in (document.get("config"), *document.get("layers", [])) if one]
        missing = [one for one in parts if (repository, one["digest"]) not in self.linked]
        children = document.get("manifests", []) if "manifests" in document else []
        absent = [one for one in children if (repository, one["digest"]) not in self._images]
        if missing or absent:
            return _error(404, "MANIFEST_BLOB_UNKNOWN")
        digest = digest_of(request.body)
        for key in (name, digest):
            self._images[repository, key] = (request.headers["content-type"], request.body)
        self.order.append(name)
        headers = {"Docker-Content-Digest": digest}
        if self.lists_referrers and "subject" in document:
            headers["OCI-Subject"] = document["subject"]["digest"]
        return Answer(201, headers)

    def _list(self, repository: str, subject: str) -> Answer:
        found = []
        for (place, digest), (media_type, raw) in self._images.items():
            document = json.loads(raw)
            of_subject = document.get("subject", {}).get("digest") == subject
            if place == repository and digest_of(raw) == digest and of_subject:
                kind = document.get("artifactType", "")
                entry = {"mediaType": media_type, "digest": digest, "size": len(raw)}
                found.append({**entry, "artifactType": kind} if kind else entry)
        index = {"schemaVersion": 2, "mediaType": _INDEX, "manifests": found}
        return Answer(200, {"Content-Type": _INDEX}, json.dumps(index).encode())


def _error(status: int, code: str) -> Answer:
    body = json.dumps({"errors": [{"code": code, "message": "not so"}]}).encode()
    return Answer(status, {"Content-Type": "application/json"}, body)
