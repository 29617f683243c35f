from __future__ import annotations

import fnmatch
import re
import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgd_server.images._patterns import PatternError, ReferencePattern, familiar_name

REDIS = ("docker.io/library/redis:7", "docker.io/library/redis")
NESTED = ("docker.io/library/a/b:1", "docker.io/library/a/b")
APP = ("docker.io/acme/app:1.2", "docker.io/acme/app")
GHCR = ("ghcr.io/org/team/tool:v1", "ghcr.io/org/team/tool")
LOCAL = ("localhost:5000/app:latest", "localhost:5000/app")
BY_DIGEST = (f"docker.io/library/redis@sha256:{'a' * 64}", "docker.io/library/redis")


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [
        ("redis", REDIS, True),
        ("redis:7", REDIS, True),
        ("redis:8", REDIS, False),
        ("redis:*", REDIS, True),
        ("red*", REDIS, True),
        ("*", REDIS, True),
        ("*:7", REDIS, True),
        ("*dis", REDIS, True),
        ("r?dis", REDIS, True),
        ("r??is:?", REDIS, True),
        ("[q-s]edis", REDIS, True),
        ("[^r]edis", REDIS, False),
        ("red\\is", REDIS, True),
        ("redi", REDIS, False),
        ("edis", REDIS, False),
        ("library/redis", REDIS, False),
        ("docker.io/library/redis", REDIS, True),
        ("docker.io/library/redis:7", REDIS, True),
        ("docker.io/*/redis", REDIS, True),
        ("docker.io/*", REDIS, False),
        ("docker.io", REDIS, True),
        ("docker.io/", REDIS, True),
        ("redis", BY_DIGEST, True),
        ("redis:*", BY_DIGEST, False),
        (f"redis@sha256:{'a' * 64}", BY_DIGEST, False),
        ("*", APP, False),
        ("*/*", APP, True),
        ("acme/*", APP, True),
        ("*/app:1.?", APP, True),
        ("a*/a*:1*", APP, True),
        ("**", APP, True),
        ("**app", APP, True),
        ("**:1.2", APP, True),
        ("ghcr.io/*", GHCR, False),
        ("ghcr.io/**", GHCR, True),
        ("ghcr.io", GHCR, True),
        ("ghcr.io/*/*/tool", GHCR, True),
        ("**/team/**", GHCR, True),
        ("hcr.io", GHCR, False),
        ("localhost:5000", LOCAL, True),
        ("localhost", LOCAL, False),
        ("localhost:5000/*", LOCAL, True),
        ("library/a/b", NESTED, True),
        ("a/b", NESTED, False),
        ("", REDIS, False),
    ],
)
def test_a_pattern_is_tried_against_all_four_forms(
    pattern: str, name: tuple[str, str], fits: bool
) -> None:
    compiled = ReferencePattern(pattern)
    assert compiled.matches(*name) is fits
    if fits:
        assert any(glob_fits(name[0], glob) for glob in compiled.globs)


@pytest.mark.parametrize("pattern", ["[", "[]", "[^]", "[a", "[a-", "[z-a]", "[-a]", "a\\", "[a-]"])
def test_a_malformed_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(PatternError):
        ReferencePattern(pattern)


def test_a_pattern_made_to_be_slow_is_not() -> None:
    name = "docker.io/" + "a" * 240
    assert not ReferencePattern("*a" * 64 + "b").matches(f"{name}:x", name)
    assert not ReferencePattern("**a" * 64 + "b").matches(f"{name}:x", name)
    with pytest.raises(PatternError, match="stars"):
        ReferencePattern("*a" * 65)


@pytest.mark.parametrize(
    ("repository", "familiar"),
    [
        ("docker.io/library/redis", "redis"),
        ("docker.io/library/a/b", "library/a/b"),
        ("docker.io/acme/app", "acme/app"),
        ("ghcr.io/library/x", "ghcr.io/library/x"),
    ],
)
def test_familiar_names(repository: str, familiar: str) -> None:
    assert familiar_name(repository) == familiar


_DATABASE = sqlite3.connect(":memory:")


def glob_fits(name: str, glob: str) -> bool:
    """Whether SQLite finds so."""
    return bool(_DATABASE.execute("SELECT ? GLOB ?", (name, glob)).fetchone()[0])


@given(
    pattern=st.text("ab/*?:.", max_size=12),
    path=st.from_regex(re.compile(r"[ab]{1,3}(/[ab]{1,3}){0,2}"), fullmatch=True),
    tag=st.text("ab", min_size=1, max_size=3),
    domain=st.sampled_from(["docker.io", "docker.io/library", "a.b:5"]),
)
def test_what_sqlite_preselects_holds_all_that_fits(
    pattern: str, path: str, tag: str, domain: str
) -> None:
    repository = f"{domain}/{path}"
    name = f"{repository}:{tag}"
    compiled = ReferencePattern(pattern)
    if compiled.matches(name, repository):
        assert any(glob_fits(name, glob) for glob in compiled.globs)


@given(
    pattern=st.text("ab*?", min_size=1, max_size=10),
    text=st.text("ab", min_size=1, max_size=10),
)
def test_within_a_component_it_is_what_fnmatch_says(pattern: str, text: str) -> None:
    repository = f"x.y/{text}"
    expected = fnmatch.fnmatchcase(text, pattern.replace("**", "*"))
    assert ReferencePattern(f"x.y/{pattern}").matches(f"{repository}:t", repository) is (
        expected or fnmatch.fnmatchcase(f"{text}:t", pattern.replace("**", "*"))
    )
