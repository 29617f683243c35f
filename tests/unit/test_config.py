from __future__ import annotations

import argparse
import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from imgd_server.config import Config, add_flags, load, water
from imgd_server.errors import Error, Reason
from imgd_server.registry import RegistrySettings
from imgd_server.registry._settings import HostSettings

# For every key a value that is not its default: as a flag or variable, in TOML, and as it is then.
VALUES: dict[str, tuple[str, str, Any]] = {
    "root": ("/r", '"/r"', "/r"),
    "listen": ("unix:/a.sock", '["unix:/a.sock"]', ["unix:/a.sock"]),
    "registry_listen": ("127.0.0.1:5000", '"127.0.0.1:5000"', "127.0.0.1:5000"),
    "registry_host": ("images.example", '"images.example"', "images.example"),
    "registry_read_only": ("true", "true", True),
    "registry_htpasswd": ("/h", '"/h"', "/h"),
    "registry_anonymous_read": ("true", "true", True),
    "registry_token_realm": (
        "https://a.example/token",
        '"https://a.example/token"',
        "https://a.example/token",
    ),
    "registry_token_service": ("imgd", '"imgd"', "imgd"),
    "registry_token_issuer": ("a.example", '"a.example"', "a.example"),
    "registry_token_keys": ("/k", '"/k"', "/k"),
    "registry_tls_certificate": ("/c", '"/c"', "/c"),
    "registry_tls_key": ("/p", '"/p"', "/p"),
    "registry_cache": ("docker.io", '["docker.io"]', ["docker.io"]),
    "registry_cache_default": ("docker.io", '"docker.io"', "docker.io"),
    "registry_cache_fresh": ("0", "0", 0.0),
    "samples": ("true", "true", True),
    "plain_http": ("10.0.0.1:5000", '["10.0.0.1:5000"]', ["10.0.0.1:5000"]),
    "allowed_hosts": ("auth", '["auth"]', ["auth"]),
    "allowed_registries": ("*.h.io:1", '["*.h.io:1"]', ["*.h.io:1"]),
    "denied_registries": ("h.io", '["h.io"]', ["h.io"]),
    "proof_lifetime": ("0", "0", 0.0),
    "share_private": ("true", "true", True),
    "search_host": ("10.0.0.1:5000", '"10.0.0.1:5000"', "10.0.0.1:5000"),
    "registries": (
        '"h.io" = {user = "u", password_env = "P"}',
        '{"h.io" = {user = "u", password_env = "P"}}',
        {"h.io": RegistrySettings(HostSettings('"h.io"', user="u", password_env="P"))},
    ),
    "hosts_dir": ("/d", '"/d"', "/d"),
    "docker_config": ("/c", '"/c"', "/c"),
    "max_host_requests": ("2", "2", 2),
    "connect_timeout": ("1.5", "1.5", 1.5),
    "read_timeout": ("7", "7", 7.0),
    "max_running_transfers": ("3", "3", 3),
    "max_pending_transfers": ("0", "0", 0),
    "max_concurrent_blobs": ("2", "2", 2),
    "max_bytes_per_second": ("1000000", "1000000", 1_000_000),
    "range_threshold": ("1000", "1000", 1000),
    "range_size": ("2000000", "2000000", 2_000_000),
    "max_blob_streams": ("3", "3", 3),
    "transfer_retention": ("60", "60", 60.0),
    "partial_lifetime": ("3600", "3600", 3600.0),
    "snapshotter": ("copy", '"copy"', "copy"),
    "unpack_workers": ("3", "3", 3),
    "max_layer_bytes": ("1000", "1000", 1000),
    "max_layer_entries": ("1000", "1000", 1000),
    "max_layer_ratio": ("20", "20", 20),
    "mount_roots": ("/run/pods", '["/run/pods"]', ["/run/pods"]),
    "layout_roots": ("/srv/layouts", '["/srv/layouts"]', ["/srv/layouts"]),
    "high_water": ("90%", '"90%"', "90%"),
    "low_water": ("20GB", '"20GB"', "20GB"),
    "event_retention": ("3600", "3600", 3600.0),
    "drain": ("0", "0", 0.0),
    "log_level": ("debug", '"debug"', "debug"),
    "log_format": ("text", '"text"', "text"),
}
KEYS = [key.name for key in dataclasses.fields(Config)]


def parsed(*words: str) -> dict[str, Any]:
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_flags(parser)
    return vars(parser.parse_args(words))


def refused(
    flags: Mapping[str, Any] | None = None, environment: Mapping[str, str] | None = None
) -> str:
    with pytest.raises(Error) as caught:
        load(flags or {}, environment or {})
    assert caught.value.reason is Reason.FIELD_INVALID
    return caught.value.message


def test_every_key_is_tried_here() -> None:
    assert list(VALUES) == KEYS
    defaults = load({}, {})
    assert all(getattr(defaults, name) != VALUES[name][2] for name in KEYS)


