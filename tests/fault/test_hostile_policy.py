"""Registries that lead to hosts which the configuration denies, or does not allow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from imgd_server.errors import Error, Reason
from imgd_server.oci import Reference
from imgd_server.oci.media import DOCKER_FOREIGN_LAYER
from imgd_server.registry import (
    Cancellation,
    HttpRegistryClient,
    HttpRegistryPusher,
    Lookups,
    RegistryConfig,
    RegistryPolicy,
    parse_registries,
)
from tests.fake_images import make_document, make_image, make_layer
from tests.hostile import HostileRegistry, redirect, refuse
from tests.pulling import pulling

IMAGE = make_image([make_layer({"a": b"a" * 1000})])
DIGEST = IMAGE.document["layers"][0]["digest"]
ELSEWHERE = "127.0.0.2"
# Named by the configuration: it is the policy that has to keep imgd from there.
ALLOWED = RegistryConfig(
    allowed_hosts={ELSEWHERE}, policy=RegistryPolicy.of(["127.0.0.1", "*.example.com"], [])
)
DENIED = RegistryConfig(allowed_hosts={ELSEWHERE}, policy=RegistryPolicy.of([], [ELSEWHERE]))
BOTH = pytest.mark.parametrize(
    ("config", "says"),
    [
        (ALLOWED, "is none of allowed_registries (127.0.0.1, *.example.com)"),
        (DENIED, f"is denied by {ELSEWHERE} in denied_registries"),
    ],
    ids=["not allowed", "denied"],
)


@pytest.fixture
def registry() -> Iterator[HostileRegistry]:
    with HostileRegistry() as registry:
        registry.add("library/app", IMAGE, "1")
        yield registry


@pytest.fixture
def elsewhere() -> Iterator[HostileRegistry]:
    with HostileRegistry(address=ELSEWHERE) as elsewhere:
        elsewhere.add("library/app", IMAGE, "1")
        yield elsewhere
        assert elsewhere.requests == []


@BOTH
async def test_references(
    config: RegistryConfig, says: str, elsewhere: HostileRegistry, tmp_path: Path
) -> None:
    async with pulling(tmp_path, config) as puller:
        failure = await puller.fail(f"{elsewhere.host}/library/app:1")
        await puller.assert_untouched()
    assert (failure.reason, failure.host) == (Reason.EGRESS_DENIED, elsewhere.host)
    assert says in failure.message


@BOTH
@pytest.mark.parametrize("pattern", ["HEAD", "GET .*/manifests/", "/blobs/"])
async def test_redirects(
    pattern: str,
    config: RegistryConfig,
    says: str,
    registry: HostileRegistry,
    elsewhere: HostileRegistry,
    tmp_path: Path,
) -> None:
    registry.on(pattern, redirect(lambda asked: elsewhere.url + asked.path))
    async with pulling(tmp_path, config) as puller:
        failure = await puller.fail(f"{registry.host}/library/app:1")
        await puller.assert_untouched()
    assert failure.reason is Reason.EGRESS_DENIED
    assert f"{registry.host} leads to {elsewhere.host}" in failure.message
    assert says in failure.message


@BOTH
async def test_realms(
    config: RegistryConfig,
    says: str,
    registry: HostileRegistry,
    elsewhere: HostileRegistry,
    tmp_path: Path,
) -> None:
    registry.require_bearer(issuer=elsewhere)
    async with pulling(tmp_path, config) as puller:
        failure = await puller.fail(f"{registry.host}/library/app:1")
    assert failure.reason is Reason.EGRESS_DENIED
    assert says in failure.message


@BOTH
async def test_layers_urls(
    config: RegistryConfig,
    says: str,
    registry: HostileRegistry,
    elsewhere: HostileRegistry,
    tmp_path: Path,
) -> None:
    layer = {
        **IMAGE.document["layers"][0],
        "mediaType": DOCKER_FOREIGN_LAYER,
        "urls": [f"{elsewhere.url}/layer"],
    }
    foreign = make_document({**IMAGE.document, "layers": [layer]}, blobs=IMAGE.blobs)
    registry.add("library/foreign", foreign, "1")
    registry.on(f"/blobs/{DIGEST}", refuse(404, "BLOB_UNKNOWN"))
    async with pulling(tmp_path, config) as puller:
        failure = await puller.fail(f"{registry.host}/library/foreign:1")
    assert failure.reason is Reason.EGRESS_DENIED
    assert says in failure.message


@BOTH
async def test_mirrors_are_passed_over(
    config: RegistryConfig,
    says: str,
    registry: HostileRegistry,
    elsewhere: HostileRegistry,
    tmp_path: Path,
) -> None:
    del says
    mirrored = RegistryConfig(
        policy=config.policy,
        registries=parse_registries({registry.host: {"host": {elsewhere.url: {}}}}),
    )
    async with pulling(tmp_path, mirrored) as puller:
        outcome = await puller.pull(f"{registry.host}/library/app:1")
        await puller.assert_stored(outcome, IMAGE, f"{registry.host}/library/app:1")


@BOTH
def test_a_registry_is_denied_also_where_a_mirror_serves_it(
    config: RegistryConfig, says: str, registry: HostileRegistry, elsewhere: HostileRegistry
) -> None:
    mirrored = RegistryConfig(
        policy=config.policy,
        registries=parse_registries({elsewhere.host: {"host": {registry.url: {}}}}),
    )
    client = HttpRegistryClient(mirrored)
    with pytest.raises(Error, match="registries") as caught:
        client.resolve(Reference.parse(f"{elsewhere.host}/a:1"), None, Cancellation())
    assert says in caught.value.message
    assert registry.requests == []
    client.close()


def _push(client: HttpRegistryClient, host: str) -> None:
    reference = Reference.parse(f"{host}/library/app:1")
    HttpRegistryPusher(client).find_manifest(reference, None, Cancellation())


LOOKS: dict[str, Callable[[HttpRegistryClient, str], object]] = {
    "tags": lambda client, host: Lookups(client).tags(
        Reference.parse(f"{host}/library/app"), "", 10, lambda _: True, None, Cancellation()
    ),
    "search": lambda client, host: Lookups(client).search(
        host, "app", (1, 0), 10, lambda _: True, Cancellation()
    ),
    "search of Docker Hub": lambda client, host: Lookups(client, host).search(
        "docker.io", "app", (1, 0), 10, lambda _: True, Cancellation()
    ),
    "push": _push,
}


@BOTH
@pytest.mark.parametrize("look", LOOKS)
def test_look_ups_and_pushes(
    look: str, config: RegistryConfig, says: str, elsewhere: HostileRegistry
) -> None:
    client = HttpRegistryClient(config)
    with pytest.raises(Error) as caught:
        LOOKS[look](client, elsewhere.host)
    assert caught.value.reason is Reason.EGRESS_DENIED
    assert says in caught.value.message
    client.close()
