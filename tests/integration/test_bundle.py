"""Containers with root file systems and bundles, which a real runtime (crun) runs, as root over
overlayfs and without it."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from imgd.v1 import container_pb2
from imgd.v1.container_service_pb2 import BundleSpec
from imgd.v1.filesystem_service_pb2 import MountImageRequest
from imgd.v1.filesystem_service_pb2_grpc import FilesystemServiceStub
from imgd_client import Client, FailedPrecondition, ImgdError, InvalidArgument, NotFound
from imgd_server.rootfs import is_mount
from tests.bundles import PATIENCE, crun, unmount_all
from tests.daemon import Daemon, run_daemon
from tests.fake_images import make_image
from tests.hostile import HostileRegistry
from tests.overlay import need_overlay
from tests.peers import require
from tests.unit.rootfs.archives import archive, directory, file, link, symlink, whiteout

PASSWD = b"root:x:0:0::/root:/bin/sh\nweb:x:1000:1000::/home/web:/bin/sh\n1001:x:7:7::/:/x\n"
GROUP = b"root:x:0:\nwww:x:33:web\nadm:x:4:root,web\nwebs:x:1000:\n"
_FOLDERS = (b"bin", b"dev", b"proc", b"sys", b"etc", b"old", b"old/deep", b"data", b"tmp")
NAMES = {0: "", 1: "A", 2: "C", 3: "D"}


def base() -> bytes:
    busybox = Path(require("busybox")).read_bytes()
    programs = [b"sh", b"id", b"ls", b"cat", b"rm", b"mkdir", b"touch", b"env", b"pwd", b"chmod"]
    return archive(
        *(directory(name) for name in _FOLDERS),
        file(b"bin/busybox", busybox, mode=0o755),
        *(link(b"bin/" + name, b"bin/busybox") for name in programs),
        file(b"etc/passwd", PASSWD),
        file(b"etc/group", GROUP),
        file(b"etc/gone", b"x"),
        file(b"old/a", b"a"),
        file(b"old/deep/b", b"b"),
        file(b"data/seed", b"from the image"),
    )


@pytest.fixture(scope="module", name="registry")
def run_registry() -> Iterator[HostileRegistry]:
    with HostileRegistry() as registry:
        image = make_image(
            [base(), archive(directory(b"etc"), whiteout(b"etc/gone"), file(b"etc/new", b"n"))],
            config={
                "Entrypoint": ["/bin/sh", "-c"],
                "Cmd": ["id"],
                "Env": ["A=image", "B=kept"],
                "User": "web",
                "WorkingDir": "/old",
                "Volumes": {"/data": {}},
                "StopSignal": "SIGUSR1",
                "ExposedPorts": {"80/tcp": {}},
            },
        )
        registry.add("app", image, "1")
        yield registry


@pytest.fixture(params=["overlay", "copy"], name="daemon")
def start(
    request: pytest.FixtureRequest, tmp_path: Path, registry: HostileRegistry
) -> Iterator[Daemon]:
    if request.param == "overlay":
        need_overlay(tmp_path)
    pods = tmp_path / "pods"
    pods.mkdir()
    try:
        with run_daemon(
            tmp_path / "state", "--snapshotter", request.param, "--mount-roots", str(pods)
        ) as daemon:
            assert daemon.imgctl("pull", "-q", f"{registry.host}/app:1").returncode == 0
            yield daemon
    finally:
        unmount_all(tmp_path)


def changes(client: Client, name: str) -> list[str]:
    return [f"{NAMES[one.kind]} {one.path}" for one in client.containers.diff(name)]


def config_of(bundle: str) -> Any:
    return json.loads((Path(bundle) / "config.json").read_text())


def kind_of(daemon: Daemon) -> str:
    (folder,) = (daemon.root / "snapshots").iterdir()
    return folder.name


def test_crun_runs_a_bundle_and_its_changes_are_seen(
    daemon: Daemon, registry: HostileRegistry
) -> None:
    script = (
        "id; pwd; env; cat /etc/new /data/seed; ls /etc; echo more > /data/more;"
        "echo 1 > /added; chmod 600 /etc/new; rm -rf /old/deep; rm /etc/group; mkdir -p /x/y"
    )
    spec = BundleSpec(args=[script], env=["A=caller", "C=c"], user="root", working_dir="/tmp")
    with Client(daemon.address) as client:
        made = client.containers.create_bundle(f"{registry.host}/app:1", spec, container_id="web")
        assert made.container.platform == "linux/amd64"
        said = crun(made.bundle_path)
        assert said.startswith("uid=0(root) gid=0(root) groups=4(adm)\n/tmp\n"), said
        lines = said.splitlines()
        assert {"A=caller", "B=kept", "C=c", "HOME=/root"} <= set(lines)
        assert "nfrom the image" in said
        assert "gone" not in lines
        assert changes(client, "web") == [
            "A /added",
            *(["C /etc"] if kind_of(daemon) == "overlay" else []),
            "D /etc/group",
            "C /etc/new",
            *(["C /old"] if kind_of(daemon) == "overlay" else []),
            "D /old/deep",
            "A /x",
            "A /x/y",
        ]
        # What the volume got is no change of the image's files, and stays with the container.
        assert crun(made.bundle_path, "again").count("uid=0") == 1
        with pytest.raises(FailedPrecondition) as caught:
            client.images.remove(f"{registry.host}/app:1")
        assert caught.value.reason == "IMAGE_IN_USE"
        # The image's own files are as they were: a second container begins anew.
        other = client.containers.create_bundle(f"{registry.host}/app:1", spec, container_id="b")
        assert changes(client, "b") == []
        assert crun(other.bundle_path).startswith("uid=0(root)")
        shown = daemon.imgctl("container", "diff", "web").stdout.splitlines()
        assert shown == changes(client, "web")
        for name in ("web", "b"):
            client.containers.remove(name)
        assert not Path(made.bundle_path).exists()
        assert [*(daemon.root / "containers").iterdir()] == []
        client.images.remove(f"{registry.host}/app:1")
        client.system.collect()
        assert not [*daemon.root.glob("snapshots/*/layers/*")]


def test_the_config_is_the_images(daemon: Daemon, registry: HostileRegistry) -> None:
    with Client(daemon.address) as client:
        made = client.containers.create_bundle(f"{registry.host}/app:1")
        config = config_of(made.bundle_path)
        process = config["process"]
        assert process["user"] == {"uid": 1000, "gid": 1000, "additionalGids": [4, 33]}
        assert process["args"] == ["/bin/sh", "-c", "id"]
        assert process["cwd"] == "/old"
        assert {"A=image", "B=kept", "HOME=/home/web"} <= set(process["env"])
        assert [one for one in process["env"] if one.startswith("PATH=/usr/local/sbin:")]
        assert config["annotations"]["org.opencontainers.image.stopSignal"] == "SIGUSR1"
        assert config["annotations"]["org.opencontainers.image.exposedPorts"] == "80/tcp"
        (volume,) = [one for one in config["mounts"] if one["destination"] == "/data"]
        assert (Path(volume["source"]) / "seed").read_bytes() == b"from the image"
        said = crun(made.bundle_path)
        assert said == "uid=1000(web) gid=1000(webs) groups=4(adm),33(www)\n"
        client.containers.remove(made.container.name)


@pytest.mark.parametrize(
    ("user", "wanted"),
    [
        ("web:adm", {"uid": 1000, "gid": 4, "additionalGids": []}),
        ("1000", {"uid": 1000, "gid": 1000, "additionalGids": [4, 33]}),
        ("4242:77", {"uid": 4242, "gid": 77, "additionalGids": []}),
        ("4242", {"uid": 4242, "gid": 0, "additionalGids": []}),
        ("1001", {"uid": 7, "gid": 7, "additionalGids": []}),
    ],
)
def test_users(
    user: str, wanted: dict[str, Any], daemon: Daemon, registry: HostileRegistry
) -> None:
    with Client(daemon.address) as client:
        made = client.containers.create_bundle(f"{registry.host}/app:1", BundleSpec(user=user))
        assert config_of(made.bundle_path)["process"]["user"] == wanted
        client.containers.remove(made.container.name)


def test_a_bundle_where_the_caller_wants_it(
    daemon: Daemon, registry: HostileRegistry, tmp_path: Path
) -> None:
    place = tmp_path / "pods" / "a" / "web"
    words = ["container", "create", "--name", "web", "--bundle", str(place), "-u", "0"]
    done = daemon.imgctl(*words, f"{registry.host}/app:1", "--", "echo inside; touch /t")
    assert (done.returncode, done.stdout) == (0, "web\n"), done
    assert crun(str(place)) == "inside\n"
    assert daemon.imgctl("container", "diff", "web").stdout == "A /t\n"
    # What a container names its files is not for a terminal to obey.
    (place / "rootfs" / "t").rename(place / "rootfs" / "\x1b[2J\nA ")
    assert daemon.imgctl("container", "diff", "web").stdout == "A /\ufffd[2J\ufffdA \n"
    assert daemon.imgctl("container", "rm", "web").returncode == 0
    assert not place.exists()
    assert not is_mount(place / "rootfs")


def test_what_can_not_be_run_is_refused(daemon: Daemon, registry: HostileRegistry) -> None:
    registry.add("bare", make_image([base()], config={"Cmd": None}), "1")
    assert daemon.imgctl("pull", "-q", f"{registry.host}/bare:1").returncode == 0
    wrong = {
        "bundle.args": BundleSpec(),
        "bundle.env[1]": BundleSpec(args=["x"], env=["A=", "=b"]),
        "bundle.user": BundleSpec(args=["x"], user="nobody-here"),
    }
    with Client(daemon.address) as client:
        for field, spec in wrong.items():
            with pytest.raises(InvalidArgument) as caught:
                client.containers.create_bundle(f"{registry.host}/bare:1", spec)
            assert [one.field for one in caught.value.field_violations] == [field]
        assert [*(daemon.root / "containers").iterdir()] == []
        with pytest.raises(ImgdError) as failed:
            client.containers.create_bundle(f"{registry.host}/nothing:1")
        assert failed.value.reason == "IMAGE_NOT_FOUND"
        assert [*client.leases.list()] == [*client.containers.list()] == []
        assert str(daemon.root) not in Path("/proc/self/mounts").read_text()


@pytest.mark.parametrize("kind", ["elsewhere", "dots", "itself", "a link", "not empty", "relative"])
def test_bundles_stay_where_they_may_be(
    kind: str, daemon: Daemon, registry: HostileRegistry, tmp_path: Path
) -> None:
    pods, elsewhere = tmp_path / "pods", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (pods / "link").symlink_to(elsewhere)
    (pods / "full").mkdir()
    (pods / "full" / "file").touch()
    path = {
        "elsewhere": str(elsewhere / "x"),
        "dots": f"{pods}/../elsewhere/x",
        "itself": str(pods),
        "a link": str(pods / "link" / "x"),
        "not empty": str(pods / "full"),
        "relative": "pods/x",
    }[kind]
    with Client(daemon.address) as client, pytest.raises(InvalidArgument) as caught:
        client.containers.create_bundle(f"{registry.host}/app:1", BundleSpec(path=path))
    assert [one.field for one in caught.value.field_violations] == ["bundle.path"]
    assert [*elsewhere.iterdir()] == []
    assert [*daemon.root.glob("containers/*")] == []
    assert (pods / "full" / "file").exists()
    with Client(daemon.address) as client:
        assert [*client.containers.list()] == []
        client.images.remove(f"{registry.host}/app:1")  # nothing holds it any more


def test_a_place_that_is_taken_is_left_as_it_is(
    daemon: Daemon, registry: HostileRegistry, tmp_path: Path
) -> None:
    """Of many who want one place one has it; the others' refusals, and what they leave to be
    removed, touch nothing there, nor a folder that was never a bundle's."""
    image, place, own = f"{registry.host}/app:1", tmp_path / "pods" / "x", tmp_path / "pods" / "own"
    (own / "rootfs").mkdir(parents=True)
    (own / "config.json").write_text("mine")

    def create(path: Path) -> str:
        with Client(daemon.address) as client:
            try:
                return client.containers.create_bundle(
                    image, BundleSpec(path=str(path))
                ).bundle_path
            except InvalidArgument as error:
                return str(error.field_violations[0].field)

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(create, [place] * 4)) == [str(place), *["bundle.path"] * 3]
    assert create(place) == create(own) == "bundle.path"
    assert (own / "config.json").read_text() == "mine"
    assert (own / "rootfs").is_dir()
    assert (place / "config.json").is_file()
    assert (place / "rootfs" / "etc").is_dir()
    assert len([*(daemon.root / "containers").iterdir()]) == 1