@pytest.mark.parametrize("name", KEYS)
def test_a_key_by_flag_environment_and_file(name: str, tmp_path: Path) -> None:
    text, toml, value = VALUES[name]
    flag = f"--{name.replace('_', '-')}"
    words = [flag] if value is True else [flag, text]
    file = tmp_path / "imgd.toml"
    file.write_text(f"{name} = {toml}\n")
    for found in (
        load(parsed(*words), {}),
        load({}, {f"IMGD_{name.upper()}": text}),
        load(parsed("--config", str(file)), {}),
        load({}, {"IMGD_CONFIG": str(file)}),
    ):
        assert getattr(found, name) == value
        assert type(getattr(found, name)) is type(value)
        # Nothing else changed.
        assert dataclasses.replace(found, **{name: getattr(load({}, {}), name)}) == load({}, {})


def test_a_flag_wins_over_the_environment_over_the_file_over_the_default(tmp_path: Path) -> None:
    file = tmp_path / "imgd.toml"
    file.write_text('root = "/file"\ndrain = 1\nsamples = true\nlisten = ["unix:/f"]\n')
    environment = {"IMGD_CONFIG": str(file), "IMGD_ROOT": "/environment", "IMGD_DRAIN": "2"}
    found = load(parsed("--root", "/flag", "--no-samples"), environment)
    assert (found.root, found.drain, found.samples, found.listen) == (
        "/flag",
        2.0,
        False,
        ["unix:/f"],
    )
    assert found.read_timeout == 30.0


def test_the_flag_names_the_file_before_the_environment_does(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text(f'root = "/{name}"\n')
    flags = parsed("--config", str(tmp_path / "a"))
    assert load(flags, {"IMGD_CONFIG": str(tmp_path / "b")}).root == "/a"


def test_an_empty_variable_counts_as_not_set() -> None:
    assert load({}, {"IMGD_ROOT": "", "IMGD_LISTEN": "", "IMGD_CONFIG": ""}) == load({}, {})


def test_lists() -> None:
    two = ["unix:/a.sock", "127.0.0.1:0"]
    assert load(parsed("--listen", two[0], "--listen", two[1]), {}).listen == two
    assert load({}, {"IMGD_LISTEN": "unix:/a.sock, 127.0.0.1:0"}).listen == two
    # A flag replaces, it does not add.
    assert load(parsed("--listen", two[0]), {"IMGD_LISTEN": two[1]}).listen == [two[0]]
    # Only where there is one text for several are there commas.
    assert "plain_http" in refused(parsed("--plain-http", "a.example,b.example:80"))


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("root", "", "wants a text"),
        ("listen", "50051", "no HOST:PORT"),
        ("listen", "127.0.0.1:65536", "no HOST:PORT"),
        ("listen", "127.0.0.1:" + "9" * 5000, "no HOST:PORT"),
        ("listen", "127.0.0.1:٣", "no HOST:PORT"),
        ("listen", "127.0.0.1:0000801234", "no HOST:PORT"),
        ("listen", ":50051", "no HOST:PORT"),
        ("listen", "unix:", "names no socket"),
        ("listen", "unix://", "names no socket"),
        ("listen", "unix:/a,,unix:/b", "wants a text"),
        ("registry_listen", "5000", "no HOST:PORT"),
        ("registry_listen", "127.0.0.1:000050", "no HOST:PORT"),
        ("registry_host", "localhost/x", "no registry's HOST[:PORT]"),
        ("registry_host", "images", "no registry's HOST[:PORT]"),
        ("registry_token_realm", "a.example/token", "no URL of http or https"),
        ("registry_token_realm", 'https://a.example/"', "without quotes"),
        ("registry_token_service", "a\nb", "printable ASCII"),
        ("plain_http", "http://a.example", "no registry's HOST[:PORT]"),
        ("allowed_hosts", "a b", "no HOST[:PORT]"),
        ("allowed_registries", "a*.io", "no HOST[:PORT] or *.DOMAIN[:PORT]"),
        ("denied_registries", "https://h.io", "no HOST[:PORT] or *.DOMAIN[:PORT]"),
        ("samples", "maybe", "true or false"),
        ("share_private", "sometimes", "true or false"),
        ("proof_lifetime", "-1", "from 0 to"),
        ("connect_timeout", "0", "from 0.1 to 300"),
        ("connect_timeout", "soon", "a number from 0.1 to 300"),
        ("connect_timeout", "nan", "from 0.1 to 300"),
        ("read_timeout", "inf", "from 0.1 to 3600"),
        ("max_running_transfers", "1.5", "a whole number"),
        ("max_running_transfers", "0", "from 1 to 10000"),
        ("max_concurrent_blobs", "65", "from 1 to 64"),
        ("max_bytes_per_second", "-1", "from 0 to"),
        ("max_bytes_per_second", "1023", "1024 bytes a second or more"),
        ("max_bytes_per_second", "10MB", "a number from 0 to"),
        ("transfer_retention", "-1", "from 1 to"),
        ("partial_lifetime", "-1", "from 0 to"),
        ("max_pending_transfers", "-1", "from 0 to 100000"),
        ("high_water", "0%", "a share of the file system"),
        ("high_water", "100%", "a share of the file system"),
        ("high_water", "9" * 400, "or a size"),
        ("high_water", "9" * 308 + "TB", "or a size"),
        # Less than a byte is no mark.
        ("high_water", "0.5", "or a size"),
        ("low_water", "50 apples", "or a size"),
        ("low_water", "-5GB", "or a size"),
        ("event_retention", "59", "from 60 to"),
        ("drain", "601", "from 0 to 600"),
        ("log_level", "loud", "debug, info, warning, error"),
        ("log_format", "xml", "json, text"),
    ],
)
def test_a_bad_value_is_refused_with_its_key_and_place(name: str, text: str, says: str) -> None:
    several = name in ("listen", "plain_http", "allowed_hosts", "registry_cache") or (
        name.endswith("_registries")
    )
    by_flag = refused({name: text.split(",") if several else text})
    assert by_flag.startswith(f"{name} (from the flag --{name.replace('_', '-')}): ")
    assert says in by_flag
    if text:
        by_variable = refused({}, {f"IMGD_{name.upper()}": text})
        assert by_variable.startswith(f"{name} (from the environment's IMGD_{name.upper()}): ")
        assert says in by_variable


