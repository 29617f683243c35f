from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from imgd_server.errors import Error, Reason
from imgd_server.oci import Descriptor, Digest, Reference, media
from imgd_server.registry import (
    Cancellation,
    Credentials,
    HttpRegistryClient,
    PausedError,
    RegistryConfig,
    _hosts,
    parse_registries,
)
from imgd_server.registry._hosts import Health, Host, Hosts
from imgd_server.registry._url import Url
from tests.unit.registry.conftest import Net

RAW = json.dumps({"schemaVersion": 2, "mediaType": media.OCI_INDEX, "manifests": []}).encode()
DIGEST = Digest.of(RAW)
TARGET = Descriptor(media.OCI_INDEX, DIGEST, len(RAW))
BLOB = Descriptor(media.OCI_LAYER, Digest.of(b"hello"), 5)
BY_TAG, BY_DIGEST = Reference.parse("h.io/a/b:1"), Reference.parse(f"h.io/a/b@{DIGEST}")


@dataclass
class Clock:
    now: float = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(_hosts, "time", clock)
    return clock


# --- health


def test_a_host_that_fails_is_left_out_and_tried_by_one_at_a_time(clock: Clock) -> None:
    health = Health()
    assert [health.enter(), health.enter()] == [0, 0]
    health.failed()
    # What began before says nothing.
    health.answered(0)
    assert health.enter() is None
    clock.now += 10
    assert [health.enter(), health.enter()] == [1, None]
    health.leave(0)
    assert health.enter() is None
    # Who learned nothing lets another one try.
    health.leave(1)
    assert [health.enter(), health.enter()] == [1, None]
    health.answered(1)
    assert [health.enter(), health.enter()] == [1, 1]


def test_it_is_left_out_for_longer_each_time_until_it_served_something(clock: Clock) -> None:
    health = Health()

    def left_out() -> float:
        health.failed()
        # Those that were under way fail too, and say nothing new.
        health.failed()
        since = clock.now
        while (failures := health.enter()) is None:
            clock.now += 1
        health.answered(failures)
        return clock.now - since

    assert [left_out() for _ in range(7)] == [10, 20, 40, 80, 160, 300, 300]
    health.proved()
    assert left_out() == 10


def test_a_host_may_ask_for_peace_within_bounds(clock: Clock) -> None:
    health = Health()
    health.failed(60.0)
    clock.now += 59
    assert health.enter() is None
    clock.now += 1
    assert health.enter() is not None
    health.failed(1e6)
    clock.now += 300
    assert health.enter() is not None


# --- the order of hosts


def mirrored(*capabilities: str) -> Hosts:
    able = json.dumps(capabilities or ["pull"])
    text = '["h.io".host."https://one.io"]\n["h.io".host."https://two.io"]\n'
    text += f'["h.io".host."https://able.io"]\ncapabilities = {able}\n'
    return Hosts(parse_registries(text), lambda domain: [Url.parse(f"https://{domain}/v2")])


def test_who_is_to_be_avoided_is_asked_last() -> None:
    hosts = mirrored()
    asked: list[str] = []

    def work(host: Host) -> str:
        asked.append(host.url.label if host.url else "h.io")
        if len(asked) < 4:
            raise Error(Reason.REMOTE_NOT_FOUND, "not here")
        return "here"

    assert hosts.first("h.io", "pull", work, "one.io") == "here"
    assert asked == ["two.io", "able.io", "h.io", "one.io"]


def test_what_the_registry_itself_says_counts_in_any_order() -> None:
    def work(host: Host) -> str:
        mirror = host.url is not None and host.url.label == "one.io"
        reason = Reason.REGISTRY_UNAVAILABLE if mirror else Reason.REMOTE_NOT_FOUND
        raise Error(reason, "no")

    hosts = mirrored()
    for _ in range(2):  # the second time the mirror is left out
        with pytest.raises(Error) as caught:
            hosts.first("h.io", "pull", work, "one.io")
        assert caught.value.reason is Reason.REMOTE_NOT_FOUND


Does = dict[str, Callable[[], str]]


def fails(reason: Reason, **facts: object) -> Callable[[], str]:
    def fail() -> str:
        raise Error(reason, "no", **facts)  # type: ignore[arg-type]

    return fail


