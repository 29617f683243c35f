"""imgctl's words for answers that a real daemon gives seldom, or not on demand."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2

from imgd.v1 import errors_pb2, image_service_pb2, transfer_pb2
from tests.scripted import (
    NAME,
    Abort,
    ScriptedDaemon,
    details,
    finished,
    lost,
    node,
    shutting_down,
    snapshot,
    unknown_arm,
)

Run = Callable[..., Awaitable[Any]]
_PRUNED = image_service_pb2.PruneImagesResponse.Pruned
_ASKED = "Are you sure you want to continue? [y/N] "


def _refused(code: grpc.StatusCode, reason: str, text: str) -> Abort:
    info = error_details_pb2.ErrorInfo(domain="imgd.dev", reason=reason)
    return Abort(code, text, details(info))


class TestInspecting:
    @pytest.mark.parametrize(
        "words",
        [
            ["inspect", "-f", "{{.Id}}"],
            ["inspect", "--platform", "linux/arm64", "-f", "{{.ID}}"],
            ["history", "--no-trunc", "-q"],
        ],
    )
    async def test_the_id_is_the_one_that_is_listed(
        self, daemon: ScriptedDaemon, imgctl: Run, words: list[str]
    ) -> None:
        """An artifact's config is that of many others, and finds nothing."""
        answer = image_service_pb2.InspectImageResponse()
        answer.image.image_id = "sha256:aa"
        answer.config_blob.digest = "sha256:bb"
        daemon.answers["InspectImage"] = [answer]
        history = image_service_pb2.GetImageHistoryResponse()
        history.entries.add(created_by="COPY . /")
        daemon.answers["GetImageHistory"] = [history]

        done = await imgctl(*words, "artifact")

        assert (done.status, done.printed, done.told) == (0, "sha256:aa\n", "")


class TestErrors:
    @pytest.mark.parametrize(
        ("field", "shown"),
        [("source.registry.reference", "reference: too long"), ("ttl", "ttl: too long")],
    )
    async def test_a_field_is_named_without_its_place_in_the_request(
        self, daemon: ScriptedDaemon, imgctl: Run, field: str, shown: str
    ) -> None:
        bad = error_details_pb2.BadRequest()
        bad.field_violations.add(field=field, description="too long")
        info = error_details_pb2.ErrorInfo(domain="imgd.dev", reason="FIELD_INVALID")
        refused = Abort(grpc.StatusCode.INVALID_ARGUMENT, f"{field}: too long", details(info, bad))
        daemon.answers["StartTransfer"] = [refused]
        daemon.answers["InspectImage"] = [refused]

        for words in (["pull", "redis"], ["inspect", "redis"]):
            done = await imgctl(*words)
            assert done.status == 1
            assert done.told.endswith(f"imgctl: {shown} (FIELD_INVALID)\n")


class TestFilters:
    @pytest.mark.parametrize("words", [["images"], ["prune"], ["ps"], ["events"], ["image", "ls"]])
    async def test_help_says_what_they_take(self, imgctl: Run, words: list[str]) -> None:
        done = await imgctl(*words, "--help")

        assert done.status == 0
        text = " ".join(done.printed.split())
        own = {"ps": "status=STATE", "events": "type=image"}
        assert own.get(words[0], "size='>100MB'") in text
        assert "label=KEY[=VALUE]" in text