@pytest.mark.parametrize(
    ("toml", "says"),
    [
        ("root = 7", "root"),
        ('root = "/a\\u0000b"', "root"),
        ('registry_tls_key = "/a\\u0000b"', "registry_tls_key"),
        ('listen = ["unix:/a\\u0000b"]', "listen"),
        ('mount_roots = ["/a\\u0000b"]', "mount_roots"),
        ("listen = []", "listen"),
        ("listen = [7]", "listen"),
        ('listen = [["unix:/a"]]', "listen"),
        ('samples = "maybe"', "samples"),
        ("samples = 1", "samples"),
        ("drain = true", "drain"),
        ("drain = [1]", "drain"),
        (f"drain = 1{'0' * 400}", "drain"),
        ("max_concurrent_blobs = 1.5", "max_concurrent_blobs"),
        ("log_level = 1", "log_level"),
        ("rooot = 7", "rooot"),
        ("max-concurrent-blobs = 7", "max-concurrent-blobs"),
        ("[server]\nroot = '/r'", "server"),
    ],
)
def test_a_bad_file_is_refused_with_its_key_and_name(toml: str, says: str, tmp_path: Path) -> None:
    file = tmp_path / "imgd.toml"
    file.write_text(toml)
    message = refused({"config": str(file)})
    assert message.startswith(f"{says} (from the file {file}): ")


def test_a_file_that_can_not_be_read_is_named(tmp_path: Path) -> None:
    for file, content in (
        (tmp_path / "none.toml", None),
        (tmp_path / "broken.toml", b"root = "),
        (tmp_path / "latin.toml", b'root = "\xe4"'),
        (tmp_path, None),
    ):
        if content is not None:
            file.write_bytes(content)
        assert str(file) in refused({"config": str(file)})


def test_what_is_wrong_is_found_however_it_is_overridden(tmp_path: Path) -> None:
    # A key that is not known is a mistake, whatever else is given.
    file = tmp_path / "imgd.toml"
    file.write_text("nope = 1")
    assert "nope" in refused({"config": str(file), "root": "/r"})


@pytest.mark.parametrize(
    ("text", "mark"),
    [
        ("", (0.0, 0)),
        ("85%", (0.85, 0)),
        ("0.5%", (0.005, 0)),
        ("1000", (0.0, 1000)),
        ("50GB", (0.0, 50 * 10**9)),
        ("1.5 tb", (0.0, 1_500_000_000_000)),
    ],
)
def test_a_mark_is_a_share_or_a_size(text: str, mark: tuple[float, int]) -> None:
    assert water(text) == pytest.approx(mark)


def test_defaults_of_root_and_of_a_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert (Config().root, Config().listen) == ("/var/lib/imgd", ["unix:/run/imgd/imgd.sock"])
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_DATA_HOME", "/home/u/data")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1000")
    assert (Config().root, Config().listen) == (
        "/home/u/data/imgd",
        ["unix:/run/user/1000/imgd.sock"],
    )
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.setenv("HOME", "/home/u")
    assert (Config().root, Config().listen) == (
        "/home/u/.local/share/imgd",
        ["unix:/tmp/imgd-1000/imgd.sock"],
    )


def test_help_shows_every_key_with_its_variable_and_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A % in a default must not be taken for a format.
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_DATA_HOME", "/home/50%s")
    parser = argparse.ArgumentParser()
    add_flags(parser)
    text = " ".join(parser.format_help().split())
    for name in KEYS:
        assert f"--{name.replace('_', '-')}" in text
        assert f"IMGD_{name.upper()}" in text
    assert "default /home/50%s/imgd" in text
    assert "IMGD_DRAIN; default 5)" in text


def test_a_command_can_have_some_of_the_flags() -> None:
    parser = argparse.ArgumentParser()
    add_flags(parser, "root", "log_level")
    assert set(vars(parser.parse_args([]))) == {"config", "root", "log_level"}
