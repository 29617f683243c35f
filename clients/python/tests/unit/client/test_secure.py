"""What a client refuses to connect with."""

import pytest

from imgd_client import AsyncClient, Client, Tls


@pytest.mark.parametrize(
    ("address", "tls", "token", "said"),
    [
        ("192.0.2.1:7", None, "s3cret", "clear text"),
        ("registry.test:7", None, "s3cret", "clear text"),
        ("[2001:db8::1]:7", None, "s3cret", "clear text"),
        ("127.0.0.1:7", None, "two words", "printable"),
        ("127.0.0.1:7", None, "line\n", "printable"),
        ("127.0.0.1:7", Tls(certificate=b"x"), "", "go together"),
        ("127.0.0.1:7", Tls(key=b"x"), "", "go together"),
        ("nowhere", None, "", "neither"),
    ],
)
async def test_what_can_not_be_right_is_said_before_any_call(
    address: str, tls: Tls | None, token: str, said: str
) -> None:
    for kind in (Client, AsyncClient):
        with pytest.raises(ValueError, match=said) as caught:
            kind(address, tls=tls, token=token)
        assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("address", ["unix:/x", "127.0.0.1:7", "localhost:7", "[::1]:7"])
def test_a_token_is_sent_in_clear_text_on_this_machine(address: str) -> None:
    Client(address, token="s3cret").close()


def test_a_key_is_not_shown() -> None:
    assert "private" not in repr(Tls(certificate=b"x", key=b"private"))
