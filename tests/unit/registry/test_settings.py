from __future__ import annotations

import re
from pathlib import Path

import pytest

from imgd_server.errors import Error, Reason
from imgd_server.registry import RegistrySettings, parse_registries, read_hosts_folder
from imgd_server.registry._settings import HostSettings
from imgd_server.registry._url import Url

# containerd's own example (its docs/hosts.md), with every key that it has.
HOSTS = """
server = "https://registry-1.docker.io"
ca = "ca.pem"

[host."https://mirror.example"]
  capabilities = ["pull", "resolve"]
  ca = ["/etc/certs/a.pem", "b.pem"]
  client = [["client.cert", "client.key"]]
  dial_timeout = "1s"
  [host."https://mirror.example".header]
    x-custom-1 = "one"
    x-custom-2 = ["two", "three"]

[host."http://10.0.0.1:5000/v2/proxy"]
  skip_verify = true
  override_path = true
  client = "both.pem"
"""


def test_a_folder_of_containerds(tmp_path: Path) -> None:
    for name in ("docker.io", "h.io_5000_", "n.io:5001", "_default", "empty"):
        (tmp_path / name).mkdir()
    (tmp_path / "docker.io/hosts.toml").write_text(HOSTS)
    for name in ("h.io_5000_", "n.io:5001"):
        (tmp_path / name / "hosts.toml").write_text("skip_verify = true")
    (tmp_path / "_default/hosts.toml").write_text('[host."https://m.io"]')
    found = read_hosts_folder(str(tmp_path))
    assert set(found) == {"docker.io", "h.io:5000", "n.io:5001", "_default"}
    folder = tmp_path / "docker.io"
    assert found["docker.io"] == RegistrySettings(
        HostSettings(
            "",
            Url("https", "registry-1.docker.io", 443, "/v2"),
            ca=(f"{folder}/ca.pem",),
        ),
        (
            HostSettings(
                'host."https://mirror.example"',
                Url("https", "mirror.example", 443, "/v2"),
                capabilities=frozenset({"pull", "resolve"}),
                ca=("/etc/certs/a.pem", f"{folder}/b.pem"),
                client=(f"{folder}/client.cert", f"{folder}/client.key"),
                headers={"x-custom-1": "one", "x-custom-2": "two, three"},
                connect_timeout=1.0,
            ),
            HostSettings(
                'host."http://10.0.0.1:5000/v2/proxy"',
                Url("http", "10.0.0.1", 5000, "/v2/proxy"),
                client=(f"{folder}/both.pem", f"{folder}/both.pem"),
                skip_verify=True,
            ),
        ),
    )
    assert found["h.io:5000"].server == HostSettings("", skip_verify=True)
    assert read_hosts_folder(str(tmp_path / "empty")) == {}


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a b", "", "a b/hosts.toml: 'a b' is no registry's HOST[:PORT]"),
        ("h.io", "x = ", "h.io/hosts.toml: "),
        ("h.io", "capabilities = 1", "h.io/hosts.toml: capabilities: wants a list"),
        ("h.io", '[host."m.io"]\nx = 1', 'h.io/hosts.toml: host."m.io".x: no such key'),
        ("h.io", '[host."ftp://m.io"]', 'host."ftp://m.io": not an http or https URL'),
        ("h.io", "#" * (1 << 20) + " ", "h.io/hosts.toml: more than"),
        ("h.io", "\xff", "h.io/hosts.toml: "),
    ],
)
def test_what_is_wrong_in_a_folder(name: str, content: str, says: str, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "hosts.toml").write_bytes(content.encode("latin-1"))
    with pytest.raises(Error) as caught:
        read_hosts_folder(str(tmp_path))
    assert caught.value.reason is Reason.FIELD_INVALID
    assert caught.value.message.startswith("hosts_dir: ")
    assert says in caught.value.message


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(Error) as caught:
        read_hosts_folder(str(tmp_path / "none"))
    assert caught.value.message == "hosts_dir: is no folder"


