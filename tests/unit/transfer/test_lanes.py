"""Registries that stand still, beside others that do not."""

from __future__ import annotations

from pathlib import Path

from tests.unit.transfer.fakes import HOST, Gate, Trick, layer_of, layered, open_lab, spec_for

SLOW, FAST = f"{HOST}/slow:1", "other.test/fast:1"
LAYERS = 6


async def test_one_registry_never_has_all_threads(tmp_path: Path) -> None:
    """A pull from elsewhere goes on, and another one's manifests do too."""
    image, gate = layered(*range(100, 100 + LAYERS)), Gate()
    async with open_lab(tmp_path, max_threads=4, max_threads_per_registry=2) as lab:
        lab.registry.push(image, SLOW)
        for number in range(LAYERS):
            lab.registry.trick(layer_of(image, number)[0], Trick(gate=gate))
        slow = [await lab.manager.start(spec) for spec in [spec_for(SLOW)] * 2]
        await gate.reached()
        lab.registry.push(layered(10, seed=2), FAST)
        assert (await lab.pull(FAST)).state == "SUCCEEDED"
        near = layered(10, seed=3)
        lab.registry.push(near, f"{HOST}/near:1")
        waits = await lab.manager.start(spec_for(f"{HOST}/near:1"))
        await lab.until(waits.uid, lambda progress: progress.planned)
        assert lab.registry.open_streams <= 2
        gate.open()
        for record in (*slow, waits):
            assert (await lab.end(record.uid)).state == "SUCCEEDED"


async def test_one_that_answers_nothing_keeps_no_others_names_from_being_resolved(
    tmp_path: Path,
) -> None:
    gate = Gate()
    async with open_lab(tmp_path, max_threads=3, max_threads_per_registry=2) as lab:
        slow = []
        for number in range(5):
            name = f"{HOST}/slow{number}:1"
            lab.registry.push(layered(10, seed=number), name)
            lab.registry.trick(name, Trick(gate=gate))
            slow.append(await lab.manager.start(spec_for(name)))
        await gate.reached()
        lab.registry.push(layered(10, seed=9), FAST)
        assert (await lab.pull(FAST)).state == "SUCCEEDED"
        # Who waits for a turn can leave.
        left = await lab.manager.cancel(slow[-1].uid)
        assert left.state == "CANCELLED"
        gate.open()
        for record in slow[:-1]:
            assert (await lab.end(record.uid)).state == "SUCCEEDED"
