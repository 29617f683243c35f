"""What a server leaves when it can't start."""

from __future__ import annotations

from pathlib import Path

import pytest

from imgd_server.errors import Error, Reason
from imgd_server.images import Housekeeper
from imgd_server.rpc import GrpcServer, RegistryInside
from imgd_server.rpc._listen import claim
from imgd_server.transfer import now_us
from tests.contract.api.served import Api


def another(api: Api) -> GrpcServer:
    """A second server over the same stores."""
    housekeeper = Housekeeper(api.metadata, api.content, now_us)
    return GrpcServer(api.metadata, api.content, api.manager, housekeeper, RegistryInside(), [])


async def test_all_addresses_or_none(api: Api, tmp_path: Path) -> None:
    good, dangling = tmp_path / "good.sock", tmp_path / "dangling.sock"
    dangling.symlink_to(tmp_path / "nowhere")
    for bad, reason in (
        ("0.0.0.0:0", Reason.FIELD_INVALID),
        (api.address, Reason.TOO_BUSY),
        # Free when it is claimed, and not when gRPC binds it.
        (f"unix:{dangling}", Reason.TOO_BUSY),
    ):
        with pytest.raises(Error) as caught:
            await another(api).start([f"unix:{good}", bad])
        assert caught.value.reason is reason
        assert bad.removeprefix("unix:") in caught.value.message
        assert not good.exists()
        claim(f"unix:{good}").release()


async def test_a_server_that_never_started_stops(api: Api) -> None:
    server = another(api)
    await server.announce_stop()
    for _ in range(2):
        await server.stop(1)
