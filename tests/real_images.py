"""Real images: real files, packed by real builders (umoci, buildah, skopeo), in OCI layouts.

They differ from run to run (the builders write the time into them), so a test asks skopeo what it
should find: `raw_manifest` and `raw_config`.
"""

from __future__ import annotations

import email
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.fake_images import OCI_INDEX, OCI_MANIFEST, descriptor, digest_of
from tests.peers import require

__all__ = [
    "ARTIFACT_TYPE",
    "Expected",
    "RealImages",
    "build_images",
    "expect",
    "raw_config",
    "raw_manifest",
    "run",
]

PATIENCE = 60.0

ARTIFACT_TYPE = "application/vnd.cyclonedx+json"
PLATFORMS = ("amd64", "arm64")
_EMPTY = "application/vnd.oci.empty.v1+json"
_REF_NAME = "org.opencontainers.image.ref.name"


@dataclass(frozen=True)
class RealImages:
    """Images by name, each one an entry of an OCI layout; `push` brings them to a registry.

    | name | what it is |
    | --- | --- |
    | `app` | four gzip layers (umoci): a root, changes, deletions (whiteouts), an opaque folder |
    | `app-next` | `app` with a layer more, and another config |
    | `multi` | an index for linux/amd64 and linux/arm64 (umoci), which share a layer |
    | `buildah` | the same for linux/arm64/v8, by buildah; built when it is first pushed |
    | `zstd`, `plain` | `app` with zstd layers, and with layers that are not compressed (skopeo) |
    | `schema2`, `schema2-list` | `app` and `multi`, pushed in Docker's schema 2 (skopeo) |
    | `artifact` | a JSON document with an `artifactType` and the empty config |
    """

    folder: Path
    files: Mapping[str, bytes | None]
    """What a container of `app` finds: path and bytes, or None for what a layer took away."""

    def push(self, name: str, reference: str) -> None:
        """Pushes an image to a registry without TLS, as it is (schema 2 apart)."""
        source = name.replace("schema2-list", "multi").replace("schema2", "app")
        if name == "buildah" and not (self.folder / name).exists():
            _build_with_buildah(self.folder)
        form = ["--preserve-digests"] if source == name else ["--format", "v2s2"]
        layout = f"oci:{self.folder / source}:{source}"
        target = f"docker://{reference}"
        run("skopeo", "copy", "--quiet", "--all", *form, "--dest-tls-verify=false", layout, target)


def run(program: str, *words: str | Path) -> bytes:
    """Runs a peer to its end; returns what it prints. Raises RuntimeError with what it said."""
    command = [str(require(program)), *map(str, words)]
    # buildah refuses to begin where the configuration that is named does not exist.
    environment = {name: value for name, value in os.environ.items() if name != "DOCKER_CONFIG"}
    ended = subprocess.run(
        command, capture_output=True, check=False, timeout=PATIENCE, env=environment
    )
    if ended.returncode:
        raise RuntimeError(f"{command!r} ended with {ended.returncode}: {ended.stderr.decode()}")
    return ended.stdout


def raw_manifest(reference: str) -> bytes:
    """The bytes of the manifest or index at a reference, as skopeo gets them."""
    return run("skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{reference}")


def raw_config(reference: str, platform: str = "") -> bytes:
    """The bytes of an image's config, for this machine or for `os/architecture[/variant]`."""
    words = ["inspect", "--config", "--raw", "--tls-verify=false", f"docker://{reference}"]
    flags = ("--override-os", "--override-arch", "--override-variant")
    for flag, value in zip(flags, platform.split("/") if platform else (), strict=False):
        words[:0] = [flag, value]
    return run("skopeo", *words)


@dataclass
class Expected:
    """What skopeo says of an image, for the wanted platforms."""

    raw: bytes
    manifests: list[dict[str, Any]] = field(default_factory=list)
    """The manifests to be stored; the one for the first wanted platform comes first."""
    children: list[str] = field(default_factory=list)
    """The digests of the manifests that an index names."""
    blobs: dict[str, int] = field(default_factory=dict)
    """Everything to be stored, the target included: digest and size."""

    @property
    def digest(self) -> str:
        return digest_of(self.raw)

    @property
    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.raw)
        return found

    @property
    def media_type(self) -> str:
        # umoci and skopeo leave the OCI types out, as the specification permits.
        return str(self.document.get("mediaType", OCI_INDEX if self.children else OCI_MANIFEST))

    @property
    def size(self) -> int:
        return sum(self.blobs.values())


