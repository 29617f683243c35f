"""Builds the images that are moved, as OCI layouts, and puts them into the registry under test.

Each image is a folder of the cache, complete when its `index.json` is there. Times are fixed and
names sorted, so that small differences between two builds come from the packages alone.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import http.client
import io
import json
import os
import random
import re
import shutil
import subprocess
import tarfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from bench.common import BenchError, find, log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"

# Any fixed time will do; this is 2024-01-01.
EPOCH = 1_704_067_200
# Files are read and hashed in pieces of this size.
CHUNK = 1 << 20

SUITE = "bookworm"
PACKAGES = ("python3", "python3-numpy", "gcc", "nodejs", "redis")
# What the packages' layer becomes, in this order: the paths of each layer. The rest (sbin,
# include, libexec: 1 % of the bytes) goes with usr/bin.
APP_LAYERS = (
    ("usr/lib",),
    ("usr/share",),
    ("usr/bin", "usr/sbin", "usr/include", "usr/libexec"),
    ("etc",),
    ("var",),
)
# Left out of layer 1: what a running system puts there, and debootstrap's own downloads, which no
# base image carries. (The packages' archives stay in the layer var: data that does not compress.)
LEFT_OUT = (
    "./proc/*",
    "./sys/*",
    "./dev/*",
    "./run/*",
    "./tmp/*",
    "./var/cache/apt/archives/*.deb",
)

MANY_LAYERS, MANY_FILES, MANY_FILE_SIZE = 40, 64, 16 << 10  # 40 layers of 1 MiB
# 2 GiB in all. randbytes counts bits in a C int: less than 256 MiB at once.
HUGE_FILES, HUGE_FILE_SIZE = 32, 64 << 20
FILES_COUNT, FILES_FOLDER = 100_000, 200  # 500 folders of 200 files
FILES_SIZES = (100, 8_000)  # sources, headers, metadata: what small files in images are


@dataclass(frozen=True)
class Blob:
    """A blob of an image."""

    media_type: str
    digest: str
    size: int


@dataclass(frozen=True)
class Image:
    """An image in the cache."""

    name: str
    layout: Path
    manifest: Blob
    config: Blob
    layers: tuple[Blob, ...]

    @property
    def size(self) -> int:
        """Compressed bytes of all layers."""
        return sum(layer.size for layer in self.layers)

    def path(self, blob: Blob) -> Path:
        """Where a blob's file is."""
        return self.layout / "blobs" / blob.digest.replace(":", "/")


@dataclass
class Layer:
    """A layer that was written: its blob and the digest of its tar."""

    blob: Blob
    diff_id: str


# --- writing layers --------------------------------------------------------------------------


class LayerWriter(io.RawIOBase):
    """A file object that hashes a tar, compresses it, hashes that, and stores it by digest."""

    def __init__(self, layout: Path, level: int) -> None:
        """Starts a layer in `layout`, compressed by zlib's `level`; 0 stores."""
        self._layout = layout
        self._path = layout / f"layer-{id(self)}.tmp"
        self._file = self._path.open("wb")
        # 31: a gzip header with no name and no time, as `gzip -n` writes.
        self._zip = zlib.compressobj(level, zlib.DEFLATED, 31)
        self._plain, self._packed, self._size = hashlib.sha256(), hashlib.sha256(), 0

    def writable(self) -> bool:
        """For tarfile."""
        return True

    def write(self, data: object) -> int:
        """Takes a piece of the tar."""
        view = memoryview(data)  # type: ignore[arg-type]
        self._plain.update(view)
        self._put(self._zip.compress(view))
        return len(view)

    def _put(self, data: bytes) -> None:
        self._packed.update(data)
        self._size += len(data)
        self._file.write(data)

    def finish(self) -> Layer:
        """Stores the layer."""
        self._put(self._zip.flush())
        self._file.close()
        digest = self._packed.hexdigest()
        self._path.rename(_blobs(self._layout) / digest)
        blob = Blob(f"{LAYER_TYPE}+gzip", f"sha256:{digest}", self._size)
        return Layer(blob, f"sha256:{self._plain.hexdigest()}")


def _blobs(layout: Path) -> Path:
    path = layout / "blobs" / "sha256"
    path.mkdir(parents=True, exist_ok=True)
    return path