class Asking:
    """Asks hosts that do as they are told, and well where they are told nothing."""

    def __init__(self, hosts: Hosts) -> None:
        self.hosts = hosts
        self.asked: list[str] = []

    def __call__(self, does: Does | None = None, needs: str = "pull") -> str:
        self.asked = []

        def work(host: Host) -> str:
            label = host.url.label if host.url else "h.io"
            self.asked.append(label.removesuffix(".io"))
            return (does or {}).get(self.asked[-1], lambda: label)()

        return self.hosts.first("h.io", needs, work)


@pytest.fixture
def asking(clock: Clock) -> Asking:
    return Asking(mirrored())


DEAD = fails(Reason.REGISTRY_TIMEOUT)
NOT_HERE = fails(Reason.REMOTE_NOT_FOUND, http_status=404)


def test_the_first_that_is_well_serves(asking: Asking) -> None:
    assert asking() == "one.io"
    assert asking.asked == ["one"]


def test_a_dead_mirror_is_asked_once_and_not_for_each_blob(asking: Asking, clock: Clock) -> None:
    dead: Does = {"one": DEAD}
    assert asking(dead) == "two.io"
    for _ in range(100):
        assert asking(dead) == "two.io"
        assert asking.asked == ["two"]
    clock.now += 10
    assert asking(dead) == "two.io"
    assert asking.asked == ["one", "two"]
    clock.now += 20
    assert asking() == "one.io"
    assert asking() == "one.io"


@pytest.mark.parametrize(
    ("reason", "left_out"),
    [
        (Reason.REMOTE_NOT_FOUND, False),
        (Reason.REGISTRY_UNAUTHORIZED, False),
        (Reason.REGISTRY_DENIED, False),
        (Reason.MANIFEST_TOO_LARGE, False),
        (Reason.REGISTRY_UNREACHABLE, True),
        (Reason.REGISTRY_UNAVAILABLE, True),
        (Reason.REGISTRY_TIMEOUT, True),
        (Reason.REGISTRY_TLS, True),
        (Reason.REGISTRY_PROTOCOL, True),
        (Reason.REGISTRY_RATE_LIMITED, True),
        (Reason.EGRESS_DENIED, True),
        (Reason.DIGEST_MISMATCH, True),
    ],
)
def test_what_fails_at_a_mirror_is_asked_of_the_next(
    reason: Reason, left_out: bool, asking: Asking
) -> None:
    assert asking({"one": fails(reason)}) == "two.io"
    asking()
    assert asking.asked == (["two"] if left_out else ["one"])


def test_who_was_not_asked_for_a_limit_is_not_left_out_for_it(asking: Asking) -> None:
    def paused() -> str:
        raise PausedError("one.io", 5.0)

    assert asking({"one": paused}) == "two.io"
    assert asking() == "one.io"


def test_the_error_is_that_of_the_registry_itself(asking: Asking) -> None:
    denied = fails(Reason.REGISTRY_DENIED)
    with pytest.raises(Error) as caught:
        asking({"one": DEAD, "two": NOT_HERE, "able": NOT_HERE, "h": denied})
    assert caught.value.reason is Reason.REGISTRY_DENIED
    assert asking.asked == ["one", "two", "able", "h"]


def test_who_was_left_out_is_asked_when_nobody_else_answers(asking: Asking) -> None:
    everybody: Does = dict.fromkeys(("one", "two", "able", "h"), DEAD)
    with pytest.raises(Error):
        asking(everybody)
    # No machine but a mirror can be reached, and it is back.
    assert asking({**everybody, "two": lambda: "back"}) == "back"
    assert asking.asked == ["one", "two"]
    assert asking(everybody | {"two": lambda: "back"}) == "back"
    assert asking.asked == ["two"]


def test_a_mirror_that_has_it_not_says_nothing_for_a_registry_that_was_left_out(
    asking: Asking,
) -> None:
    mirrors: Does = dict.fromkeys(("one", "two", "able"), NOT_HERE)
    with pytest.raises(Error) as caught:
        asking(mirrors | {"h": DEAD})
    assert caught.value.reason is Reason.REGISTRY_TIMEOUT
    assert asking(mirrors) == "h.io"
    assert asking.asked == ["one", "two", "able", "h"]