class TestRemoving:
    async def test_tells_what_docker_tells(self, daemon: ScriptedDaemon, imgctl: Run) -> None:
        daemon.answers["RemoveImage"] = [
            image_service_pb2.RemoveImageResponse(
                untagged=["docker.io/library/redis:7", "localhost:5000/a:1"],
                deleted=["sha256:aa", "sha256:bb"],
            )
        ]

        done = await imgctl("rmi", "-f", "redis:7")

        assert done.printed == (
            "Untagged: redis:7\n"
            "Untagged: localhost:5000/a:1\n"
            "Deleted: sha256:aa\n"
            "Deleted: sha256:bb\n"
        )
        assert (done.status, done.told) == (0, "")
        assert daemon.requests("RemoveImage")[0].force

    async def test_each_argument_stands_alone(self, daemon: ScriptedDaemon, imgctl: Run) -> None:
        daemon.answers["RemoveImage"] = [
            _refused(grpc.StatusCode.NOT_FOUND, "IMAGE_NOT_FOUND", "no such image: a"),
            image_service_pb2.RemoveImageResponse(untagged=["docker.io/library/b:1"]),
            _refused(grpc.StatusCode.FAILED_PRECONDITION, "IMAGE_IN_USE", "c is in use by web"),
        ]

        done = await imgctl("image", "rm", "a", "b", "c")

        assert (done.status, done.printed) == (1, "Untagged: b:1\n")
        assert done.told == (
            "imgctl: no such image: a (IMAGE_NOT_FOUND)\n"
            "imgctl: c is in use by web (IMAGE_IN_USE)\n"
        )

    async def test_by_force_what_is_not_there_is_no_failure(
        self, daemon: ScriptedDaemon, imgctl: Run
    ) -> None:
        daemon.answers["RemoveImage"] = [
            _refused(grpc.StatusCode.NOT_FOUND, "IMAGE_NOT_FOUND", "no such image: a")
        ]

        done = await imgctl("rmi", "--force", "a")

        # As docker's.
        assert (done.status, done.told) == (0, "imgctl: no such image: a (IMAGE_NOT_FOUND)\n")

    async def test_a_daemon_that_cannot_is_told_of_once(
        self, daemon: ScriptedDaemon, imgctl: Run
    ) -> None:
        daemon.answers["RemoveImage"] = [Abort(grpc.StatusCode.UNIMPLEMENTED, "not here")]

        done = await imgctl("rmi", "a", "b")

        assert (done.status, done.told) == (1, "imgctl: not here (UNIMPLEMENTED)\n")
        assert len(daemon.requests("RemoveImage")) == 1


class TestNaming:
    async def test_says_nothing_when_it_worked(self, daemon: ScriptedDaemon, imgctl: Run) -> None:
        tagged = await imgctl("tag", "redis", "mine:1")
        untagged = await imgctl("untag", "mine:1")

        assert (tagged.status, tagged.printed, tagged.told) == (0, "", "")
        assert (untagged.status, untagged.printed, untagged.told) == (0, "", "")
        (request,) = daemon.requests("TagImage")
        assert (request.image, request.tag) == ("redis", "mine:1")
        assert daemon.requests("UntagImage")[0].reference == "mine:1"


class TestPruning:
    _ANSWER = image_service_pb2.PruneImagesResponse(
        pruned=[_PRUNED(untagged=["docker.io/library/a:1"], deleted=["sha256:aa", "sha256:bb"])],
        pruned_count=3,
        freed_bytes=16_430_000,
    )

    async def test_tells_what_docker_tells(self, daemon: ScriptedDaemon, imgctl: Run) -> None:
        daemon.answers["PruneImages"] = [self._ANSWER]

        done = await imgctl("prune", "-af", "--filter", "until=1h", "--filter", "label=x")

        assert done.printed == (
            "Deleted Images:\nuntagged: a:1\ndeleted: sha256:aa\ndeleted: sha256:bb\nand 2 more\n"
            "\nTotal reclaimed space: 16.43MB\n"
        )
        (request,) = daemon.requests("PruneImages")
        assert (request.all, request.dry_run) == (True, False)
        assert [*request.filters] == ["until=1h", "label=x"]

    async def test_nothing_to_delete(self, daemon: ScriptedDaemon, imgctl: Run) -> None:
        done = await imgctl("prune", "--force")

        assert done.printed == "Total reclaimed space: 0B\n"

    async def test_a_dry_run_does_not_ask(self, daemon: ScriptedDaemon, imgctl: Run) -> None:
        daemon.answers["PruneImages"] = [self._ANSWER]

        done = await imgctl("prune", "--dry-run")

        assert done.printed.startswith("Images to delete:\nuntagged: a:1\n")
        assert done.printed.endswith("\nTotal reclaimable space: 16.43MB\n")
        assert daemon.requests("PruneImages")[0].dry_run

    @pytest.mark.parametrize("keys", ["n\n", "", "\n", "yesterday\n"])
    async def test_asks_first(self, daemon: ScriptedDaemon, imgctl: Run, keys: str) -> None:
        done = await imgctl("prune", "-a", keys=keys)

        warning = "all images without at least one container associated to them"
        assert done.printed == f"WARNING! This will remove {warning}.\n{_ASKED}"
        assert (done.status, done.told) == (0, "")
        assert not daemon.calls

    async def test_goes_on_after_yes(self, daemon: ScriptedDaemon, imgctl: Run) -> None:
        done = await imgctl("prune", keys="Y\n")

        assert done.printed == (
            f"WARNING! This will remove all dangling images.\n{_ASKED}Total reclaimed space: 0B\n"
        )


