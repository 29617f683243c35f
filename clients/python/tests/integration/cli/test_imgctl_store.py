"""imgctl's words about containers, leases, events and space."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import error_details_pb2

from imgd.v1 import container_pb2 as containers
from imgd.v1 import (
    container_service_pb2,
    event_pb2,
    event_service_pb2,
    filesystem_service_pb2,
    image_pb2,
    image_service_pb2,
    lease_pb2,
    lease_service_pb2,
    system_pb2,
    system_service_pb2,
)
from tests.scripted import Abort, ScriptedDaemon, details, finished, lost, snapshot

Run = Callable[..., Awaitable[Any]]
_ID = "sha256:" + "0123456789abcdef" * 4


def _refused(code: grpc.StatusCode, reason: str, text: str) -> Abort:
    info = error_details_pb2.ErrorInfo(domain="imgd.dev", reason=reason)
    return Abort(code, text, details(info))


def _ago(hours: int) -> Timestamp:
    # A minute past the edge: what is shown does not depend on how long a test takes.
    return Timestamp(seconds=int(time.time()) - hours * 3600 - 60)


def _container(name: str, **facts: Any) -> containers.Container:
    known = {"image_reference": "redis:7", "image_id": _ID, "create_time": _ago(9)}
    return containers.Container(name=f"containers/{name}", **{**known, **facts})


def _missing(name: str) -> Abort:
    text = f"no such container: {name}"
    return _refused(grpc.StatusCode.NOT_FOUND, "CONTAINER_NOT_FOUND", text)


_ALL = [
    _container("new", state=containers.CONTAINER_STATE_CREATED, labels={"b": "2", "a": "1"}),
    _container("up", state=containers.CONTAINER_STATE_RUNNING, start_time=_ago(3)),
    _container("held", state=containers.CONTAINER_STATE_PAUSED, start_time=_ago(3)),
    _container("done", state=containers.CONTAINER_STATE_EXITED, stop_time=_ago(2), exit_status=137),
    _container("gone", state=containers.CONTAINER_STATE_EXITED, stop_time=_ago(2)),
    _container("odd"),
]


@pytest.fixture
def listed(daemon: ScriptedDaemon) -> ScriptedDaemon:
    """A daemon with containers in every state."""
    answer = container_service_pb2.ListContainersResponse(containers=_ALL)
    daemon.answers["ListContainers"] = [answer]
    return daemon


class TestContainers:
    async def test_lists_what_runs_in_dockers_words(
        self, listed: ScriptedDaemon, imgctl: Run
    ) -> None:
        done = await imgctl("ps")

        # The daemon sends what it was asked for; here, everything.
        assert done.printed == (
            "CONTAINER ID   IMAGE     CREATED       STATUS\n"
            "new            redis:7   9 hours ago   Created\n"
            "up             redis:7   9 hours ago   Up 3 hours\n"
            "held           redis:7   9 hours ago   Up 3 hours (Paused)\n"
            "done           redis:7   9 hours ago   Exited (137) 2 hours ago\n"
            "gone           redis:7   9 hours ago   Exited 2 hours ago\n"
            "odd            redis:7   9 hours ago   Unknown\n"
        )
        (request,) = listed.requests("ListContainers")
        assert [*request.states] == [
            containers.CONTAINER_STATE_RUNNING,
            containers.CONTAINER_STATE_PAUSED,
        ]

    async def test_options_become_the_request(self, listed: ScriptedDaemon, imgctl: Run) -> None:
        everything = await imgctl("container", "ls", "-aq")
        words = ["--filter", "status=exited", "-f", "label=a=1", "-f", "label=b", "-f"]
        await imgctl("container", "list", *words, "ancestor=redis", "-f", "ancestor=redis")
        latest = await imgctl("ps", "-l", "-q")
        last = await imgctl("ps", "-qn", "2")

        assert everything.printed == "new\nup\nheld\ndone\ngone\nodd\n"
        assert (latest.printed, last.printed) == ("new\n", "new\nup\n")
        plain, filtered, one, two = listed.requests("ListContainers")
        assert not plain.states
        assert [*filtered.states] == [containers.CONTAINER_STATE_EXITED]
        assert ([*filtered.labels], filtered.image) == (["a=1", "b"], "redis")
        assert (one.page_size, two.page_size) == (1, 2)
        assert not [*one.states, *two.states]

    @pytest.mark.parametrize(
        "word", ["name=x", "status=dead", "status", "ancestor=a,ancestor=b", "nonsense"]
    )
    async def test_a_filter_that_is_none(
        self, daemon: ScriptedDaemon, imgctl: Run, word: str
    ) -> None:
        done = await imgctl("ps", *[f"--filter={one}" for one in word.split(",")])

        assert (done.status, done.printed) == (125, "")
        assert "filter" in done.told
        assert done.told.endswith(" See 'imgctl ps --help'.\n")
        assert not daemon.calls

    @pytest.mark.parametrize(
        ("asked", "short"),
        [
            ("docker.io/library/redis:7", "redis:7"),
            (f"redis:7@{_ID}", "redis:7"),
            (f"localhost:5000/a@{_ID}", "localhost:5000/a"),
            ("0123", "0123456789ab"),
            (_ID, "0123456789ab"),
        ],
    )
    async def test_names_the_image_as_docker_does(
        self, daemon: ScriptedDaemon, imgctl: Run, asked: str, short: str
    ) -> None:
        daemon.answers["ListContainers"] = [
            container_service_pb2.ListContainersResponse(
                containers=[_container("a", image_reference=asked)]
            )
        ]

        done = await imgctl("ps", "--format", "{{.Image}}")
        whole = await imgctl("ps", "--no-trunc", "--format", "{{.Image}}")

        assert (done.printed, whole.printed) == (f"{short}\n", f"{asked}\n")

    async def test_templates(self, listed: ScriptedDaemon, imgctl: Run) -> None:
        table = await imgctl("ps", "--format", "table {{.Names}}\t{{.State}}\t{{.Labels}}")
        found = await imgctl("ps", "--format", "json")

        assert table.printed.splitlines()[:3] == [
            "NAMES     STATE     LABELS",
            "new       created   a=1,b=2",
            "up        running   ",
        ]
        first = json.loads(found.printed.splitlines()[0])
        assert (first["ID"], first["Status"], first["RunningFor"]) == (
            "new",
            "Created",
            "9 hours ago",
        )
        assert first["Command"] == '""'

    async def test_creates(self, daemon: ScriptedDaemon, imgctl: Run) -> None:
        answer = container_service_pb2.CreateContainerResponse(container=_container("made"))
        daemon.answers["CreateContainer"] = [answer]
        words = ["--name", "web", "-l", "a=b=c", "--label", "d", "--platform", "linux/386"]

        done = await imgctl("container", "create", *words, "--heartbeat", "1m30s", "redis")
        await imgctl("container", "create", "redis")

        assert (done.status, done.printed, done.told) == (0, "made\n", "")
        first, second = daemon.requests("CreateContainer")
        assert (first.image, first.container_id, first.platform) == ("redis", "web", "linux/386")
        assert first.labels == {"a": "b=c", "d": ""}
        assert first.heartbeat_interval == Duration(seconds=90)
        assert not second.HasField("heartbeat_interval")
        assert first.request_id != second.request_id != ""

    @pytest.mark.parametrize(
        "words", [["-l", "=x"], ["--heartbeat", "0s"], ["--heartbeat", "soon"]]
    )
    async def test_refuses_what_makes_no_sense(
        self, daemon: ScriptedDaemon, imgctl: Run, words: list[str]
    ) -> None:
        done = await imgctl("container", "create", *words, "redis")

        assert done.status == 125
        assert not daemon.calls

    @pytest.mark.parametrize(
        ("words", "method", "facts"),
        [
            (["start"], "StartContainer", {}),
            (["pause"], "PauseContainer", {"resume": False}),
            (["unpause"], "PauseContainer", {"resume": True}),
            (["stop", "--exit-status", "-1"], "StopContainer", {"exit_status": -1}),
            (["stop"], "StopContainer", {}),
            (["heartbeat"], "HeartbeatContainer", {}),
            (["rm"], "RemoveContainer", {"force": False}),
            (["rm", "-f"], "RemoveContainer", {"force": True}),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, list) else "",
    )
    async def test_each_argument_stands_alone(
        self,
        daemon: ScriptedDaemon,
        imgctl: Run,
        words: list[str],
        method: str,
        facts: dict[str, Any],
    ) -> None:
        good = getattr(container_service_pb2, f"{method}Response")()
        no_state = _refused(grpc.StatusCode.FAILED_PRECONDITION, "CONTAINER_STATE", "b can't")
        daemon.answers[method] = [good, no_state, good]

        done = await imgctl("container", *words, "a", "b", "containers/c")

        assert (done.status, done.printed) == (1, "a\ncontainers/c\n")
        assert done.told == "imgctl: b can't (CONTAINER_STATE)\n"
        requests = daemon.requests(method)
        assert [one.name for one in requests] == ["containers/a", "containers/b", "containers/c"]
        assert {key: getattr(requests[0], key) for key in facts} == facts
        if method == "StopContainer":
            assert requests[0].HasField("exit_status") == bool(facts)

    async def test_by_force_what_is_not_there_is_no_failure(
        self, daemon: ScriptedDaemon, imgctl: Run
    ) -> None:
        daemon.answers["RemoveContainer"] = [_missing("a")]

        done = await imgctl("container", "rm", "--force", "a")
        plain = await imgctl("container", "rm", "a")

        # As docker's.
        assert done.told == plain.told == "imgctl: no such container: a (CONTAINER_NOT_FOUND)\n"
        assert (done.status, done.printed) == (0, "")
        assert (plain.status, plain.printed) == (1, "")

    async def test_inspects(self, daemon: ScriptedDaemon, imgctl: Run) -> None:
        paused = _container(
            "web",
            state=containers.CONTAINER_STATE_PAUSED,
            create_time=Timestamp(seconds=1_700_000_000, nanos=120_000_000),
            start_time=Timestamp(seconds=1_700_000_001),
            labels={"a": "b"},
            heartbeat_interval=Duration(seconds=2, nanos=5),
        )
        answer = container_service_pb2.GetContainerResponse(container=paused)
        daemon.answers["GetContainer"] = [answer, _missing("x"), answer]

        done = await imgctl("container", "inspect", "web", "x")
        shown = await imgctl("container", "inspect", "-f", "{{.Config.Labels.a}} {{.ID}}", "web")

        assert json.loads(done.printed) == [
            {
                "Id": "web",
                "Created": "2023-11-14T22:13:20.12Z",
                "State": {
                    "Status": "paused",
                    "Running": True,
                    "Paused": True,
                    "ExitCode": 0,
                    "StartedAt": "2023-11-14T22:13:21Z",
                    "FinishedAt": "0001-01-01T00:00:00Z",
                },
                "Image": _ID,
                "Name": "/web",
                "Platform": "",
                "Config": {"Image": "redis:7", "Labels": {"a": "b"}},
                "HeartbeatInterval": 2_000_000_005,
            }
        ]
        assert (done.status, done.told) == (
            1,
            "imgctl: no such container: x (CONTAINER_NOT_FOUND)\n",
        )
        assert shown.printed == "b web\n"


class TestPinning:
    @pytest.mark.parametrize(("word", "method"), [("pin", "PinImage"), ("unpin", "UnpinImage")])
    async def test_each_argument_stands_alone(
        self, daemon: ScriptedDaemon, imgctl: Run, word: str, method: str
    ) -> None:
        good = getattr(image_service_pb2, f"{method}Response")()
        missing = _refused(grpc.StatusCode.NOT_FOUND, "IMAGE_NOT_FOUND", "no such image: b")
        daemon.answers[method] = [good, missing, good]

        done = await imgctl(word, "a", "b", "c")

        assert (done.status, done.printed) == (1, "a\nc\n")
        assert done.told == "imgctl: no such image: b (IMAGE_NOT_FOUND)\n"
        assert [one.image for one in daemon.requests(method)] == ["a", "b", "c"]


class TestMounting:
    async def test_tells_the_lease_and_what_to_mount(
        self, daemon: ScriptedDaemon, imgctl: Run
    ) -> None:
        mount = containers.Mount(fs_type="overlay", source="overlay", options=["ro", "lowerdir=/l"])
        daemon.answers["MountImage"] = [
            filesystem_service_pb2.MountImageResponse(lease="leases/mine"),
            filesystem_service_pb2.MountImageResponse(lease="leases/a", mounts=[mount]),
        ]
        words = ["--name", "mine", "--ttl", "1h30m", "--platform", "linux/386"]

        there = await imgctl("image", "mount", *words, "redis", "pods/a")
        here = await imgctl("image", "mount", "redis")

        assert (there.status, there.printed, there.told) == (0, "mine\n", "")
        assert here.printed == "a\noverlay overlay ro,lowerdir=/l\n"
        first, second = daemon.requests("MountImage")
        assert (first.image, first.lease_id, first.platform) == ("redis", "mine", "linux/386")
        # The daemon's working directory is another.
        assert first.target_path == str(Path.cwd() / "pods" / "a")
        assert first.ttl == Duration(seconds=5400)
        assert second == filesystem_service_pb2.MountImageRequest(image="redis")


class TestLeases:
    async def test_takes_and_lists(self, daemon: ScriptedDaemon, imgctl: Run) -> None:
        lease = lease_pb2.Lease(
            name="leases/mine",
            create_time=_ago(2),
            expire_time=Timestamp(seconds=int(time.time()) + 5 * 3600 + 60),
            images=["images/A", "images/B"],
            labels={"b": "2", "a": "1"},
        )
        daemon.answers["CreateLease"] = [lease_service_pb2.CreateLeaseResponse(lease=lease)]
        daemon.answers["ListLeases"] = [lease_service_pb2.ListLeasesResponse(leases=[lease])]
        words = ["--name", "mine", "--ttl", "1h30m", "--image", "a", "--image", "b"]

        made = await imgctl("lease", "create", *words, "--digest", _ID, "-l", "a=1")
        table = await imgctl("lease", "ls")
        quiet = await imgctl("lease", "list", "-q")
        shown = await imgctl("lease", "ls", "--format", "{{.ID}} {{.Labels}} {{.Digests}}")

        assert made.printed == quiet.printed == "mine\n"
        (request,) = daemon.requests("CreateLease")
        assert ([*request.images], [*request.digests]) == (["a", "b"], [_ID])
        assert (request.lease_id, request.labels) == ("mine", {"a": "1"})
        assert request.ttl == Duration(seconds=5400)
        assert table.printed == (
            "LEASE ID   CREATED       EXPIRES      IMAGES    DIGESTS\n"
            "mine       2 hours ago   in 5 hours   2         0\n"
        )
        assert shown.printed == "mine a=1,b=2 0\n"

    async def test_renews_inspects_and_gives_back(
        self, daemon: ScriptedDaemon, imgctl: Run
    ) -> None:
        missing = _refused(grpc.StatusCode.NOT_FOUND, "LEASE_NOT_FOUND", "no such lease: b")
        daemon.answers["RenewLease"] = [lease_service_pb2.RenewLeaseResponse(), missing]
        lease = lease_pb2.Lease(name="leases/a", images=["images/A"])
        answer = lease_service_pb2.GetLeaseResponse(lease=lease)
        daemon.answers["GetLease"] = [answer, missing, answer, missing, answer]

        renewed = await imgctl("lease", "renew", "--ttl", "90s", "a", "b")
        found = await imgctl("lease", "inspect", "a", "b")
        removed = await imgctl("lease", "rm", "a", "b", "leases/c")

        told = "imgctl: no such lease: b (LEASE_NOT_FOUND)\n"
        assert (renewed.status, renewed.printed, renewed.told) == (1, "a\n", told)
        assert {one.ttl.seconds for one in daemon.requests("RenewLease")} == {90}
        assert json.loads(found.printed) == [{"name": "leases/a", "images": ["images/A"]}]
        assert (found.status, found.told) == (1, told)
        assert (removed.status, removed.printed, removed.told) == (1, "a\nleases/c\n", told)
        assert [one.name for one in daemon.requests("DeleteLease")] == ["leases/a", "leases/c"]

    async def test_a_lease_of_nothing_is_refused(self, daemon: ScriptedDaemon, imgctl: Run) -> None:
        done = await imgctl("lease", "create", "--name", "mine")

        assert (done.status, done.printed) == (125, "")
        assert "--image or --digest" in done.told
        assert not daemon.calls

    async def test_a_pull_takes_one(self, daemon: ScriptedDaemon, imgctl: Run) -> None:
        daemon.watches = [[snapshot(1), finished(2)]]

        await imgctl("pull", "-q", "--lease", "leases/mine", "--lease-ttl", "2h", "redis")
        await imgctl("pull", "-q", "--lease", "mine", "redis")
        await imgctl("pull", "-q", "redis")
        alone = await imgctl("pull", "--lease-ttl", "2h", "redis")

        first, second, third = [one.destination.store for one in daemon.requests("StartTransfer")]
        assert (first.lease.lease_id, first.lease.ttl.seconds) == ("mine", 7200)
        assert not second.lease.HasField("ttl")
        assert not third.HasField("lease")
        assert alone.status == 125


_PULLED = event_pb2.StoreEvent(
    cursor=1,
    event_time=Timestamp(seconds=1_700_000_000, nanos=1000),
    subject_kind=event_pb2.SUBJECT_KIND_IMAGE,
    action="pull",
    subject="images/A",
    attributes={
        "name": "docker.io/library/redis:7",
        "familiar": "redis:7",
        "image_id": _ID,
        "label:vendor": "x <y>",
        # A label never hides a fact.
        "label:name": "z",
    },
)
_UNTAGGED = event_pb2.StoreEvent(
    cursor=2, subject_kind=event_pb2.SUBJECT_KIND_IMAGE, action="untag", subject="images/A"
)
_UNTAGGED.attributes["image_id"] = _ID
_DIED = event_pb2.StoreEvent(
    cursor=3,
    event_time=Timestamp(seconds=1_700_000_000),
    subject_kind=event_pb2.SUBJECT_KIND_CONTAINER,
    action="die",
    subject="containers/web",
    attributes={
        "name": "docker.io/library/redis:7",
        "image": "images/A",
        "exit_status": "1",
        "label:a": "b",
    },
)
_COLLECTED = event_pb2.StoreEvent(
    cursor=4, subject_kind=event_pb2.SUBJECT_KIND_COLLECTION, action="collect"
)
_NEWER = event_pb2.StoreEvent(cursor=5, action="moved", subject="things/x")
_NEWER.subject_kind = 99  # type: ignore[assignment]


class TestEvents:
    async def test_a_line_each_as_docker_has_it(
        self, daemon: ScriptedDaemon, imgctl: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TZ", "Asia/Kolkata")
        answer = event_service_pb2.WatchEventsResponse
        daemon.events = [
            [
                answer(events=[_PULLED, _UNTAGGED], cursor=2),
                answer(cursor=2),
                answer(events=[_DIED, _COLLECTED, _NEWER], cursor=5),
            ]
        ]

        done = await imgctl("events", "--since", "0", "--until", "1800000000.5", "--after", "7")

        assert done.printed == (
            f"2023-11-15T03:43:20.000001000+05:30 image pull redis:7 "
            f"(image_id={_ID}, name=redis:7, vendor=x <y>)\n"
            f"1970-01-01T05:30:00.000000000+05:30 image untag {_ID} (image_id={_ID})\n"
            "2023-11-15T03:43:20.000000000+05:30 container die web "
            "(a=b, exitCode=1, image=redis:7, name=web)\n"
            "1970-01-01T05:30:00.000000000+05:30 collection collect \n"
            "1970-01-01T05:30:00.000000000+05:30  moved x\n"
        )
        assert (done.status, done.told) == (0, "")
        (request,) = daemon.requests("WatchEvents")
        assert request.HasField("since")
        assert request.since.seconds == 0
        assert (request.until.seconds, request.until.nanos) == (1_800_000_000, 500_000_000)
        assert request.after_cursor == 7

    async def test_templates(self, daemon: ScriptedDaemon, imgctl: Run) -> None:
        daemon.events = [[event_service_pb2.WatchEventsResponse(events=[_PULLED, _DIED], cursor=3)]]

        done = await imgctl(
            "events", "-f", "type=image", "--filter", "event=pull", "--format", "json"
        )
        shown = await imgctl("events", "--format", "{{.Time}} {{.Actor.Attributes.vendor}}")

        first, second = map(json.loads, done.printed.splitlines())
        assert first == {
            "status": "pull",
            "id": "redis:7",
            "Type": "image",
            "Action": "pull",
            "Actor": {
                "ID": "redis:7",
                "Attributes": {"image_id": _ID, "name": "redis:7", "vendor": "x <y>"},
            },
            "scope": "local",
            "time": 1_700_000_000,
            "timeNano": 1_700_000_000_000_001_000,
            "cursor": 1,
        }
        assert (second["from"], second["id"]) == ("redis:7", "web")
        assert shown.printed == "1700000000 x <y>\n1700000000 <no value>\n"
        assert [*daemon.requests("WatchEvents")[0].filters] == ["type=image", "event=pull"]

    @pytest.mark.parametrize(
        ("words", "status", "told"),
        [
            (["--format", "{{.Nope}}"], 1, "can't evaluate field Nope in type Message"),
            (["--format", "{{"], 1, "template parsing error"),
            (["--since", "yesterday"], 125, "'yesterday' is no time"),
            (["--after", "x"], 125, "'x' is not a valid integer"),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, list) else "",
    )
    async def test_what_is_wrong_is_told_before_anything_is_asked(
        self, daemon: ScriptedDaemon, imgctl: Run, words: list[str], status: int, told: str
    ) -> None:
        done = await imgctl("events", *words)

        assert (done.status, done.printed) == (status, "")
        assert told in done.told
        assert done.told.count("\n") == 1
        assert not daemon.calls

    async def test_goes_on_after_a_restart_and_gives_up_in_the_end(
        self, daemon: ScriptedDaemon, imgctl: Run
    ) -> None:
        answer = event_service_pb2.WatchEventsResponse
        daemon.events = [
            [answer(events=[_UNTAGGED], cursor=2), lost()],
            [answer(events=[_COLLECTED], cursor=4), lost()],
            [lost()],
        ]

        done = await imgctl("events", "--format", "{{.Cursor}}")

        assert done.printed == "2\n4\n"
        assert done.status == 1
        assert done.told.startswith("imgctl: lost the daemon at ")
        cursors = [one.after_cursor for one in daemon.requests("WatchEvents")]
        assert cursors[:3] == [0, 2, 4]


_USAGE = system_service_pb2.GetDiskUsageResponse(
    images=system_pb2.DiskUsage(
        count=5, active_count=2, total_bytes=16_430_000, reclaimable_bytes=11_630_000
    ),
    containers=system_pb2.DiskUsage(count=2),
    blobs=system_pb2.DiskUsage(count=7, active_count=7, total_bytes=1, reclaimable_bytes=1),
    partials=system_pb2.DiskUsage(count=1, total_bytes=3_000, reclaimable_bytes=1_000),
)


class TestSpace:
    async def test_df_is_dockers_table(self, daemon: ScriptedDaemon, imgctl: Run) -> None:
        daemon.answers["GetDiskUsage"] = [_USAGE]

        done = await imgctl("df")
        again = await imgctl("system", "df", "--format", "{{.Type}}={{.Reclaimable}}")

        assert done.printed == (
            "TYPE              TOTAL     ACTIVE    SIZE      RECLAIMABLE\n"
            "Images            5         2         16.43MB   11.63MB (70%)\n"
            "Containers        2         0         0B        0B\n"
            "Blobs             7         7         1B        1B (100%)\n"
            "Unpacked Layers   0         0         0B        0B\n"
            "Partial Blobs     1         0         3kB       1kB (33%)\n"
            "Layer Indexes     0         0         0B        0B\n"
        )
        assert again.printed.splitlines()[0] == "Images=11.63MB (70%)"

    async def test_df_of_each(self, listed: ScriptedDaemon, imgctl: Run) -> None:
        images = [
            image_pb2.Image(
                image_id=_ID,
                tags=["docker.io/library/redis:7", "docker.io/library/redis:8"],
                create_time=_ago(5),
                size=117_400_000,
                shared_size=8_000,
                unique_size=117_392_000,
                container_count=6,
            ),
            image_pb2.Image(image_id="sha256:" + "f" * 64, size=12, repo_digests=[f"a@{_ID}"]),
        ]
        listed.answers["ListImages"] = [image_service_pb2.ListImagesResponse(images=images)]

        done = await imgctl("df", "-v")
        found = await imgctl("df", "-v", "--format", "json")
        shown = await imgctl("df", "-v", "--format", "{{range .Images}}{{.UniqueSize}} {{end}}")

        parts = done.printed.split("\n\n")
        assert parts[0] == "Images space usage:"
        assert parts[1] == (
            "REPOSITORY   TAG       IMAGE ID       CREATED       SIZE      "
            "SHARED SIZE   UNIQUE SIZE   CONTAINERS\n"
            "redis        7         0123456789ab   5 hours ago   117MB     "
            "8kB           117.4MB       6\n"
            "<none>       <none>    ffffffffffff                 12B       "
            "N/A           N/A           0"
        )
        assert parts[2] == "Containers space usage:"
        assert len(parts[3].splitlines()) == 7
        assert not listed.requests("ListContainers")[0].states
        whole = json.loads(found.printed)
        assert whole["Images"][0]["ID"] == _ID
        assert [one["ID"] for one in whole["Containers"]] == [
            *("new", "up", "held", "done", "gone", "odd")
        ]
        assert shown.printed == "117.4MB N/A \n"
        assert listed.requests("ListImages")[0].view == image_pb2.IMAGE_VIEW_FULL

    async def test_gc_tells_what_it_did(self, daemon: ScriptedDaemon, imgctl: Run) -> None:
        report = system_pb2.CollectionReport(
            examined_blobs=9, deleted_blobs=3, deleted_partials=1, freed_bytes=16_430_000
        )
        daemon.answers["CollectGarbage"] = [
            system_service_pb2.CollectGarbageResponse(report=report)
        ]

        done = await imgctl("gc")
        dry = await imgctl("system", "gc", "--dry-run")

        assert done.printed == (
            "Deleted blobs: 3 of 9\nDeleted partial blobs: 1\nTotal reclaimed space: 16.43MB\n"
        )
        assert dry.printed == (
            "Blobs to delete: 3 of 9\nPartial blobs to delete: 1\n"
            "Total reclaimable space: 16.43MB\n"
        )
        assert [one.dry_run for one in daemon.requests("CollectGarbage")] == [False, True]
