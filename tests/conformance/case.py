"""Cases: read from their files, and run against one client."""

from __future__ import annotations

import asyncio
import re
import tempfile
import tomllib
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from google.protobuf import text_format

# Read for their messages, which cases pack into `Any`.
from google.rpc import error_details_pb2  # noqa: F401

from imgd.conformance.v1.case_pb2 import (
    Action,
    Case,
    CaseFile,
    ConnectionChanges,
    FaultyDaemon,
    Step,
)
from imgd.conformance.v1.client_pb2 import ClientRequest, Connection, Result
from tests.conformance.client import ClientProcess
from tests.conformance.faulty import Faulty, Trust
from tests.conformance.match import differences, fill, unmet
from tests.conformance.world import World

__all__ = ["CASES", "MissedError", "Runner", "known_failures", "read_cases"]

CASES = Path(__file__).parent / "cases"
_KNOWN = Path(__file__).parent / "known_failures.toml"


class MissedError(Exception):
    """A case that did not come out as it should: the text says what is missing."""


def read_cases(folder: Path = CASES) -> list[Case]:
    """Reads all cases, in the order of files and within them.

    Raises:
        ValueError: A file is malformed, two cases have one name, or a case can't fail.
    """
    found: dict[str, Case] = {}
    for path in sorted(folder.glob("*.txtpb")):
        try:
            file = text_format.Parse(path.read_text(), CaseFile())
        except text_format.ParseError as error:
            raise ValueError(f"{path.name}: {error}") from error
        for case in file.cases:
            if not re.fullmatch(rf"{re.escape(path.stem)}/[a-z0-9_]+", case.name):
                raise ValueError(f"{path.name}: a case is named {case.name!r}")
            if case.name in found:
                raise ValueError(f"{path.name}: {case.name} is there twice")
            if not any(step.HasField("operation") for step in case.steps):
                raise ValueError(f"{path.name}: {case.name} asks the client for nothing")
            if not case.WhichOneof("server"):
                raise ValueError(f"{path.name}: {case.name} has no server")
            found[case.name] = case
    return list(found.values())


def known_failures(language: str, cases: list[Case], path: Path = _KNOWN) -> dict[str, str]:
    """What is known to fail in a client: names of cases, and why.

    Raises:
        ValueError: There is no such case, or no reason.
    """
    known = tomllib.loads(path.read_text()).get(language, {}) if path.exists() else {}
    names = {case.name for case in cases}
    for name, reason in known.items():
        if name not in names:
            raise ValueError(f"{path.name}: {language}: there is no case {name!r}")
        if not isinstance(reason, str) or not reason.strip():
            raise ValueError(f"{path.name}: {language}: {name} has no reason")
    return known


@dataclass
class Runner:
    """Runs cases against one client. `world` may be shared; one case runs at a time."""

    client: ClientProcess
    world: World
    folder: Path

    @cached_property
    def trust(self) -> Trust:
        """The certificates, made when the first case wants some."""
        return Trust(self.folder / "trust")

    async def run(self, case: Case) -> None:
        """Runs a case. Raises MissedError."""
        # Sockets have short paths.
        with tempfile.TemporaryDirectory(prefix="case-") as name:
            async with AsyncExitStack() as stack:
                faulty = None
                if case.HasField("faulty"):
                    server = Faulty(case.faulty, Path(name), lambda: self.trust)
                    faulty = await stack.enter_async_context(server)
                else:
                    await asyncio.to_thread(self.world.empty)
                    for image in case.daemon.images:
                        await asyncio.to_thread(self.world.pull, image)
                await _Running(self, case, Path(name), faulty).run()