def test_limits_of_the_registry_are_no_reason_to_try_the_dead(asking: Asking) -> None:
    dead: Does = dict.fromkeys(("one", "two", "able"), DEAD)
    asking(dead)
    with pytest.raises(Error) as caught:
        asking(dead | {"h": fails(Reason.REGISTRY_RATE_LIMITED, http_status=429)})
    assert caught.value.http_status == 429
    assert asking.asked == ["h"]


def test_a_cancelled_call_ends_it_and_says_nothing_of_the_host(
    asking: Asking, clock: Clock
) -> None:
    cancelled = fails(Reason.CANCELLED)
    for does in ({"one": cancelled}, {"one": DEAD}, {"one": cancelled}):
        clock.now += 100
        if does["one"] is cancelled:
            with pytest.raises(Error) as caught:
                asking(does)
            assert caught.value.reason is Reason.CANCELLED
            assert asking.asked == ["one"]
        else:
            asking(does)
    assert asking() == "one.io"


def test_a_defect_says_nothing_of_the_host(asking: Asking, clock: Clock) -> None:
    def defect() -> str:
        raise ZeroDivisionError

    asking({"one": DEAD})
    clock.now += 10
    with pytest.raises(ZeroDivisionError):
        asking({"one": defect})
    assert asking() == "one.io"


def test_hosts_are_asked_for_what_they_can(clock: Clock) -> None:
    asking = Asking(mirrored("pull"))
    missing: Does = dict.fromkeys(("one", "two", "able"), NOT_HERE)
    asking(missing, "resolve")
    assert asking.asked == ["one", "two", "h"]
    asking(missing, "pull")
    assert asking.asked == ["one", "two", "able", "h"]


def test_a_registry_whose_own_server_may_not_be_asked() -> None:
    text = '"h.io".capabilities = ["push"]\n'
    closed = Hosts(parse_registries(text), lambda _: [])
    with pytest.raises(Error) as caught:
        closed.first("h.io", "pull", lambda _: "never")
    assert caught.value.reason is Reason.EGRESS_DENIED
    asking = Asking(Hosts(parse_registries(text + '"h.io".host."one.io" = {}'), lambda _: []))
    with pytest.raises(Error) as caught:
        asking({"one": NOT_HERE})
    assert (caught.value.reason, asking.asked) == (Reason.REMOTE_NOT_FOUND, ["one"])


def test_hosts_of_one_origin_are_well_or_not_together(clock: Clock) -> None:
    text = '"a.io".host."https://m.io/a" = {}\n"b.io".host."https://m.io/b" = {}'
    hosts = Hosts(parse_registries(text), lambda _: [])
    hosts.of("a.io")[0].health.failed()
    assert hosts.of("b.io")[0].health.enter() is None
    assert hosts.of("A.io") is hosts.of("a.io")


def test_two_settings_for_one_host_are_refused() -> None:
    text = '"a.io".host."https://m.io" = {}\n"b.io".host."https://m.io".header = {x = "y"}'
    with pytest.raises(Error) as caught:
        Hosts(parse_registries(text), lambda _: [])
    assert caught.value.reason is Reason.FIELD_INVALID
    assert '"b.io".host."https://m.io": m.io has other settings' in caught.value.message


@pytest.mark.parametrize(("key", "value"), [("ca", '"{}"'), ("client", '[["{}", "{}"]]')])
@pytest.mark.parametrize("content", [None, "no certificate"])
def test_certificates_that_cannot_be_used_are_refused(
    key: str, value: str, content: str | None, tmp_path: Path
) -> None:
    file = tmp_path / "x.pem"
    if content:
        file.write_text(content)
    text = f'"h.io".{key} = {value.replace("{}", str(file))}'
    with pytest.raises(Error) as caught:
        Hosts(parse_registries(text), lambda domain: [Url.parse(f"https://{domain}/v2")])
    assert caught.value.reason is Reason.FIELD_INVALID
    assert caught.value.message.startswith(f'registries: "h.io".{key}: can\'t be used: ')


# --- requests