def test_a_hostile_image_shows_no_file_of_the_host(
    daemon: Daemon, registry: HostileRegistry, tmp_path: Path
) -> None:
    secret = tmp_path / "passwd"
    secret.write_text("evil:x:0:0::/:/x\n")
    up = "../" * 30
    layer = archive(
        symlink(b"etc", f"{up}{tmp_path}".encode()),
        symlink(b"data", str(tmp_path).encode()),
    )
    image = make_image([layer], config={"Volumes": {"/data/v": {}, "/../../etc": {}}})
    registry.add("evil", image, "1")
    assert daemon.imgctl("pull", "-q", f"{registry.host}/evil:1").returncode == 0
    with Client(daemon.address) as client:
        with pytest.raises(InvalidArgument) as caught:
            client.containers.create_bundle(f"{registry.host}/evil:1", BundleSpec(user="evil"))
        assert "no user 'evil'" in caught.value.message
        made = client.containers.create_bundle(f"{registry.host}/evil:1")
        volumes = [one["source"] for one in config_of(made.bundle_path)["mounts"]]
        copied = [one for one in volumes if "volumes" in one]
        assert len(copied) == 2
        assert [path for one in copied for path in Path(one).iterdir()] == []
        client.containers.remove(made.container.name)


def test_mounts_for_a_caller_who_mounts(
    daemon: Daemon, registry: HostileRegistry, tmp_path: Path
) -> None:
    target = tmp_path / "target"
    target.mkdir()
    with Client(daemon.address) as client:
        made = client.containers.create(
            f"{registry.host}/app:1", container_id="web", prepare_rootfs=True
        )
        (mount,) = made.mounts
        assert client.containers.get("web").mounts == made.mounts
        assert mount.fs_type == ("overlay" if kind_of(daemon) == "overlay" else "bind")
        how = ["mount", "-t", mount.fs_type, mount.source, str(target)]
        subprocess.run([*how, "-o", ",".join(mount.options)], check=True)
        assert (target / "etc" / "new").read_bytes() == b"n"
        (target / "mine").write_bytes(b"abc")
        subprocess.run(["umount", str(target)], check=True)
        (change,) = client.containers.diff("web")
        assert (change.kind, change.path, change.size) == (
            container_pb2.CHANGE_KIND_ADDED,
            "/mine",
            3,
        )
        client.containers.remove("web")
        assert [*(daemon.root / "containers").iterdir()] == []
        client.containers.create(f"{registry.host}/app:1", container_id="bare")
        with pytest.raises(ImgdError) as caught:
            [*client.containers.diff("bare")]
        assert caught.value.reason == "CONTAINER_STATE"


