from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from imgd_server.errors import Error, Reason
from imgd_server.registry import Cancellation, Credentials

SECRETS = Credentials("alice", "pass-word", "identity-token", "registry-token")


def test_credentials_show_no_secret() -> None:
    for shown in (repr(SECRETS), str(SECRETS), f"{[SECRETS]}", f"{SECRETS!r}", SECRETS.scope):
        assert not any(one in shown for one in ("pass-word", "identity-token", "registry-token"))
    assert "alice" in repr(SECRETS)


def test_scopes_tell_credentials_apart() -> None:
    others = [
        Credentials(),
        replace(SECRETS, user="x"),
        replace(SECRETS, password="x"),
        replace(SECRETS, identity_token=""),
        replace(SECRETS, registry_token=""),
        Credentials("ab", "c"),
        Credentials("a", "bc"),
    ]
    assert len({one.scope for one in [SECRETS, *others]}) == len(others) + 1
    assert SECRETS.scope == replace(SECRETS).scope
    assert Credentials().scope == Credentials(anonymous=True).scope


def test_each_of_two_who_wait_in_the_same_place_is_woken() -> None:
    cancellation = Cancellation()
    called: list[str] = []

    def wake() -> None:
        called.append("woken")

    forget = cancellation.on_cancel(wake)
    cancellation.on_cancel(wake)
    forget()
    cancellation.cancel()
    assert called == ["woken"]


def test_cancelling() -> None:
    cancellation = Cancellation()
    called: list[str] = []
    forget = cancellation.on_cancel(lambda: called.append("forgotten"))
    cancellation.on_cancel(lambda: called.append("kept"))
    forget()
    forget()
    cancellation.check()
    threads = [threading.Thread(target=cancellation.cancel, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert called == ["kept"]
    assert cancellation.cancelled
    with pytest.raises(Error) as caught:
        cancellation.check()
    assert caught.value.reason is Reason.CANCELLED
    cancellation.on_cancel(lambda: called.append("late"))()
    assert called == ["kept", "late"]
