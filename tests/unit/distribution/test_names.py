"""Which repository a name in a URL means."""

from __future__ import annotations

from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgd_server.content import ContentStore
from imgd_server.distribution import RegistryServer, SampleStore
from imgd_server.distribution._protocol import Refusal
from imgd_server.metadata import MetadataStore
from imgd_server.oci import Reference

NOWHERE = cast(MetadataStore, None)
CONTENT = cast(ContentStore, None)


def registry(own_host: str = "registry.test:5000", *, samples: bool = False) -> RegistryServer:
    store = SampleStore(CONTENT, NOWHERE, ()) if samples else None
    return RegistryServer(CONTENT, NOWHERE, own_host=own_host, samples=store)


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("app", "registry.test:5000/app"),
        ("team/app", "registry.test:5000/team/app"),
        ("a/b/c/d", "registry.test:5000/a/b/c/d"),
        # Our own host, spelled out, is the same repository.
        ("registry.test:5000/app", "registry.test:5000/app"),
        # Other registries, by their full domain as a path.
        ("docker.io/library/redis", "docker.io/library/redis"),
        ("ghcr.io/o/app", "ghcr.io/o/app"),
        ("127.0.0.1:5001/app", "127.0.0.1:5001/app"),
        ("localhost/app", "localhost/app"),
        # Docker Hub's short names are the same repository as the long one.
        ("docker.io/redis", "docker.io/library/redis"),
        ("index.docker.io/library/redis", "docker.io/library/redis"),
        # A domain needs a path.
        ("localhost", "registry.test:5000/localhost"),
        ("my.app", "registry.test:5000/my.app"),
    ],
)
def test_a_name_is_our_own_or_has_its_domain(name: str, full: str) -> None:
    repository = registry().resolve(name)
    assert (repository.name, repository.full) == (name, full)
    assert repository.backing.writable


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "a/../b",
        "../etc/passwd",
        "a//b",
        "/a",
        "a/",
        "App",
        "TEAM/app",
        "a/B",
        "a b",
        "a\n",
        "a\x00b",
        "ä",
        "a/ａ",
        "a@b",
        "a:b",
        "app:latest",
        "docker.io/library/redis:7",
        "docker.io/redis@sha256:" + "a" * 64,
        "a" * 256,
        "a/" * 150 + "a",
        "a_-b",
        "a...b",
        "-a",
        "docker.io/",
        "http://docker.io/a",
        "%2e%2e/a",
        "c3ab8ff13720e8ad9047dd39466b3c8974e592c2fa383d4a3960714caef0c4f2/..",
    ],
)
def test_a_hostile_name_is_refused(name: str) -> None:
    with pytest.raises(Refusal) as caught:
        registry().resolve(name)
    assert (caught.value.status, caught.value.errors[0]["code"]) == (400, "NAME_INVALID")


@given(st.text(max_size=40) | st.from_regex(r"[a-zA-Z0-9._:/@-]{1,40}", fullmatch=True))
def test_a_name_means_a_repository_or_is_refused(name: str) -> None:
    try:
        full = registry().resolve(name).full
    except Refusal:
        return
    reference = Reference.parse(full)
    assert (reference.name, reference.tag, reference.digest) == (full, None, None)


def test_samples_have_a_store_of_their_own() -> None:
    with_samples = registry(samples=True)
    sample = with_samples.resolve("samples/hello")
    assert sample.full == "localhost/samples/hello"
    assert not sample.backing.writable
    assert with_samples.resolve("samples").backing is sample.backing
    assert with_samples.resolve("samples2/hello").full == "registry.test:5000/samples2/hello"
    assert registry().resolve("samples/hello").full == "registry.test:5000/samples/hello"


def test_a_read_only_registry_takes_nothing() -> None:
    server = RegistryServer(CONTENT, NOWHERE, own_host="registry.test", read_only=True)
    assert not server.resolve("app").backing.writable


@pytest.mark.parametrize(
    ("tag", "valid"),
    [
        ("latest", True),
        ("v1.0-rc.1_x", True),
        ("_x", True),
        ("A" * 128, True),
        ("A" * 129, False),
        (".x", False),
        ("-x", False),
        ("", False),
        ("a/b", False),
        ("a b", False),
        ("ä", False),
        ("a\n", False),
    ],
)
def test_a_tag_has_a_grammar(tag: str, valid: bool) -> None:
    repository = registry().resolve("app")
    if valid:
        assert repository.tagged(tag) == f"registry.test:5000/app:{tag}"
    else:
        with pytest.raises(Refusal) as caught:
            repository.tagged(tag)
        assert (caught.value.status, caught.value.errors[0]["code"]) == (400, "TAG_INVALID")
