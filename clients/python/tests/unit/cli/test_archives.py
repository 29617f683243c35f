"""The file that an archive is written to."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from imgd_client.cli import _archives


def _can_be_nameless(folder: Path) -> bool:
    try:
        os.close(os.open(folder, os.O_WRONLY | os.O_TMPFILE))
    except (AttributeError, OSError):
        return False
    return True


@pytest.fixture(params=["nameless", "named"])
def nameless(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> bool:
    """Whether files have no name until they are whole; on other systems there are none such."""
    if request.param == "named":
        monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    return _can_be_nameless(tmp_path)


def test_a_file_is_there_when_it_is_whole(tmp_path: Path, nameless: bool) -> None:
    target = tmp_path / "a.tar"
    seen: list[Path] = []

    def chunks() -> Iterator[bytes]:
        yield b"one"
        seen.extend(tmp_path.iterdir())
        yield b"two"

    target.write_bytes(b"former")
    _archives._write(chunks(), str(target))
    assert target.read_bytes() == b"onetwo"
    assert [*tmp_path.iterdir()] == [target]
    # Who is killed in between leaves nothing where the system can do that.
    assert len(seen) == (1 if nameless else 2)
    plain = tmp_path / "plain"
    plain.touch()
    assert stat.S_IMODE(target.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


@pytest.mark.usefixtures("nameless")
def test_what_ends_early_leaves_what_was_there(tmp_path: Path) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"one"
        raise InterruptedError("cut off")

    (tmp_path / "a.tar").write_bytes(b"former")
    with pytest.raises(click.ClickException, match=r"a\.tar: cut off"):
        _archives._write(chunks(), str(tmp_path / "a.tar"))
    assert {one.name: one.read_bytes() for one in tmp_path.iterdir()} == {"a.tar": b"former"}


@pytest.mark.usefixtures("nameless")
def test_where_no_file_can_be(tmp_path: Path) -> None:
    nowhere = str(tmp_path / "none" / "a.tar")
    with pytest.raises(click.ClickException) as caught:
        _archives._write([b"x"], nowhere)
    assert caught.value.message == f"{nowhere}: No such file or directory"