def test_the_same_request_again_makes_nothing(daemon: Daemon, registry: HostileRegistry) -> None:
    with Client(daemon.address) as client:
        both = [
            client.containers.create_bundle(f"{registry.host}/app:1", request_id="once")
            for _ in range(2)
        ]
        assert both[0] == both[1]
        assert len([*(daemon.root / "containers").iterdir()]) == 1
        with pytest.raises(ImgdError) as caught:
            client.containers.create_bundle(
                f"{registry.host}/app:1", container_id=both[0].container.name.partition("/")[2]
            )
        assert caught.value.reason == "CONTAINER_EXISTS"
        assert len([*(daemon.root / "containers").iterdir()]) == 1
        client.containers.remove(both[0].container.name)


def test_what_a_crash_leaves_goes_and_what_is_registered_stays(
    registry: HostileRegistry, tmp_path: Path
) -> None:
    """A daemon that is killed, its machine that loses its mounts, and files without a record."""
    need_overlay(tmp_path)
    flags = ["--mount-roots", str(tmp_path / "pods")]
    (tmp_path / "pods").mkdir()
    try:
        with run_daemon(tmp_path / "state", *flags) as daemon, Client(daemon.address) as client:
            assert daemon.imgctl("pull", "-q", f"{registry.host}/app:1").returncode == 0
            spec = BundleSpec(
                path=str(tmp_path / "pods" / "kept"), args=["echo 1 > /tmp/one"], user="0"
            )
            client.containers.create_bundle(f"{registry.host}/app:1", spec, container_id="kept")
            crun(spec.path)
            spec = BundleSpec(path=str(tmp_path / "pods" / "lost"))
            lost = client.containers.create_bundle(f"{registry.host}/app:1", spec)
            daemon.kill()
        # As if it had died before the record was there.
        connection = sqlite3.connect(tmp_path / "state" / "metadata.db")
        connection.execute(
            "DELETE FROM containers WHERE container_id = ?",
            (lost.container.name.partition("/")[2],),
        )
        connection.commit()
        connection.close()
        subprocess.run(["umount", str(tmp_path / "pods" / "kept" / "rootfs")], check=True)
        with run_daemon(tmp_path / "state", *flags) as daemon, Client(daemon.address) as client:
            assert not (tmp_path / "pods" / "lost").exists()
            assert len([*(daemon.root / "containers").iterdir()]) == 1
            assert (tmp_path / "pods" / "kept" / "rootfs" / "tmp" / "one").read_text() == "1\n"
            assert changes(client, "kept") == ["C /tmp", "A /tmp/one"]
            client.containers.remove("kept")
            assert not (tmp_path / "pods" / "kept").exists()
    finally:
        unmount_all(tmp_path)