def said(status: int, body: bytes = b"", **headers: str) -> bytes:
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([f"HTTP/1.1 {status} Said", *lines, "", ""]).encode() + body


GET = said(200, RAW, Content_Type=media.OCI_INDEX, Docker_Content_Digest=DIGEST)
HEAD = GET.removesuffix(RAW)
NO = said(404)


@pytest.fixture
def make(net: Net) -> Iterator[Callable[[str], HttpRegistryClient]]:
    made: list[HttpRegistryClient] = []

    def make(text: str) -> HttpRegistryClient:
        config = RegistryConfig(registries=parse_registries(text), plain_http={"plain.io"})
        made.append(HttpRegistryClient(config))
        return made[-1]

    yield make
    for client in made:
        client.close()
    assert all(sock.closed for sock in net.sockets)


Make = Callable[[str], HttpRegistryClient]


def asked(net: Net) -> list[str]:
    return [
        f"{line.split()[0]} {host.removeprefix('Host: ')}{line.split()[1]}"
        for line, host in (sent.split("\r\n")[:2] for sent in net.sent)
    ]


def fields(sent: str) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in sent.split("\r\n\r\n")[0].split("\r\n")[1:])


@pytest.mark.parametrize(
    ("host", "path"),
    [
        ('"https://m.io" = {}', "m.io/v2/a/b"),
        ('"m.io" = {}', "m.io/v2/a/b"),
        ('"https://m.io:443/" = {}', "m.io/v2/a/b"),
        ('"https://m.io:5000/hub/" = {}', "m.io:5000/hub/v2/a/b"),
        ('"https://m.io/hub/v2" = {}', "m.io/hub/v2/a/b"),
        ('"https://m.io/v2/hub" = {override_path = true}', "m.io/v2/hub/a/b"),
    ],
)
def test_the_path_at_a_mirror(host: str, path: str, net: Net, make: Make) -> None:
    net.connection([HEAD], [GET], [said(200, b"hello")], [said(200, b"hello")])
    client = make(f'["h.io".host]\n{host}')
    assert client.resolve(BY_TAG, None, Cancellation()).host == path.partition("/")[0]
    client.fetch_manifest(BY_TAG, TARGET, None, Cancellation())
    with client.open_blob(BY_TAG, BLOB, 0, None, Cancellation()) as stream:
        assert stream.readinto(memoryview(bytearray(9))) == 5
    assert client.blob_size(BY_TAG, BLOB.digest, None, Cancellation()).size == 5
    # As containerd says whose repository it is.
    assert asked(net) == [
        f"HEAD {path}/manifests/1?ns=h.io",
        f"GET {path}/manifests/{DIGEST}?ns=h.io",
        f"GET {path}/blobs/{BLOB.digest}?ns=h.io",
        f"HEAD {path}/blobs/{BLOB.digest}?ns=h.io",
    ]
    # It is named by the configuration, and so may have a private address.
    assert net.dialled == [(path.partition("/")[0], True, False)]


def test_where_the_registry_is_served(net: Net, make: Make) -> None:
    net.connection([HEAD])
    net.connection([HEAD])
    make('"docker.io".server = "https://hub.corp/docker"').resolve(
        Reference.parse("redis"), None, Cancellation()
    )
    make('"127.0.0.1:5000".server = "http://127.0.0.1:5000"').resolve(
        Reference.parse("127.0.0.1:5000/app:1"), None, Cancellation()
    )
    assert asked(net) == [
        "HEAD hub.corp/docker/v2/library/redis/manifests/latest?ns=docker.io",
        "HEAD 127.0.0.1:5000/v2/app/manifests/1",
    ]


def test_settings_for_every_other_registry(net: Net, make: Make) -> None:
    client = make('"_default".host."m.io" = {}\n"own.io".host."n.io" = {}')
    net.connection([HEAD], [HEAD])
    net.connection([HEAD])
    for name in ("h.io/a:1", "redis", "own.io/a:1"):
        client.resolve(Reference.parse(name), None, Cancellation())
    assert asked(net) == [
        "HEAD m.io/v2/a/manifests/1?ns=h.io",
        "HEAD m.io/v2/library/redis/manifests/latest?ns=docker.io",
        "HEAD n.io/v2/a/manifests/1?ns=own.io",
    ]