def _tar_layer(
    layout: Path, level: int, fill: Callable[[Callable[[str, bytes], None]], None]
) -> Layer:
    writer = LayerWriter(layout, level)
    # A large buffer, so that tarfile's small writes do not each cost a call of zlib.
    with (
        io.BufferedWriter(writer, CHUNK) as buffer,
        tarfile.open(fileobj=buffer, mode="w|", format=tarfile.PAX_FORMAT) as tar,
    ):

        def add(name: str, data: bytes) -> None:
            info = tarfile.TarInfo(name)
            info.size, info.mode, info.mtime = len(data), 0o644, EPOCH
            tar.addfile(info, io.BytesIO(data))

        fill(add)
        tar.close()
        buffer.flush()
        return writer.finish()


def _piped_layer(layout: Path, tar: list[str], pack: list[str], suffix: str) -> Layer:
    """Stores what `tar | pack` writes."""
    temporary = layout / f"layer-{os.getpid()}-{abs(hash(tuple(tar)))}.tmp"
    plain = hashlib.sha256()
    with (
        temporary.open("wb") as out,
        subprocess.Popen(tar, stdout=subprocess.PIPE) as reader,
        subprocess.Popen(pack, stdin=subprocess.PIPE, stdout=out) as packer,
    ):
        assert reader.stdout
        assert packer.stdin
        while data := reader.stdout.read(CHUNK):
            plain.update(data)
            packer.stdin.write(data)
        packer.stdin.close()
        if reader.wait() or packer.wait():
            raise BenchError(f"failed: {' '.join(tar)} | {' '.join(pack)}")
    with temporary.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    size = temporary.stat().st_size
    temporary.rename(_blobs(layout) / digest)
    return Layer(
        Blob(f"{LAYER_TYPE}+{suffix}", f"sha256:{digest}", size), f"sha256:{plain.hexdigest()}"
    )


# --- the images ------------------------------------------------------------------------------


def _mirror() -> str:
    """The Debian mirror that this machine is set up with."""
    text = ""
    for path in sorted(Path("/etc/apt").glob("sources.list")) + sorted(
        Path("/etc/apt/sources.list.d").glob("*.*")
    ):
        if path.suffix in {".list", ".sources"}:
            text += path.read_text() + "\n"
    # "URIs: …" of the newer form, "deb [options] … suite" of the older.
    found = re.findall(r"^(?:URIs:|deb(?:\s+\[[^\]]*\])?)\s+(\S+/debian/?)(?:\s|$)", text, re.M)
    if not found:
        raise BenchError("apt's sources name no Debian mirror: can't build the app image")
    return str(found[0])


def _run(*command: str, **environment: str) -> None:
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive", **environment},
    )
    if done.returncode:
        tail = done.stdout.decode(errors="replace")[-2000:]
        raise BenchError(f"failed: {' '.join(command)}\n{tail}")


@contextlib.contextmanager
def _mounted(target: Path, *options: str) -> Iterator[None]:
    _run("mount", *options, str(target))
    try:
        yield
    finally:
        _run("umount", str(target))


def _whiteouts(upper: Path) -> None:
    """Rewrites overlayfs's marks of removal into a layer's."""
    for folder, _, names in os.walk(upper):
        here = Path(folder)
        with contextlib.suppress(OSError):
            if os.getxattr(here, "trusted.overlay.opaque") == b"y":
                (here / ".wh..wh..opq").touch()
        for name in names:
            path = here / name
            status = path.lstat()
            if path.is_char_device() and status.st_rdev == 0:
                path.unlink()
                (here / f".wh.{name}").touch()