def test_many_layers_are_mounted(registry: HostileRegistry, tmp_path: Path) -> None:
    """More than fit on the page that mount(2) takes, were each path given whole."""
    need_overlay(tmp_path)
    layers = [archive(file(b"f%d" % number, b"x")) for number in range(120)]
    registry.add("many", make_image(layers, config={"Cmd": ["/x"]}), "1")
    try:
        address = f"unix:{tmp_path / 'd.sock'}"
        with (
            run_daemon(tmp_path / ("s" * 60), address=address) as daemon,
            Client(daemon.address) as client,
        ):
            assert daemon.imgctl("pull", "-q", f"{registry.host}/many:1").returncode == 0
            made = client.containers.create_bundle(f"{registry.host}/many:1")
            assert len([*(Path(made.bundle_path) / "rootfs").iterdir()]) == 120
            client.containers.remove(made.container.name)
            with pytest.raises(ImgdError) as caught:
                client.containers.create(f"{registry.host}/many:1", prepare_rootfs=True)
            assert caught.value.reason == "UNSUPPORTED"
    finally:
        unmount_all(tmp_path)


def test_a_view_without_a_container(
    daemon: Daemon, registry: HostileRegistry, tmp_path: Path
) -> None:
    """As Kubernetes' image volumes want it: read-only, and held as long as its lease."""
    target = tmp_path / "target"
    target.mkdir()
    with Client(daemon.address) as client:
        image = f"{registry.host}/app:1"
        view = client.files.mount(image, lease_id="volume", timeout=PATIENCE)
        assert (view.lease, view.platform.architecture) == ("leases/volume", "amd64")
        (mount,) = view.mounts
        assert "ro" in mount.options
        how = ["mount", "-t", mount.fs_type, mount.source, str(target)]
        subprocess.run([*how, "-o", ",".join(mount.options)], check=True)
        assert (target / "etc" / "new").read_bytes() == b"n"
        assert not (target / "etc" / "gone").exists()
        with pytest.raises(OSError, match="Read-only"):
            (target / "x").touch()
        subprocess.run(["umount", str(target)], check=True)
        with pytest.raises(FailedPrecondition):
            client.images.remove(image)
        client.leases.delete("volume")
        client.images.remove(image)
        client.system.collect()
        assert not [*daemon.root.glob("snapshots/*/layers/*")]
        with pytest.raises(NotFound):
            client.files.mount(image, lease_id="volume", timeout=PATIENCE)
        assert [*client.leases.list()] == []