def test_tables_by_registry() -> None:
    found = parse_registries(
        '["index.docker.io"]\nuser = "u"\npassword_file = "/p"\nanswer_timeout = 2\n'
        '["h.io"]\nidentity_token_env = "T"\n'
    )
    assert found == {
        "docker.io": RegistrySettings(
            HostSettings('"index.docker.io"', user="u", password_file="/p", answer_timeout=2.0)
        ),
        "h.io": RegistrySettings(HostSettings('"h.io"', identity_token_env="T")),
    }
    assert parse_registries({}) == {}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x", "Expected '='"),
        ("h = 1", "'h' is no registry's HOST[:PORT]"),
        ('"h.io" = 1', '"h.io": wants a table'),
        ('"h.io:99999" = {}', "out of range"),
        ('"h.io/a" = {}', "'h.io/a' is no registry's HOST[:PORT]"),
        ('"docker.io" = {}\n"index.docker.io" = {}', "'index.docker.io' is there twice"),
        ('"h.io".host = []', '"h.io".host: wants a table'),
        ('"h.io".host."m.io" = 1', '"h.io".host."m.io": wants a table'),
        ('"h.io".mirror = "m.io"', '"h.io".mirror: no such key'),
        ('"h.io".server = 1', '"h.io".server: wants a text'),
        ('"h.io".server = "https://u:p@m.io"', '"h.io".server: '),
        ('"h.io".server = "https://m.io/?a"', '"h.io".server: wants a URL without a query'),
        ('"h.io".override_path = true', '"h.io".override_path: needs server'),
        ('"_default".ca = "/c"', '"_default".ca: needs server'),
        ('"h.io".ca = "c.pem"', "\"h.io\".ca: 'c.pem' is no absolute path"),
        ('"h.io".ca = ["/a", ""]', '"h.io".ca: wants a text'),
        ('"h.io".ca = "/a\\u0000"', '"h.io".ca: '),
        ('"h.io".client = []', '"h.io".client: wants one certificate'),
        ('"h.io".client = [["/a", "/b"], ["/c", "/d"]]', '"h.io".client: wants one'),
        ('"h.io".client = [["/a", "/b", "/c"]]', '"h.io".client: wants a certificate and its'),
        ('"h.io".skip_verify = "yes"', '"h.io".skip_verify: wants true or false'),
        ('"h.io".capabilities = ["fetch"]', '"h.io".capabilities: wants a list of pull, push'),
        ('"h.io".header = 1', '"h.io".header: wants a table'),
        ('"h.io".header = {x = []}', "\"h.io\".header: 'x': wants printable ASCII"),
        ('"h.io".header = {x = "a\\nb"}', "\"h.io\".header: 'x': wants printable ASCII"),
        ('"h.io".header = {"a b" = "c"}', "\"h.io\".header: 'a b': wants printable ASCII"),
        ('"h.io".header = {Host = "c"}', "\"h.io\".header: 'Host' is not to be set"),
        ('"h.io".dial_timeout = "1h"', '"h.io".dial_timeout: wants a time'),
        ('"h.io".dial_timeout = 0', '"h.io".dial_timeout: wants a time'),
        ('"h.io".dial_timeout = true', '"h.io".dial_timeout: wants a time'),
        ('"h.io".user = "u"', '"h.io": user needs password_file or password_env'),
        ('"h.io".password_env = "P"', '"h.io": password_env needs user'),
        (
            '"h.io" = {user = "u", password_env = "P", password_file = "/p"}',
            '"h.io": only one of password_file, password_env',
        ),
        (
            '"h.io" = {user = "u", password_env = "P", identity_token_env = "T"}',
            '"h.io": only one of password_env, identity_token_env',
        ),
        (
            "\n".join(f'"h.io".host."m{number}.io" = {{}}' for number in range(17)),
            '"h.io".host: at most 16',
        ),
    ],
)
def test_what_is_wrong_is_named(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        parse_registries(text)


@pytest.mark.parametrize(
    ("text", "seconds"), [('"1.5s"', 1.5), ('"200ms"', 0.2), ('"2m"', 120.0), ("3", 3.0)]
)
def test_times(text: str, seconds: float) -> None:
    found = parse_registries(f'"h.io".dial_timeout = {text}')
    assert found["h.io"].server.connect_timeout == seconds