def _build_app(layout: Path) -> list[Layer]:
    if os.geteuid() != 0:
        raise BenchError("only root can build the app image (debootstrap, chroot, overlay)")
    work = layout / "work"
    base, upper, merged = work / "base", work / "upper", work / "merged"
    for path in (upper, work / "overlay", merged):
        path.mkdir(parents=True)
    debootstrap = find("debootstrap")
    if debootstrap is None:
        raise BenchError("debootstrap is missing: can't build the app image")
    mirror = _mirror()
    log(f"app: debootstrap {SUITE} ...")
    _run(debootstrap, "--variant=minbase", SUITE, str(base), mirror)
    log(f"app: installing {' '.join(PACKAGES)} ...")
    overlay = f"lowerdir={base},upperdir={upper},workdir={work / 'overlay'}"
    with (
        _mounted(merged, "-t", "overlay", "-o", overlay, "overlay"),
        _mounted(merged / "proc", "-t", "proc", "proc"),
    ):
        policy = merged / "usr/sbin/policy-rc.d"
        policy.write_text("#!/bin/sh\nexit 101\n")  # no service starts in the chroot
        policy.chmod(0o755)
        install = ("apt-get", "install", "--yes", "--no-install-recommends")
        _run("chroot", str(merged), *install, *PACKAGES)
        policy.unlink()
    _whiteouts(upper)
    trees = [(base, (".",))] + [(upper, paths) for paths in APP_LAYERS]
    flags = ["--sort=name", f"--mtime=@{EPOCH}", "--numeric-owner", "--one-file-system"]
    flags += [f"--exclude={pattern}" for pattern in LEFT_OUT]

    def layer(tree: tuple[Path, tuple[str, ...]]) -> Layer:
        root, paths = tree
        present = [path for path in paths if (root / path).exists()]
        tar = ["tar", "-C", str(root), *flags, "-cf", "-", *present]
        return _piped_layer(layout, tar, ["gzip", "-6n"], "gzip")

    log("app: packing six layers ...")
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        layers = list(pool.map(layer, trees))
    shutil.rmtree(work)
    return layers


def _build_many(layout: Path) -> list[Layer]:
    def fill(number: int, add: Callable[[str, bytes], None]) -> None:
        source = random.Random(number)
        for index in range(MANY_FILES):
            add(f"many/{number:02}/{index:03}.bin", source.randbytes(MANY_FILE_SIZE))

    return [_tar_layer(layout, 6, functools.partial(fill, n)) for n in range(MANY_LAYERS)]


def _build_huge(layout: Path) -> list[Layer]:
    def fill(add: Callable[[str, bytes], None]) -> None:
        source = random.Random(0)
        for index in range(HUGE_FILES):
            add(f"huge/{index}.bin", source.randbytes(HUGE_FILE_SIZE))

    # Random bytes do not compress; level 0 spares the try.
    return [_tar_layer(layout, 0, fill)]