def shown(place: Path) -> bytes | None:
    """What a view has, while it is mounted."""
    try:
        return (place / "etc" / "new").read_bytes()
    except FileNotFoundError:
        return None


def until_gone(place: Path) -> None:
    end = time.monotonic() + PATIENCE
    while place.exists() and time.monotonic() < end:
        time.sleep(0.01)
    assert not place.exists()


def test_a_view_that_the_daemon_mounts(
    daemon: Daemon, registry: HostileRegistry, tmp_path: Path
) -> None:
    """It goes with its lease, however that ends, and is no writable place meanwhile."""
    image = f"{registry.host}/app:1"
    first, second = tmp_path / "pods" / "a" / "image", tmp_path / "pods" / "b"
    with grpc.insecure_channel(daemon.address) as channel, Client(daemon.address) as client:
        stub: Any = FilesystemServiceStub(channel)

        def mount(target: Path, lease: str, **more: Any) -> Any:
            request = MountImageRequest(
                image=image, lease_id=lease, target_path=str(target), **more
            )
            return stub.MountImage(request, timeout=PATIENCE)

        view = mount(first, "one")
        assert (view.lease, [*view.mounts]) == ("leases/one", [])
        assert shown(first) == b"n"
        assert not (first / "etc" / "gone").exists()
        with pytest.raises(OSError, match="Read-only"):
            (first / "x").touch()
        mounts = Path("/proc/self/mounts").read_text().splitlines()
        options = next(line.split() for line in mounts if f" {first} " in line)[3].split(",")
        assert {"ro", "nosuid", "nodev"} <= {*options}
        # A place can be taken once; and a lease may hold several.
        with pytest.raises(grpc.RpcError) as caught:
            mount(first, "other")
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        mount(second, "one")
        with pytest.raises(FailedPrecondition):
            client.images.remove(image)
        client.leases.delete("one")
        until_gone(first)
        until_gone(second)
        # One that nobody gives back.
        mount(second, "two", ttl=Duration(seconds=1))
        until_gone(second)
        client.images.remove(image)
        client.system.collect()
        assert not [*daemon.root.glob("snapshots/*/layers/*")]
        assert not [*daemon.root.glob("views/*.json")]
        assert [*client.leases.list()] == []