@dataclass
class _Running:
    """One run of one case."""

    runner: Runner
    case: Case
    folder: Path
    faulty: Faulty | None

    async def run(self) -> None:
        for number, step in enumerate(self.case.steps, 1):
            try:
                await self._step(step)
            except MissedError as error:
                raise MissedError(f"step {number}: {error}") from None
            except TimeoutError:
                raise MissedError(f"step {number}: waited in vain for what it waits for") from None
            except RuntimeError as error:
                raise MissedError(f"step {number}: {error}") from None

    async def _step(self, step: Step) -> None:
        for action in step.before:
            await self._act(action)
        if step.HasField("operation"):
            request = ClientRequest(
                case_name=self.case.name,
                connection=self._connection(step.connection),
                operation=step.operation,
            )
            fill(request, self._values())
            asked = asyncio.create_task(self.runner.client.ask(request))
            try:
                for action in step.meanwhile:
                    await self._act(action)
                result = (await asked).result
            finally:
                asked.cancel()
            self._judge(step, result)
        for action in step.after:
            await self._act(action)
        for wanted in step.calls:
            assert self.faulty
            have = self.faulty.calls[wanted.method]
            if not wanted.min <= have <= wanted.max:
                raise MissedError(
                    f"{wanted.method} was called {have} times, not {wanted.min} to {wanted.max}"
                )

    def _judge(self, step: Step, result: Result) -> None:
        if result.WhichOneof("result") == "broken":
            raise MissedError(f"the executable failed: {result.broken}")
        if result.WhichOneof("result") is None:
            raise MissedError("an empty result")
        expected = Result()
        expected.CopyFrom(step.expect)
        fill(expected, self._values())
        arm = expected.WhichOneof("result")
        if arm is None and result.HasField("error"):
            raise MissedError(f"an error: {result.error}")
        if arm is not None and result.WhichOneof("result") != arm:
            raise MissedError(f"want {arm}, have {result.WhichOneof('result')}: {result}")
        if wrong := [*differences(expected, result), *unmet(step, result)]:
            raise MissedError("; ".join(wrong))

    def _values(self) -> dict[str, str]:
        world = self.runner.world
        return {
            "registry": world.registry.host,
            "gate": world.gate.address,
            "folder": str(self.folder),
            "case": re.sub(r"[^a-z0-9]+", "-", self.case.name),
            "transfer": world.transfer,
        }

    def _connection(self, changes: ConnectionChanges) -> Connection:
        """How the client is to reach the case's server."""
        found = Connection()
        if self.faulty:
            script = self.case.faulty
            found.address, found.token = self.faulty.address, script.token
            if script.transport in (FaultyDaemon.TRANSPORT_TLS, FaultyDaemon.TRANSPORT_MUTUAL_TLS):
                trust = self.runner.trust
                if not changes.without_tls:
                    found.tls.ca_pem = trust.other if changes.other_authority else trust.bundle
                mutual = script.transport == FaultyDaemon.TRANSPORT_MUTUAL_TLS
                if mutual and not changes.without_certificate:
                    found.tls.certificate_pem = trust.client.chain.read_text()
                    found.tls.key_pem = trust.client.key.read_text()
        else:
            found.address = self.runner.world.address
        found.address = changes.address or found.address
        found.token = changes.token or found.token
        for name in ("timeout", "patience"):
            if changes.HasField(name):
                getattr(found, name).CopyFrom(getattr(changes, name))
        return found

    async def _act(self, action: Action) -> None:
        world = self.runner.world
        match action.WhichOneof("action"):
            case "close_gate":
                world.gate.close()
            case "open_gate":
                world.gate.open()
            case "await_held":
                await world.held()
            case "restart_daemon":
                await asyncio.to_thread(world.restart)
            case "await_left":
                faulty = self._scripted()
                await faulty.until(lambda: faulty.left[action.await_left] > 0)
            case "await_called":
                faulty = self._scripted()
                await faulty.until(lambda: faulty.calls[action.await_called] > 0)
            case "await_transfer":
                await world.transfer_is(action.await_transfer)
            case "tag":
                tag = Action.Tag()
                tag.CopyFrom(action.tag)
                fill(tag, self._values())
                await asyncio.to_thread(world.tag, tag.image, tag.name, tag.count)
            case "start_pull":
                await asyncio.to_thread(world.start_pull, action.start_pull)

    def _scripted(self) -> Faulty:
        if self.faulty is None:
            raise MissedError("the case has no faulty daemon")
        return self.faulty