def _build_files(layout: Path) -> list[Layer]:
    def fill(add: Callable[[str, bytes], None]) -> None:
        source = random.Random(1)
        words = [source.randbytes(source.randint(2, 9)).hex().encode() for _ in range(2_000)]
        for index in range(FILES_COUNT):
            size = source.randint(*FILES_SIZES)
            text = b" ".join(source.choices(words, k=size // 12 + 1))[:size]
            add(f"files/{index // FILES_FOLDER:03}/{index % FILES_FOLDER:03}.txt", text)

    return [_tar_layer(layout, 6, fill)]


def _zstd_of(name: str) -> Callable[[Path], list[Layer]]:
    def build_it(layout: Path) -> list[Layer]:
        plain = build(name, layout.parent)
        unpack, pack = ["gzip", "-dc"], ["zstd", "-3", "-q", "-c"]
        return [
            _piped_layer(layout, [*unpack, str(plain.path(blob))], pack, "zstd")
            for blob in plain.layers
        ]

    return build_it


BUILDERS: dict[str, Callable[[Path], list[Layer]]] = {
    "app": _build_app,
    "many": _build_many,
    "huge": _build_huge,
    "files": _build_files,
    "app-zstd": _zstd_of("app"),
    "files-zstd": _zstd_of("files"),
}


def build(name: str, cache: Path) -> Image:
    """Returns the image `name` of the folder `cache`; builds it when it is not there."""
    layout = cache / name
    if not (layout / "index.json").exists():
        shutil.rmtree(layout, ignore_errors=True)
        layout.mkdir(parents=True)
        log(f"building image {name} ...")
        layers = BUILDERS[name](layout)
        config = {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Cmd": ["/bin/sh"]},
            "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
            "history": [{"created_by": f"bench {name} {n}"} for n in range(len(layers))],
        }
        config_blob = _put_json(layout, config, CONFIG_TYPE)
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": _descriptor(config_blob),
            "layers": [_descriptor(layer.blob) for layer in layers],
        }
        root = _descriptor(_put_json(layout, manifest, MANIFEST_TYPE))
        root["annotations"] = {"org.opencontainers.image.ref.name": "latest"}
        (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        index = {"schemaVersion": 2, "manifests": [root]}
        (layout / "index.json").write_text(json.dumps(index))
    return _load(name, layout)


def _descriptor(blob: Blob) -> dict[str, object]:
    return {"mediaType": blob.media_type, "digest": blob.digest, "size": blob.size}


def _put_json(layout: Path, value: object, media_type: str) -> Blob:
    data = json.dumps(value, indent=1).encode()
    digest = hashlib.sha256(data).hexdigest()
    (_blobs(layout) / digest).write_bytes(data)
    return Blob(media_type, f"sha256:{digest}", len(data))


def _load(name: str, layout: Path) -> Image:
    def blob(value: dict[str, object]) -> Blob:
        return Blob(str(value["mediaType"]), str(value["digest"]), int(str(value["size"])))

    root = blob(json.loads((layout / "index.json").read_text())["manifests"][0])
    path = layout / "blobs" / root.digest.replace(":", "/")
    manifest = json.loads(path.read_text())
    layers = tuple(blob(layer) for layer in manifest["layers"])
    return Image(name, layout, root, blob(manifest["config"]), layers)


@dataclass
class Contents:
    """What is inside of a layer."""

    unpacked: int = 0
    entries: int = 0
    files: int = 0
    lines: list[str] = field(default_factory=list)


def describe(image: Image) -> Contents:
    """Reads every layer, and returns what is in them."""
    total = Contents()
    for number, layer in enumerate(image.layers):
        command = ["zstd" if layer.media_type.endswith("zstd") else "gzip", "-dc"]
        size = entries = files = 0
        with subprocess.Popen(
            [*command, str(image.path(layer))], stdout=subprocess.PIPE
        ) as unpacker:
            assert unpacker.stdout
            with tarfile.open(fileobj=unpacker.stdout, mode="r|") as tar:
                for member in tar:
                    entries, files, size = entries + 1, files + member.isreg(), size + member.size
        total.unpacked, total.entries = total.unpacked + size, total.entries + entries
        total.files += files
        total.lines.append(
            f"{image.name} {number}: {layer.size / 1e6:.1f} MB compressed, "
            f"{size / 1e6:.1f} MB unpacked, {files} files of {entries} entries"
        )
    return total


# --- into the registry -----------------------------------------------------------------------


def push(image: Image, address: str, repository: str) -> None:
    """Puts `image` into the registry at `address` as `repository`:latest, unless it is there."""
    connection = http.client.HTTPConnection(address)

    def call(method: str, path: str, body: object = None, media: str = "") -> tuple[int, str]:
        headers = {"Content-Type": media or "application/octet-stream"}
        if method == "HEAD":
            headers = {"Accept": MANIFEST_TYPE}
        if isinstance(body, io.BufferedReader):
            headers["Content-Length"] = str(os.fstat(body.fileno()).st_size)
        connection.request(method, path, body, headers)  # type: ignore[arg-type]
        with connection.getresponse() as response:
            text = response.read()
            if response.status >= 400 and method != "HEAD":
                raise BenchError(f"{method} {path}: {response.status} {text[:300]!r}")
            return response.status, response.headers.get("Location") or ""

    base = f"/v2/{repository}"
    try:
        if call("HEAD", f"{base}/manifests/{image.manifest.digest}")[0] == 200:
            return
        log(f"pushing {image.name} ...")
        for blob in {*image.layers, image.config}:
            if call("HEAD", f"{base}/blobs/{blob.digest}")[0] == 200:
                continue
            target = urlsplit(call("POST", f"{base}/blobs/uploads/")[1])
            query = f"{target.query}&" if target.query else ""
            with image.path(blob).open("rb") as file:
                call("PUT", f"{target.path}?{query}digest={blob.digest}", file)
        data = image.path(image.manifest).read_bytes()
        call("PUT", f"{base}/manifests/latest", data, MANIFEST_TYPE)
    finally:
        connection.close()