@pytest.mark.parametrize("kind", ["elsewhere", "dots", "itself", "a link", "not empty", "relative"])
def test_places_where_nothing_is_mounted(
    kind: str, daemon: Daemon, registry: HostileRegistry, tmp_path: Path
) -> None:
    pods = tmp_path / "pods"
    (tmp_path / "outside").mkdir()
    (pods / "link").symlink_to(tmp_path / "outside")
    (pods / "full").mkdir()
    (pods / "full" / "file").touch()
    path = {
        "elsewhere": str(tmp_path / "outside"),
        "dots": f"{pods}/../outside",
        "itself": str(pods),
        "a link": str(pods / "link" / "x"),
        "not empty": str(pods / "full"),
        "relative": "pods/x",
    }[kind]
    with grpc.insecure_channel(daemon.address) as channel, Client(daemon.address) as client:
        stub: Any = FilesystemServiceStub(channel)
        request = MountImageRequest(image=f"{registry.host}/app:1", target_path=path)
        with pytest.raises(grpc.RpcError) as caught:
            stub.MountImage(request, timeout=PATIENCE)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "target_path" in str(caught.value.details())
        assert [*client.leases.list()] == []
    assert [*(tmp_path / "outside").iterdir()] == []
    assert not [*daemon.root.glob("views/*.json")]


def test_views_after_a_crash(registry: HostileRegistry, tmp_path: Path) -> None:
    """What the machine has lost is mounted again; whose lease is over is not."""
    need_overlay(tmp_path)
    pods, state = tmp_path / "pods", tmp_path / "state"
    pods.mkdir()
    image = f"{registry.host}/app:1"
    flags = ["--mount-roots", str(pods)]
    try:
        with run_daemon(state, *flags) as daemon:
            assert daemon.imgctl("pull", "-q", image).returncode == 0
            with grpc.insecure_channel(daemon.address) as channel:
                stub: Any = FilesystemServiceStub(channel)
                for name in ("kept", "lost", "over"):
                    request = MountImageRequest(
                        image=image, lease_id=name, target_path=str(pods / name)
                    )
                    stub.MountImage(request, timeout=PATIENCE)
            daemon.kill()
        assert [shown(pods / name) for name in ("kept", "lost", "over")] == [b"n"] * 3
        subprocess.run(["umount", str(pods / "lost")], check=True)
        with sqlite3.connect(state / "metadata.db") as metadata:
            metadata.execute("DELETE FROM leases WHERE lease_id = 'over'")
        metadata.close()
        with run_daemon(state, *flags) as daemon, Client(daemon.address) as client:
            assert [shown(pods / name) for name in ("kept", "lost")] == [b"n"] * 2
            assert not (pods / "over").exists()
            for name in ("kept", "lost"):
                client.leases.delete(name)
                until_gone(pods / name)
    finally:
        unmount_all(tmp_path)