def expect(reference: str, platforms: Sequence[str] = (), everything: bool = False) -> Expected:
    """Asks skopeo; without `platforms` for what it takes on this machine."""
    found = Expected(raw_manifest(reference))
    repository = reference.rpartition(":")[0]
    wanted = [found.raw]
    if "manifests" in found.document:
        found.children = [child["digest"] for child in found.document["manifests"]]
        wanted = [raw_manifest(f"{repository}@{digest}") for digest in found.children]
        if not everything:
            configs = [digest_of(raw_config(reference, one)) for one in platforms or ("",)]
            by_config = {json.loads(raw)["config"]["digest"]: raw for raw in wanted}
            wanted = [by_config[config] for config in configs]
    found.blobs[found.digest] = len(found.raw)
    for raw in wanted:
        manifest = json.loads(raw)
        found.manifests.append(manifest)
        found.blobs[digest_of(raw)] = len(raw)
        for child in (manifest["config"], *manifest["layers"]):
            found.blobs[child["digest"]] = child["size"]
    return found


def build_images(folder: Path) -> RealImages:
    """Builds them all below `folder`, which takes about three seconds."""
    files = _build_app(folder)
    _build_multi(folder)
    unpacked = f"dir:{folder / 'unpacked'}"
    copy = ("copy", "--quiet")
    # By way of layers that are not compressed: skopeo leaves those that are as they are.
    run("skopeo", *copy, "--dest-decompress", _layout(folder, "app"), unpacked)
    zstd = ("--dest-compress", "--dest-compress-format", "zstd")
    run("skopeo", *copy, *zstd, unpacked, _layout(folder, "zstd"))
    plain = "--dest-oci-accept-uncompressed-layers"
    run("skopeo", *copy, plain, unpacked, _layout(folder, "plain"))
    _write_artifact(folder / "artifact")
    return RealImages(folder, files)


def _layout(folder: Path, name: str) -> str:
    return f"oci:{folder / name}:{name}"


def _write_root(root: Path) -> None:
    """A root with files of many sizes, links of both kinds, and a program that runs."""
    for name in ("bin", "etc/app", "tmp", "usr/lib", "var/cache/app"):
        (root / name).mkdir(parents=True)
    shutil.copy2(require("busybox"), root / "bin/busybox")
    os.link(root / "bin/busybox", root / "bin/sh")
    (root / "bin/cat").symlink_to("busybox")
    library = Path(email.__file__).parent
    shutil.copytree(library, root / "usr/lib/email", ignore=shutil.ignore_patterns("__pycache__"))
    (root / "etc/passwd").write_text("root:x:0:0:root:/:/bin/sh\n")
    (root / "etc/app/app.conf").write_text("answer = 41\n")
    (root / "etc/app/old.conf").write_text("retired = true\n")
    (root / "var/cache/app/stale").write_text("to be hidden\n")


def _build_app(folder: Path) -> dict[str, bytes | None]:
    """`app` and `app-next` with umoci: a layer a step, as `umoci repack` finds what changed."""
    image, bundle = f"{folder / 'app'}:app", folder / "bundle"
    root = bundle / "rootfs"
    rootless = [] if os.geteuid() == 0 else ["--rootless"]

    def layer(step: str, change: Callable[[], object]) -> None:
        change()
        history = ("--history.created_by", step)
        run("umoci", "repack", "--refresh-bundle", *history, "--image", image, bundle)

    def change_files() -> None:
        (root / "etc/app/app.conf").write_text("answer = 42\n")
        (root / "bin/cat").unlink()
        (root / "bin/cat").symlink_to("sh")
        (root / "usr/lib/new.txt").write_text("added\n" * 1000)

    def delete_files() -> None:
        (root / "etc/app/old.conf").unlink()
        shutil.rmtree(root / "usr/lib/email/mime")

    run("umoci", "init", "--layout", folder / "app")
    run("umoci", "new", "--image", image)
    run("umoci", "unpack", *rootless, "--image", image, bundle)
    layer("a root with busybox", lambda: _write_root(root))
    layer("changes", change_files)
    layer("deletions", delete_files)
    fresh = folder / "fresh"
    fresh.mkdir()
    (fresh / "fresh").write_text("the folder hides what was in it\n")
    opaque = ("--opaque", *rootless, "--history.created_by", "an opaque folder")
    run("umoci", "insert", *opaque, "--image", image, fresh, "/var/cache/app")
    config = ("config", "--image", image, "--os", "linux", "--author", "imgd's tests")
    run(
        "umoci", *config, "--config.env", "PATH=/bin", "--config.entrypoint", "/bin/sh",
        "--config.cmd", "-c", "--config.workingdir", "/var", "--config.user", "root",
        "--config.exposedports", "80/tcp", "--config.label", "org.example.tier=web",
        "--config.stopsignal", "SIGINT",
    )  # fmt: skip
    # Each step left a manifest and a config behind.
    run("umoci", "gc", "--layout", folder / "app")
    shutil.copytree(folder / "app", folder / "app-next")
    later = f"{folder / 'app-next'}:app"
    run("umoci", "insert", *rootless, "--image", later, fresh, "/opt/next")
    run("umoci", "config", "--image", later, "--tag", "app-next", "--config.label", "version=2")
    return {
        "bin/busybox": require("busybox").read_bytes(),
        "bin/sh": require("busybox").read_bytes(),
        "etc/app/app.conf": b"answer = 42\n",
        "etc/app/old.conf": None,
        "usr/lib/email/__init__.py": Path(email.__file__).read_bytes(),
        "usr/lib/email/mime": None,
        "usr/lib/new.txt": b"added\n" * 1000,
        "var/cache/app/stale": None,
        "var/cache/app/fresh": b"the folder hides what was in it\n",
    }