class TestFollowing:
    async def test_warnings_go_to_stderr(self, daemon: ScriptedDaemon, imgctl: Run) -> None:
        end = finished(2)
        outcome = end.finished.transfer.outcome
        outcome.pull_result = transfer_pb2.PULL_RESULT_UPDATED
        outcome.warnings.append("the registry's clock is wrong")
        outcome.references.append("docker.io/library/redis:7")
        outcome.target.digest = "sha256:abc"
        daemon.watches = [[snapshot(1), end]]

        done = await imgctl("pull", "redis:7")
        quiet = await imgctl("pull", "-q", "redis:7")

        assert done.printed == (
            "7: Pulling from library/redis\n"
            "Digest: sha256:abc\n"
            "Status: Downloaded newer image for redis:7\n"
            "docker.io/library/redis:7\n"
        )
        assert done.told == "imgctl: warning: the registry's clock is wrong\n"
        assert quiet.printed == "docker.io/library/redis:7\n"

    @pytest.mark.parametrize(
        "words", [["pull", "redis"], ["watch", NAME], ["resume", NAME]], ids=lambda words: words[0]
    )
    async def test_a_failed_transfer_is_one_line(
        self, daemon: ScriptedDaemon, imgctl: Run, words: list[str]
    ) -> None:
        end = finished(
            2,
            transfer_pb2.TRANSFER_STATE_FAILED,
            code=14,
            reason=errors_pb2.ERROR_REASON_REGISTRY_UNREACHABLE,
            message="no connection to\nregistry.example",
        )
        daemon.watches = [[snapshot(1, node()), end]]

        done = await imgctl(*words)

        # UNAVAILABLE is the registry here, not the daemon.
        assert done.told == "imgctl: no connection to registry.example (REGISTRY_UNREACHABLE)\n"
        assert done.status == 1
        assert not daemon.requests("CancelTransfer")

    async def test_passes_over_what_it_does_not_know(
        self, daemon: ScriptedDaemon, imgctl: Run
    ) -> None:
        daemon.watches = [[snapshot(1), unknown_arm(2), finished(3)]]

        done = await imgctl("watch", "--json", NAME)

        assert done.printed.count("\n") == 2
        assert (done.status, done.told) == (0, "")

    @pytest.mark.parametrize("gone", [lost(), shutting_down()], ids=["lost", "shutting down"])
    async def test_a_daemon_that_stays_away_is_told_of_in_the_end(
        self, daemon: ScriptedDaemon, imgctl: Run, gone: Abort
    ) -> None:
        daemon.watches = [[snapshot(1, node()), gone], [gone]]

        done = await imgctl("pull", "redis")

        assert done.status == 1
        assert done.told.count("\n") == 1
        words = "lost the daemon at" if not gone.details else "shutting down (SHUTTING_DOWN)"
        assert words in done.told
        # It is still this caller's; a daemon that can hear it stops it.
        assert len(daemon.requests("CancelTransfer")) == 1

    async def test_options_become_the_request(self, daemon: ScriptedDaemon, imgctl: Run) -> None:
        words = ["--platform", "linux/arm64", "--platform", "linux/386", "--policy", "missing"]

        done = await imgctl("pull", "--detach", "--unpack", *words, "redis")
        await imgctl("pull", "--detach", "--all-platforms", "redis")

        assert done.printed == f"{NAME}\n"
        first, second = daemon.requests("StartTransfer")
        assert [*first.platforms.platforms] == ["linux/arm64", "linux/386"]
        assert first.destination.store.policy == transfer_pb2.PULL_POLICY_IF_NOT_PRESENT
        assert first.destination.store.unpack
        assert second.platforms.all
        assert second.destination.store.policy == transfer_pb2.PULL_POLICY_ALWAYS
        assert not daemon.requests("WatchTransfer")
