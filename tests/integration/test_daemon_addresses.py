"""Where the daemon listens, and that it is alone there."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from imgd_server.errors import Error, Reason
from imgd_server.rpc._listen import claim
from tests.daemon import imgd, refused, run_daemon, serves

SERVING = health_pb2.HealthCheckResponse.SERVING


# --- where it listens


def test_it_serves_sockets_and_ports_at_once(tmp_path: Path) -> None:
    flags = ("--listen", "127.0.0.1:0", "--listen", f"unix:{tmp_path}/deep/er/second.sock")
    with run_daemon(tmp_path / "state", *flags) as daemon:
        (bound,) = (one["listen"] for one in daemon.log if one["event"] == "serving")
        assert len(bound) == 3
        assert bound[0] == f"unix:{tmp_path}/state.sock"
        assert not bound[1].endswith(":0")
        assert all(serves(address) for address in bound)


@pytest.mark.parametrize("form", ["unix:{}", "unix://{}"])
def test_both_forms_of_a_sockets_address(tmp_path: Path, form: str) -> None:
    path = tmp_path / "imgd.sock"
    with run_daemon(tmp_path / "state", address=form.format(path)) as daemon:
        assert daemon.address == f"unix:{path}"
        assert path.is_socket()
        assert serves(daemon.address)


def test_one_address_that_can_not_be_served_and_none_is(tmp_path: Path) -> None:
    good = tmp_path / "good.sock"
    line = refused(
        *("--root", f"{tmp_path}/state"),
        *("--listen", f"unix:{good}", "--listen", "0.0.0.0:0"),
    )
    assert "0.0.0.0:0" in line
    assert "loopback" in line
    # Not half a daemon: what could be served was not, and is free.
    assert not good.exists()
    with run_daemon(tmp_path / "state", address=f"unix:{good}") as daemon:
        assert serves(daemon.address)


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0:0",
        "[::]:0",
        "192.0.2.1:50051",
        "example.com:50051",
        "127.0.0.1.example.com:50051",
        "localhost.example:50051",
        "127.0.0.1:65536",
        "127.0.0.1:-1",
        "127.0.0.1:0000801234",
        "127.0.0.1:" + "9" * 5000,
        "127.0.0.1",
        ":50051",
        "unix://host/imgd.sock",
        "unix:",
        "unix:/a\0b",
        "unix:/dev/null/imgd.sock",
        "unix:/proc/imgd.sock",
    ],
)
def test_an_address_that_is_not_served(address: str) -> None:
    with pytest.raises(Error) as caught:
        claim(address)
    assert caught.value.reason is Reason.FIELD_INVALID
    assert address in caught.value.message


@pytest.mark.parametrize("address", ["0.0.0.0:0", "example.com:0"])
def test_the_registry_inside_is_refused_likewise(tmp_path: Path, address: str) -> None:
    socket_path = tmp_path / "imgd.sock"
    line = refused(
        *("--root", f"{tmp_path}/state", "--listen", f"unix:{socket_path}"),
        *("--registry-listen", address),
    )
    assert "registry_listen" in line
    assert "loopback" in line
    assert not socket_path.exists()


def test_a_root_that_can_not_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    line = refused("--root", f"{tmp_path}/file/root", "--listen", f"unix:{tmp_path}/imgd.sock")
    assert f"root: {tmp_path}/file/root: Not a directory" in line
    assert "Errno" not in line


@pytest.mark.parametrize(
    ("flags", "key"),
    [
        (["--listen", "0.0.0.0:7070"], "listen"),
        (["--listen", "unix://host/imgd.sock"], "listen"),
        (["--high-water", "50%", "--low-water", "60%"], "low_water"),
        (["--samples"], "samples"),
        (["--registry-listen", "0.0.0.0:0"], "registry_listen"),
        (["--registry-listen", "127.0.0.1:0", "--registry-htpasswd", "/none"], "registry_htpasswd"),
        (["--registry-listen", "127.0.0.1:0", "--registry-tls-key", "/none"], "registry_tls"),
        (["--registry-listen", "127.0.0.1:0", "--registry-cache-default", "a.b"], "registry_cache"),
        (
            ["--registry-listen", "127.0.0.1:5001", "--registry-cache", "localhost:5001"],
            "registry_cache",
        ),
    ],
)
def test_a_configuration_that_makes_no_sense_makes_no_store(
    tmp_path: Path, flags: list[str], key: str
) -> None:
    listen = [] if "--listen" in flags else ["--listen", f"unix:{tmp_path}/imgd.sock"]
    line = refused("--root", f"{tmp_path}/new", *listen, *flags)
    assert line.startswith(f"imgd: {key}")
    assert [*tmp_path.iterdir()] == []


def test_the_registry_inside_on_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        line = refused(
            *("--root", f"{tmp_path}/state", "--listen", f"unix:{tmp_path}/imgd.sock"),
            *("--registry-listen", address),
        )
    assert "registry_listen" in line
    assert address in line


def test_it_takes_the_file_descriptors_that_it_may(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        with run_daemon(tmp_path / "state") as daemon:
            limits = Path(f"/proc/{daemon.process.pid}/limits").read_text()
            channels = [grpc.insecure_channel(daemon.address, [("no", n)]) for n in range(300)]
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for channel in channels:
                stub: Any = health_pb2_grpc.HealthStub(channel)
                assert stub.Check(health_pb2.HealthCheckRequest()).status == SERVING
            for channel in channels:
                channel.close()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    (line,) = [one for one in limits.splitlines() if one.startswith("Max open files")]
    assert int(line.split()[3]) > 256


def test_a_sockets_path_has_107_bytes_at_the_most(tmp_path: Path) -> None:
    room = 107 - len(os.fsencode(tmp_path)) - 1
    line = refused(
        *("--root", f"{tmp_path}/state"),
        *("--listen", f"unix:{tmp_path}/{'ä' * (room // 2)}{'x' * (room % 2 + 1)}"),
    )
    assert "107 bytes" in line
    with run_daemon(tmp_path / "state", address=f"unix:{tmp_path}/{'x' * room}") as daemon:
        assert serves(daemon.address)


def test_a_socket_lets_its_owner_and_group_in_whatever_the_umask(tmp_path: Path) -> None:
    umask = os.umask(0)
    try:
        with run_daemon(tmp_path / "state") as daemon:
            path = Path(daemon.address.removeprefix("unix:"))
            assert stat.S_IMODE(path.stat().st_mode) == 0o660
            assert stat.S_IMODE(Path(f"{path}.lock").stat().st_mode) == 0o600
    finally:
        os.umask(umask)


# --- that it is alone


def test_one_daemon_a_root(tmp_path: Path) -> None:
    with run_daemon(tmp_path / "state") as first:
        line = refused("--root", str(first.root), "--listen", f"unix:{tmp_path}/other.sock")
        assert "another imgd uses the state" in line
        assert str(first.root) in line
        assert serves(first.address)
        done = imgd("fsck", "--root", str(first.root))
        assert done.returncode == 1
        assert "another imgd uses the state" in done.stderr


def test_one_daemon_a_socket(tmp_path: Path) -> None:
    with run_daemon(tmp_path / "state") as first:
        line = refused("--root", f"{tmp_path}/other", "--listen", first.address)
        assert "served by another process" in line
        assert first.address in line
        assert serves(first.address)
    # It leaves no socket, and the address is free.
    assert not Path(first.address.removeprefix("unix:")).exists()
    with run_daemon(tmp_path / "other", address=first.address) as second:
        assert serves(second.address)


def test_one_daemon_a_port(tmp_path: Path) -> None:
    with run_daemon(tmp_path / "state", address="127.0.0.1:0") as first:
        line = refused("--root", f"{tmp_path}/other", "--listen", first.address)
        assert "served by another process" in line
        assert serves(first.address)


def test_a_socket_that_a_killed_daemon_left_is_taken_over(tmp_path: Path) -> None:
    with run_daemon(tmp_path / "state") as first:
        first.kill()
        path = Path(first.address.removeprefix("unix:"))
        assert path.is_socket()
        for _ in range(2):
            with run_daemon(tmp_path / "state") as second:
                assert second.address == first.address
                assert serves(second.address)
                second.kill()


def test_a_port_that_another_program_has(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        line = refused("--root", f"{tmp_path}/state", "--listen", address)
    assert "served by another process" in line


@contextlib.contextmanager
def occupied(path: Path, kind: str) -> Iterator[Callable[[], bool]]:
    """Puts something at a path; yields whether it is still that."""
    with contextlib.ExitStack() as stack:
        if kind == "a file":
            path.write_text("precious")
            yield lambda: path.read_text() == "precious"
        elif kind == "a folder":
            path.mkdir()
            yield path.is_dir
        elif kind == "a fifo":
            os.mkfifo(path)
            yield path.is_fifo
        else:
            other = stack.enter_context(
                socket.socket(
                    socket.AF_UNIX,
                    socket.SOCK_DGRAM if kind == "a datagram socket" else socket.SOCK_STREAM,
                )
            )
            other.bind(str(path))
            if kind == "a full listener":
                other.listen(0)
                caller = stack.enter_context(socket.socket(socket.AF_UNIX))
                caller.connect(str(path))
            elif kind == "a listener":
                other.listen()
            inode = path.stat().st_ino
            yield lambda: path.is_socket() and path.stat().st_ino == inode


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("a file", Reason.FIELD_INVALID),
        ("a folder", Reason.FIELD_INVALID),
        ("a fifo", Reason.FIELD_INVALID),
        ("a listener", Reason.TOO_BUSY),
        ("a full listener", Reason.TOO_BUSY),
        ("a datagram socket", Reason.TOO_BUSY),
    ],
)
def test_what_another_program_has_at_the_path_stays_there(
    tmp_path: Path, kind: str, reason: Reason
) -> None:
    path = tmp_path / "imgd.sock"
    with occupied(path, kind) as untouched:
        for _ in range(2):
            with pytest.raises(Error) as caught:
                claim(f"unix:{path}")
            assert caught.value.reason is reason
            assert str(path) in caught.value.message
            assert untouched()
    # The refusals keep no lock.
    path.rmdir() if path.is_dir() else path.unlink()
    claim(f"unix:{path}").release()


def test_a_daemon_says_so_too(tmp_path: Path) -> None:
    path = tmp_path / "imgd.sock"
    with occupied(path, "a file") as untouched:
        line = refused("--root", f"{tmp_path}/state", "--listen", f"unix:{path}")
        assert f"unix:{path}" in line
        assert "no socket" in line
        assert untouched()


@pytest.mark.parametrize("kind", ["a folder", "a link"])
def test_a_lock_that_is_none_is_named(tmp_path: Path, kind: str) -> None:
    lock = tmp_path / "imgd.sock.lock"
    if kind == "a folder":
        lock.mkdir()
    else:
        lock.symlink_to(tmp_path / "precious")
    with pytest.raises(Error, match=r"imgd\.sock\.lock"):
        claim(f"unix:{tmp_path}/imgd.sock")
    assert not (tmp_path / "precious").exists()


@contextlib.contextmanager
def another_user() -> Iterator[None]:
    """This process as another user, where files are concerned."""
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_lock_or_folder_of_another_user_is_named(tmp_path: Path) -> None:
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(folder.stat().st_mode | 0o055)
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    lock = shared / "imgd.sock.lock"
    lock.touch(0o600)
    with another_user(), pytest.raises(Error) as caught:
        claim(f"unix:{shared}/imgd.sock")
    assert f"{lock}: Permission denied" in caught.value.message
    with another_user():
        claim(f"unix:{shared}/own.sock").release()
    os.chown(shared, 4711, 4711)
    with another_user(), pytest.raises(Error, match="belongs to another user"):
        claim(f"unix:{shared}/new.sock")
    # Whose link it is counts, too: he could point it elsewhere.
    own, link = tmp_path / "own", tmp_path / "link"
    own.mkdir()
    os.chown(own, 65534, 65534)
    link.symlink_to(own)
    with another_user():
        claim(f"unix:{link}/new.sock").release()
    os.chown(link, 4711, 4711, follow_symlinks=False)
    with another_user(), pytest.raises(Error, match="belongs to another user"):
        claim(f"unix:{link}/new.sock")


@pytest.mark.parametrize("umask", [0, 0o077])
def test_a_users_folder_is_his_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, umask: int
) -> None:
    former = os.umask(umask)
    try:
        monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid or 4711)
        claim(f"unix:{tmp_path}/user/imgd.sock").release()
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        claim(f"unix:{tmp_path}/system/imgd.sock").release()
    finally:
        os.umask(former)
    assert stat.S_IMODE((tmp_path / "user").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "system").stat().st_mode) == 0o755 & ~umask


def test_a_folder_that_others_may_write_to_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid or 4711)
    folder = tmp_path / "folder"
    folder.mkdir()
    for mode, served in ((0o755, True), (0o775, False), (0o757, False), (0o1777, True)):
        folder.chmod(mode)
        if served:
            # Nobody else can take a file away where the sticky bit is set.
            claim(f"unix:{folder}/imgd.sock").release()
            continue
        with pytest.raises(Error) as caught:
            claim(f"unix:{folder}/imgd.sock")
        assert caught.value.reason is Reason.FIELD_INVALID
        assert f"others may write to {folder}" in caught.value.message