def _build_multi(folder: Path) -> None:
    """`multi`: an image for each platform with umoci, and an index of both."""
    layout, root = folder / "multi", folder / "multi-root"
    rootless = [] if os.geteuid() == 0 else ["--rootless"]
    mark = folder / "platform"
    run("umoci", "init", "--layout", layout)
    run("umoci", "new", "--image", f"{layout}:base")
    _write_root(root)
    run("umoci", "insert", *rootless, "--image", f"{layout}:base", root, "/")
    for architecture in PLATFORMS:
        mark.write_text(f"made for {architecture}\n" * 100)
        image = f"{layout}:{architecture}"
        to_image = ("--image", f"{layout}:base", "--tag", architecture)
        run("umoci", "insert", *rootless, *to_image, mark, "/etc/platform")
        config = ("--os", "linux", "--architecture", architecture, "--config.cmd", "/bin/sh")
        run("umoci", "config", *config, "--config.label", "org.example.tier=base", "--image", image)
    run("umoci", "rm", "--image", f"{layout}:base")
    run("umoci", "gc", "--layout", layout)
    index = json.loads((layout / "index.json").read_bytes())
    made = {entry.pop("annotations")[_REF_NAME]: entry for entry in index["manifests"]}
    index["mediaType"] = OCI_INDEX
    index["manifests"] = [
        {**made[one], "platform": {"os": "linux", "architecture": one}} for one in PLATFORMS
    ]
    _write_entry(layout, json.dumps(index).encode(), OCI_INDEX)


def _build_with_buildah(folder: Path) -> None:
    """`buildah`. Unlike umoci it needs the right to mount (containers/storage unpacks in a chroot
    of its own), so only what needs this image fails without."""
    store = folder / "buildah-store"
    where = ("--root", store / "root", "--runroot", store / "run", "--storage-driver", "vfs")

    def buildah(*words: str | Path) -> str:
        return run("buildah", *where, *words).decode().strip()

    root = store / "base"
    _write_root(root)
    container = buildah("from", "scratch")
    buildah("copy", "--quiet", container, root, "/")
    buildah("config", "--cmd", '["/bin/sh"]', "--label", "org.example.tier=base", container)
    buildah("commit", "--quiet", container, "base")
    for architecture in PLATFORMS:
        mark = store / "platform"
        mark.write_text(f"made for {architecture}\n" * 100)
        container = buildah("from", "--pull-never", "base")
        buildah("copy", "--quiet", container, mark, "/etc/platform")
        more = ("--variant", "v8") if architecture == "arm64" else ()
        buildah("config", "--os", "linux", "--arch", architecture, *more, container)
        buildah("commit", "--quiet", container, architecture)
    buildah("manifest", "create", "multi", *PLATFORMS)
    buildah("manifest", "push", "--quiet", "--all", "multi", _layout(folder, "buildah"))
    buildah("rm", "--all")


def _write_artifact(layout: Path) -> None:
    """An artifact as OCI image 1.1 has it (manifest.md, guidelines for artifact usage)."""
    (layout / "blobs/sha256").mkdir(parents=True)
    (layout / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    document = json.dumps({"bomFormat": "CycloneDX", "specVersion": "1.6"}).encode()
    title = {"org.opencontainers.image.title": "bom.json"}
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": ARTIFACT_TYPE,
        "config": _write_blob(layout, b"{}", _EMPTY),
        "layers": [_write_blob(layout, document, ARTIFACT_TYPE, annotations=title)],
        "annotations": {"org.opencontainers.image.description": "what is inside"},
    }
    _write_entry(layout, json.dumps(manifest).encode(), OCI_MANIFEST)


def _write_blob(layout: Path, data: bytes, media_type: str, **more: Any) -> dict[str, Any]:
    """Adds a blob to a layout; returns its descriptor."""
    found = descriptor(data, media_type, **more)
    (layout / "blobs" / found["digest"].replace(":", "/")).write_bytes(data)
    return found


def _write_entry(layout: Path, data: bytes, media_type: str) -> None:
    """Makes a manifest or index the layout's one entry, named like the layout."""
    entry = _write_blob(layout, data, media_type, annotations={_REF_NAME: layout.name})
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
