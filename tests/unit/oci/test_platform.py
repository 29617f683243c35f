from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgd_server.oci import (
    Descriptor,
    Digest,
    FormatError,
    Platform,
    is_attestation,
    media,
    select_platforms,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("linux/amd64", "linux/amd64"),
        ("linux/x86_64", "linux/amd64"),
        ("Linux/X86-64/v1", "linux/amd64"),
        ("linux/amd64/v3", "linux/amd64/v3"),
        ("linux/i386", "linux/386"),
        ("linux/aarch64", "linux/arm64"),
        ("linux/arm64/v8", "linux/arm64"),
        ("linux/arm64/8", "linux/arm64"),
        ("linux/arm64/v9.0", "linux/arm64/v9"),
        ("linux/arm", "linux/arm/v7"),
        ("linux/arm/6", "linux/arm/v6"),
        ("linux/armhf", "linux/arm/v7"),
        ("linux/armel", "linux/arm/v6"),
        ("macos/arm64", "darwin/arm64"),
        ("linux/s390x", "linux/s390x"),
        ("unknown/unknown", "unknown/unknown"),
        ("windows(10.0.17763+win32k)/amd64", "windows/amd64"),
    ],
)
def test_parse(text: str, expected: str) -> None:
    assert str(Platform.parse(text)) == expected


def test_parse_completes_from_the_host() -> None:
    host = Platform.host()
    assert host == host.normalized()
    assert Platform.parse("arm64") == Platform(host.os, "arm64")
    assert Platform.parse("armhf") == Platform(host.os, "arm", "v7")
    assert Platform.parse("x86-64") == Platform(host.os, "amd64")
    assert Platform.parse("linux") == Platform("linux", host.architecture, host.variant)


def test_parse_os_options() -> None:
    found = Platform.parse("windows(10.0+b+a%2Bc)/amd64")
    assert (found.os_version, found.os_features) == ("10.0", ("a+c", "b"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "linux/",
        "/amd64",
        "linux/amd64/v1/x",
        "*",
        "linux/*",
        "wat",
        "linux/amd64\n",
        "li ux/a",
        "linux(%ff)/amd64",
        "linux(/amd64",
        "a" * 300,
        "lînux/amd64",
        "linux.x/amd64",
    ],
)
def test_parse_refuses(text: str) -> None:
    with pytest.raises(FormatError) as caught:
        Platform.parse(text)
    assert caught.value.reason == "PLATFORM_INVALID"


@given(st.text())
def test_any_text(text: str) -> None:
    try:
        found = Platform.parse(text)
    except FormatError:
        return
    assert found == found.normalized()


def test_json() -> None:
    full = Platform("linux", "arm", "v7", "1", ("a", "b"))
    assert Platform.from_json(full.to_json()) == full
    assert set(full.to_json()) == {"os", "architecture", "variant", "os.version", "os.features"}
    assert Platform("linux", "amd64").to_json() == {"os": "linux", "architecture": "amd64"}
    assert str(Platform.from_json({"os": None})) == "unknown"
    bad: object
    for bad in ([], None, {"os": 1}, {"os.features": "a"}, {"os.features": [1]}):
        with pytest.raises(FormatError) as caught:
            Platform.from_json(bad)
        assert caught.value.reason == "PLATFORM_INVALID"


def entry(platform: Platform | None, **annotations: str) -> Descriptor:
    digest = Digest.of(repr((platform, annotations)).encode())
    return Descriptor(media.OCI_MANIFEST, digest, 1, annotations=annotations, platform=platform)


def of(text: str) -> Platform:
    os, architecture, variant = [*text.split("/"), ""][:3]
    return Platform(os, architecture, variant)


@pytest.mark.parametrize(
    ("wanted", "has", "expected"),
    [
        ("linux/amd64", "linux/386 linux/arm64 linux/amd64", "linux/amd64 linux/386"),
        ("linux/amd64", "linux/amd64/v2 linux/amd64/v1", "linux/amd64/v1"),
        (
            "linux/amd64/v3",
            "linux/386 linux/amd64 linux/amd64/v2 linux/amd64/v4 linux/amd64/v3",
            "linux/amd64/v3 linux/amd64/v2 linux/amd64 linux/386",
        ),
        ("linux/arm/v7", "linux/arm/v5 linux/arm/v6 linux/arm/v8", "linux/arm/v6 linux/arm/v5"),
        ("linux/arm", "linux/arm/v6 linux/arm", "linux/arm linux/arm/v6"),
        ("linux/arm/v5", "linux/arm/v6 linux/arm/v5", "linux/arm/v5"),
        (
            "linux/arm64",
            "linux/arm/v6 linux/arm/v7 linux/arm/v8 linux/arm64/v8 linux/arm64/v9",
            "linux/arm64/v8 linux/arm/v8 linux/arm/v7 linux/arm/v6",
        ),
        (
            "linux/arm64/v9",
            "linux/arm64 linux/arm64/v8.5 linux/arm64/v8.6 linux/arm64/v9",
            "linux/arm64/v9 linux/arm64/v8.5 linux/arm64",
        ),
        ("linux/arm64/odd", "linux/arm64 linux/arm64/odd", "linux/arm64/odd"),
        ("linux/386", "linux/amd64", ""),
        ("linux/riscv64", "linux/riscv64 linux/amd64", "linux/riscv64"),
        ("darwin/arm64", "linux/arm64", ""),
    ],
)
def test_select(wanted: str, has: str, expected: str) -> None:
    candidates = [entry(of(text)) for text in has.split()]
    found = select_platforms(candidates, of(wanted))
    assert [str(d.platform) for d in found] == expected.split()


def test_select_strict_takes_no_fall_back() -> None:
    candidates = [entry(of(text)) for text in ("linux/386", "linux/x86_64", "linux/amd64/v2")]
    assert select_platforms(candidates, of("linux/amd64"), strict=True) == [candidates[1]]


def test_select_leaves_out_what_is_no_platform() -> None:
    unknown = Platform("unknown", "unknown")
    note = entry(of("linux/amd64"), **{"vnd.docker.reference.type": "attestation-manifest"})
    image, bare = entry(of("linux/amd64")), entry(None)
    candidates = [entry(unknown), note, bare, image]
    assert select_platforms(candidates, of("linux/amd64")) == [image]
    assert select_platforms(candidates, unknown) == []
    assert [is_attestation(d) for d in candidates] == [True, True, False, False]


def test_select_by_features() -> None:
    plain = entry(Platform("linux", "amd64"))
    one = entry(Platform("linux", "amd64", os_features=("a",)))
    two = entry(Platform("linux", "amd64", os_features=("b", "a")))
    wanted = Platform("linux", "amd64", os_features=("a", "b"))
    assert select_platforms([plain, one, two], wanted) == [two, one, plain]
    assert select_platforms([plain, one, two], of("linux/amd64")) == [plain]


def test_select_keeps_the_order_of_equals() -> None:
    first = entry(of("linux/amd64"), a="1")
    second = entry(of("linux/amd64"), a="2")
    assert select_platforms([first, second], of("linux/amd64")) == [first, second]
