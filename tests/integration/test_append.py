"""imgctl append: layers from files, read by skopeo and umoci."""

from __future__ import annotations

import gzip
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard

from imgd_client import AsyncClient, Client, NotFound
from tests.daemon import Daemon, run_daemon
from tests.fake_images import make_image
from tests.hostile import HostileRegistry
from tests.real_images import run
from tests.unit.rootfs.archives import (
    ROOT,
    archive,
    directory,
    file,
    link,
    opaque,
    symlink,
    tree,
    whiteout,
)

BASE = archive(directory(b"./"), directory(b"d"), file(b"d/gone"), file(b"d/kept"), file(b"o/old"))
FIRST = archive(whiteout(b"d/gone"), file(b"d/new", b"new"), link(b"d/hard", b"d/new"))
SECOND = archive(directory(b"o"), opaque(b"o"), file(b"o/only"), symlink(b"l", b"d/new"))


@pytest.fixture(name="daemon")
def start(tmp_path: Path) -> Iterator[Daemon]:
    flags = ("--snapshotter", "copy", "--registry-listen", "127.0.0.1:0")
    with HostileRegistry() as registry, run_daemon(tmp_path / "state", *flags) as daemon:
        registry.add("base", make_image([BASE], config={"Env": ["A=1"]}), "1")
        pulled = daemon.imgctl("pull", "-q", f"{registry.host}/base:1")
        assert pulled.returncode == 0, pulled
        assert daemon.imgctl("tag", f"{registry.host}/base:1", "h.io/base:1").returncode == 0
        yield daemon


def test_an_image_of_files(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "first.tar.gz").write_bytes(gzip.compress(FIRST))
    name = f"{daemon.registry}/made:1"
    words = ["append", "-b", "h.io/base:1", "-f", str(tmp_path / "first.tar.gz"), "-f", "-"]
    words += ["-a", "Ann", "-m", "by hand", "-c", "ENV B=$A", "-c", "USER 7:8", name]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "1000000000"}
    ids = []
    for _ in range(2):
        done = daemon.imgctl(*words, input=zstandard.compress(SECOND), text=False, env=environment)
        assert done.returncode == 0, done
        ids.append(done.stdout)
    # The same layers at the same time are the same image, and are not stored twice.
    assert ids[0] == ids[1]
    source = f"docker://{name}"
    config = json.loads(run("skopeo", "inspect", "--config", "--tls-verify=false", source))
    assert config["created"] == "2001-09-09T01:46:40Z"
    assert config["config"] == {"Env": ["A=1", "B=1"], "User": "7:8"} | {"Cmd": ["true"]}
    assert [one["created_by"] for one in config["history"]] == ["layer 0", *["imgd append"] * 2]
    assert config["history"][-1]["comment"] == "by hand"
    unpacked = f"dir:{tmp_path / 'plain'}"
    run(
        "skopeo", "copy", "--quiet", "--src-tls-verify=false", "--dest-decompress", source, unpacked
    )
    run("skopeo", "copy", "--quiet", unpacked, f"oci:{tmp_path / 'layout'}:out")
    rootless = [] if ROOT else ["--rootless"]
    run("umoci", "unpack", *rootless, "--image", f"{tmp_path / 'layout'}:out", tmp_path / "umoci")
    with Client(daemon.address) as client:
        made = client.containers.create(name, container_id="c", prepare_rootfs=True)
        ours = tree(Path(made.mounts[0].source))
        client.containers.remove("c")
    theirs = tree(tmp_path / "umoci" / "rootfs")
    assert set(ours) == {"", "d", "d/kept", "d/new", "d/hard", "o", "o/only", "l"}
    for found in (ours, theirs):
        # Of the time at which it was unpacked, where an archive says nothing of it.
        for path in ("d", "o", ""):
            found[path].pop("mtime")
    assert ours == theirs


def test_an_image_of_nothing_but_layers(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "layer.tar").write_bytes(FIRST)
    done = daemon.imgctl("append", "-f", str(tmp_path / "layer.tar"), "h.io/alone:1")
    assert done.returncode == 0, done
    with Client(daemon.address) as client:
        image = client.images.inspect("h.io/alone:1")
        assert [one.media_type.rpartition(".")[2] for one in image.layers] == ["tar"]
        # What was uploaded is not sent again, and can be read back.
        digest = image.layers[0].digest
        with (tmp_path / "layer.tar").open("rb") as opened:
            again = client.contents.upload(opened, digest=digest)
            assert opened.tell() == 0
        assert again == client.contents.get(digest)
        assert b"".join(client.contents.read(digest)) == FIRST
        assert b"".join(client.contents.read(digest, offset=5, limit=3)) == FIRST[5:8]


async def test_the_same_from_asyncio(daemon: Daemon) -> None:
    async with AsyncClient(daemon.address) as client:
        blob = await client.contents.upload(io.BytesIO(FIRST), lease="leases/kept")
        again = await client.contents.upload(io.BytesIO(FIRST), digest=blob.digest)
        assert again == blob == await client.contents.get(blob.digest)
        assert [one async for one in client.contents.read(blob.digest, limit=512)] == [FIRST[:512]]
        assert list((await client.leases.get("kept")).digests) == [blob.digest]
        image = await client.images.append("h.io/base:1", [blob.digest], changes=["USER me"])
        assert (await client.images.inspect(image.name)).config.user == "me"
        await client.containers.create(image.name, container_id="c", prepare_rootfs=True)
        made = await client.containers.commit("c", "h.io/made:1", message="nothing new")
        (*_, step) = await client.images.history("h.io/made:1")
        assert (step.comment, step.empty_layer) == ("nothing new", True)
        assert made.tags == ["h.io/made:1"]
        with pytest.raises(OSError, match="bad block"):
            await client.contents.upload(Broken())
        with pytest.raises(NotFound):
            await client.contents.get("sha256:" + "00" * 32)


class Broken:
    """A file that can't be read to its end."""

    def __init__(self) -> None:
        self._reads = 0

    def read(self, size: int, /) -> bytes:
        self._reads += 1
        if self._reads == 3:
            raise OSError(5, "a bad block")
        return bytes(size)


def test_what_goes_wrong(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "bad.tar").write_bytes(b"no archive" * 100)
    bad = str(tmp_path / "bad.tar")
    for words, code, said in (
        (["append", "x:1"], 125, "nothing to make"),
        (["append", "-f", str(tmp_path / "none"), "x:1"], 1, "No such file"),
        (["append", "-f", str(tmp_path), "x:1"], 1, "Is a directory"),
        (["append", "-f", bad, "x:1"], 1, "the layer is refused"),
        (["append", "-b", "h.io/none:1", "x:1"], 1, "no such image"),
        (["append", "-b", "h.io/base:1", "-c", "RUN make", "x:1"], 1, "RUN"),
    ):
        done = daemon.imgctl(*words)
        assert (done.returncode, done.stdout) == (code, ""), done
        assert said in done.stderr
        assert "Traceback" not in done.stderr
    with Client(daemon.address) as client:
        with pytest.raises(OSError, match="bad block"):
            client.contents.upload(Broken())
        assert [one.tags[0] for one in client.images.list(filters=["reference=x"])] == []