def test_a_mirror_that_lies_about_a_manifest_is_left_out(net: Net, make: Make) -> None:
    client = make('"h.io".host."m.io" = {}')
    net.connection([said(200, RAW + b" ", Content_Type=media.OCI_INDEX)])
    net.connection([GET], [GET])
    for _ in range(2):
        found = client.fetch_manifest(BY_DIGEST, TARGET, None, Cancellation())
        assert (found.raw, found.host) == (RAW, "h.io")
    assert [one.partition("/")[0] for one in asked(net)] == ["GET m.io", "GET h.io", "GET h.io"]


def test_a_stream_that_breaks_and_one_that_was_wrong_leave_a_mirror_out(
    net: Net, make: Make
) -> None:
    for wrong in (False, True):
        client = make('"h.io".host."m.io" = {}')
        body = b"HELLO" if wrong else b"hel"
        net.connection([said(200, b"hello")[:-5] + body])
        with client.open_blob(BY_TAG, BLOB, 0, None, Cancellation()) as stream:
            piece = memoryview(bytearray(9))
            assert stream.readinto(piece) == len(body)
            if wrong:
                assert stream.readinto(piece) == 0
                stream.distrust()
            else:
                with pytest.raises(Error):
                    stream.readinto(piece)
        net.connection([said(200, b"hello")])
        with client.open_blob(BY_TAG, BLOB, 0, None, Cancellation()) as stream:
            assert stream.host == "h.io"
            assert stream.readinto(piece) == 5
            # There is nobody to ask instead of the registry itself.
            stream.distrust()


def test_only_what_mirrors_are_for_goes_to_them(net: Net, make: Make) -> None:
    client = make('"h.io".host."m.io" = {}')
    net.connection([said(200, b"{}")])
    client.check_credentials("h.io", Credentials("u", "p"), Cancellation())
    assert asked(net) == ["GET h.io/v2/"]


# --- what is sent to whom


def test_a_mirror_gets_its_own_credentials_and_never_the_registrys(
    net: Net, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIRROR", "mirror's")
    monkeypatch.setenv("SERVER", "server's")
    client = make(
        '["h.io"]\nuser = "s"\npassword_env = "SERVER"\n'
        '["h.io".host."m.io"]\nuser = "m"\npassword_env = "MIRROR"\n["h.io".host."n.io"]\n'
    )
    basic = said(401, WWW_Authenticate='Basic realm="r"')

    def sent() -> list[tuple[str, str]]:
        found = [(fields(one)["Host"], fields(one).get("Authorization", "")) for one in net.sent]
        for sock in net.sockets:
            sock.sent.clear()
        return [one for one in found if one[1]]

    mirrors, server = "Basic bTptaXJyb3Incw==", "Basic czpzZXJ2ZXIncw=="
    given = "Basic Y2FsbGVyOnNlY3JldA=="
    net.connection([basic], [NO], [NO], [NO])
    net.connection([basic], [basic], [basic])
    net.connection([basic], [HEAD], [basic], [HEAD], [basic])
    client.resolve(BY_TAG, None, Cancellation())
    assert sent() == [("m.io", mirrors), ("h.io", server)]
    client.resolve(BY_TAG, Credentials("caller", "secret"), Cancellation())
    assert sent() == [("m.io", mirrors), ("h.io", given)]
    # Who wants none to be sent has none sent, to anybody.
    net.connection([basic])
    with pytest.raises(Error):
        client.resolve(BY_TAG, Credentials(anonymous=True), Cancellation())
    assert sent() == []


def test_headers_go_to_the_host_they_are_for(net: Net, make: Make) -> None:
    client = make('"h.io".host."m.io".header = {X-Key = ["a", "b"]}')
    moved = said(307, Location="https://cdn.io/x")
    net.connection([moved])
    net.connection([NO])
    net.connection([HEAD])
    client.resolve(BY_TAG, None, Cancellation())
    assert [(fields(one)["Host"], fields(one).get("X-Key")) for one in net.sent] == [
        ("m.io", "a, b"),
        ("cdn.io", None),
        ("h.io", None),
    ]
