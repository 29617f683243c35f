"""Dockerfile words as changes of an image's config, as `docker commit --change` takes them.

Source: moby's `dockerfile.BuildFromConfig` and BuildKit's instruction parser: lines may go on
behind a backslash, comments and empty lines are passed over; ENV, LABEL, EXPOSE, USER, VOLUME,
WORKDIR and STOPSIGNAL have `$NAME` and `${NAME}` replaced from the config's environment, and quotes
removed.
"""

from __future__ import annotations

import json
import posixpath
import re
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from imgd_server.errors import FieldError
from imgd_server.images._expanding import expand, split_words
from imgd_server.images._filters import parse_duration

__all__ = ["ConfigChanges", "change_config"]

Config = dict[str, object]

_PORT = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?(?:/(tcp|udp|sctp))?", re.ASCII)
_FLAG = re.compile(r"--([a-z-]+)=(\S*)(?:\s+|$)")
_HEALTH_TIMES = {
    "interval": "Interval",
    "timeout": "Timeout",
    "start-period": "StartPeriod",
    "start-interval": "StartInterval",
}
_LEAST_HEALTH_TIME = 1000  # microseconds, as Docker has it
_SHELL = ["/bin/sh", "-c"]
_SIGNALS = {one.name for one in signal.Signals}
_REALTIME = re.compile(r"SIGRT(?:MIN\+(?:[1-9]|1[0-5])|MAX-(?:[1-9]|1[0-4]))", re.ASCII)
_MAX_SIGNAL = 64


@dataclass(frozen=True, slots=True)
class ConfigChanges:
    """What of a config changes; None keeps, empty clears (see ConfigChanges of the API).

    They apply in this order, `instructions` (whole lines of a Dockerfile) at the end.
    """

    cmd: Sequence[str] | None = None
    entrypoint: Sequence[str] | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    exposed_ports: Sequence[str] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    user: str | None = None
    volumes: Sequence[str] = ()
    working_dir: str | None = None
    stop_signal: str | None = None
    on_build: Sequence[str] = ()
    health_check: Sequence[str] | None = None
    instructions: Sequence[str] = ()


def change_config(config: Mapping[str, object], changes: ConfigChanges) -> Config:
    """A config's `config` object with changes; what they don't speak of stays as it is.

    Raises FIELD_INVALID that names the field and the word.
    """
    changed = _Changed(config)
    with_place = [
        ("cmd", changes.cmd, changed.set_cmd),
        ("entrypoint", changes.entrypoint, changed.set_entrypoint),
    ]
    for place, words, change in with_place:
        if words is not None:
            _at(place, change, list(words))
    for name in sorted(changes.env):
        _at("env", changed.set_env, name, changes.env[name])
    _at("exposed_ports", changed.expose, changes.exposed_ports)
    for name in sorted(changes.labels):
        _at("labels", changed.set_label, name, changes.labels[name])
    for place, text, set_text in (
        ("user", changes.user, changed.set_user),
        ("working_dir", changes.working_dir, changed.set_working_dir),
        ("stop_signal", changes.stop_signal, changed.set_stop_signal),
    ):
        if text is not None:
            _at(place, set_text, text)
    _at("volumes", changed.add_volumes, changes.volumes)
    for text in changes.on_build:
        _at("on_build", changed.add_trigger, text)
    if changes.health_check is not None:
        _at("health_check", changed.set_health_test, list(changes.health_check))
    for number, text in enumerate(changes.instructions):
        _at(f"instructions[{number}]", changed.run, text)
    return changed.config


def _at(place: str, change: Callable[..., None], *arguments: object) -> None:
    try:
        change(*arguments)
    except ValueError as error:
        raise FieldError(f"changes.{place}", f"changes.{place}: {error}") from error


class _Changed:
    """A config that is being changed. What breaks a rule raises ValueError with the rule."""

    def __init__(self, config: Mapping[str, object]) -> None:
        self.config: Config = dict(config)
        self._cmd_set = False

    # --- single changes

    def set_cmd(self, words: list[str]) -> None:
        self._set("Cmd", _words(words))
        self._cmd_set = True

    def set_entrypoint(self, words: list[str]) -> None:
        self._set("Entrypoint", _words(words))
        if not self._cmd_set:
            # The base's command was arguments for the base's entrypoint.
            self.config.pop("Cmd", None)

    def set_env(self, name: str, value: str) -> None:
        if not name or "=" in name:
            raise ValueError(f"{_shown(name)} is no name of a variable")
        _no_nul(name, value)
        kept = [one for one in self._list("Env") if one.partition("=")[0] != name]
        known = [one.partition("=")[0] for one in self._list("Env")]
        if name in known:
            kept.insert(known.index(name), f"{name}={value}")
        else:
            kept.append(f"{name}={value}")
        self.config["Env"] = kept

    def expose(self, texts: Sequence[str]) -> None:
        ports = self._keys("ExposedPorts")
        for text in texts:
            match = _PORT.fullmatch(text)
            first = int(match[1]) if match else 0
            last = int(match[2] or match[1]) if match else 0
            if match is None or not 0 < first <= last < 65536:
                raise ValueError(f"{_shown(text)} is no port: NUMBER[-NUMBER][/tcp|/udp|/sctp]")
            for number in range(first, last + 1):
                ports[f"{number}/{match[3] or 'tcp'}"] = {}
        if texts:
            self.config["ExposedPorts"] = dict(sorted(ports.items()))

    def set_label(self, name: str, value: str) -> None:
        if not name:
            raise ValueError("a label has a name")
        _no_nul(name, value)
        found = self.config.get("Labels")
        self.config["Labels"] = {**(found if isinstance(found, dict) else {}), name: value}

    def set_user(self, text: str) -> None:
        _no_nul(text)
        self._set("User", text)

    def add_volumes(self, paths: Sequence[str]) -> None:
        volumes = self._keys("Volumes")
        for path in paths:
            if not path:
                raise ValueError("a volume is a path, and this one is empty")
            _no_nul(path)
            volumes[path] = {}
        if paths:
            self.config["Volumes"] = volumes

    def set_working_dir(self, path: str) -> None:
        _no_nul(path)
        before = self.config.get("WorkingDir")
        start = before if isinstance(before, str) and before.startswith("/") else "/"
        whole = posixpath.normpath(posixpath.join(start, path))
        # POSIX leaves two slashes at the start as they are.
        self._set("WorkingDir", "/" + whole.lstrip("/") if path else "")

    def set_stop_signal(self, text: str) -> None:
        name = text.upper()
        known = name if name.startswith("SIG") else f"SIG{name}"
        number = int(text) if text.isascii() and text.isdigit() and len(text) < 3 else 0
        if text and not (
            0 < number <= _MAX_SIGNAL or known in _SIGNALS or _REALTIME.fullmatch(known)
        ):
            raise ValueError(f"{_shown(text)} is no signal")
        self._set("StopSignal", text)

    def add_trigger(self, text: str) -> None:
        word = text.split(None, 1)[0].upper() if text.strip() else ""
        if word in ("", "ONBUILD", "FROM", "MAINTAINER"):
            raise ValueError(f"ONBUILD wants an instruction, and not {word or 'nothing'}")
        _no_nul(text)
        self.config["OnBuild"] = [*self._list("OnBuild"), text.strip()]

    def set_health_test(self, words: list[str]) -> None:
        """Keeps what is known of intervals."""
        kind = words[0] if words else ""
        fits = {"": not words, "NONE": len(words) == 1, "CMD": len(words) > 1}
        if not fits.get(kind, kind == "CMD-SHELL" and len(words) == 2):
            raise ValueError("a health check is NONE, CMD with words, or CMD-SHELL with a command")
        before = self.config.get("Healthcheck")
        kept = before if isinstance(before, dict) and kind not in ("", "NONE") else {}
        self._set("Healthcheck", {**kept, "Test": _words(words)} if words else None)

    # --- instructions

    def run(self, text: str) -> None:
        """Applies the instructions of a text, one a line."""
        instructions: dict[str, Callable[[str], None]] = {
            "CMD": lambda rest: self.set_cmd(self._command(rest)),
            "ENTRYPOINT": lambda rest: self.set_entrypoint(self._command(rest)),
            "ENV": lambda rest: self._pairs(rest, self.set_env),
            "EXPOSE": self._expose,
            "LABEL": lambda rest: self._pairs(rest, self.set_label),
            "USER": lambda rest: self.set_user(self._expanded(rest)),
            "VOLUME": self._volumes,
            "WORKDIR": lambda rest: self.set_working_dir(self._expanded(rest)),
            "STOPSIGNAL": lambda rest: self.set_stop_signal(self._expanded(rest)),
            "ONBUILD": self.add_trigger,
            "HEALTHCHECK": self._health_check,
        }
        for line in _lines(text):
            word, rest = _first(line)
            change = instructions.get(word.upper())
            if change is None:
                raise ValueError(f"{_shown(word)} is none of {', '.join(instructions)}")
            if not rest:
                raise ValueError(f"{word.upper()} wants something behind it")
            try:
                change(rest)
            except ValueError as error:
                raise ValueError(f"{word.upper()}: {error}") from error

    def _expanded(self, text: str) -> str:
        pairs = (one.partition("=") for one in self._list("Env"))
        return expand(text, {name: value for name, _, value in pairs})

    def _expose(self, rest: str) -> None:
        # Alone among the words a variable may hold several here, and a protocol be in capitals.
        words = [part for one in rest.split() for part in self._expanded(one).split()]
        self.expose([one.lower() for one in words])

    def _volumes(self, rest: str) -> None:
        words = _json_words(rest)
        if words == []:
            raise ValueError("wants at least one path")
        self.add_volumes([self._expanded(one) for one in words or rest.split()])

    def _command(self, rest: str) -> list[str]:
        """The words of JSON, or what the shell is called with."""
        words = _json_words(rest)
        return words if words is not None else [*(self._list("Shell") or _SHELL), rest]

    def _pairs(self, rest: str, change: Callable[[str, str], None]) -> None:
        words = split_words(rest)
        if "=" not in words[0]:
            # The old form: one name, and the rest of the line is its value.
            name, value = _first(rest)
            if not value:
                raise ValueError(f"{_shown(name)} has no value: NAME=VALUE")
            pairs = [(name, value)]
        else:
            pairs = []
            for word in words:
                name, equals, value = word.partition("=")
                if not equals:
                    raise ValueError(f"{_shown(word)} has no '=': NAME=VALUE")
                pairs.append((name, value))
        # All of a line is read with the environment before it.
        for name, value in [(self._expanded(name), self._expanded(value)) for name, value in pairs]:
            change(name, value)

    def _health_check(self, rest: str) -> None:
        found: Config = {}
        while match := _FLAG.match(rest):
            rest = rest[match.end() :]
            found |= _health_flag(match[1], match[2])
        kind, command = _first(rest) if rest else ("", "")
        if kind.upper() == "NONE" and not command and not found:
            test = ["NONE"]
        elif kind.upper() == "CMD" and command:
            words = _json_words(command)
            test = ["CMD-SHELL", command] if words is None else ["CMD", *words]
        else:
            raise ValueError("wants NONE, or [--interval=… --timeout=… --retries=…] CMD command")
        self.config.pop("Healthcheck", None)
        self.set_health_test(test)
        checked = self.config["Healthcheck"]
        assert isinstance(checked, dict)
        self.config["Healthcheck"] = {**checked, **found}

    # --- the config

    def _set(self, key: str, value: object) -> None:
        if value:
            self.config[key] = value
        else:
            self.config.pop(key, None)

    def _list(self, key: str) -> list[str]:
        found = self.config.get(key)
        return [one for one in found if isinstance(one, str)] if isinstance(found, list) else []

    def _keys(self, key: str) -> Config:
        found = self.config.get(key)
        return dict(found) if isinstance(found, dict) else {}


def _lines(text: str) -> Iterator[str]:
    """The instructions of a text: lines that go on are joined, comments and empty ones left out."""
    joined = ""
    for line in text.split("\n"):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if (stripped := line.rstrip()).endswith("\\"):
            joined += stripped[:-1]
            continue
        yield (joined + line).strip()
        joined = ""
    if joined.strip():
        yield joined.strip()


def _first(text: str) -> tuple[str, str]:
    """The first word, and what is behind it."""
    word, *rest = text.split(None, 1)
    return word, rest[0].strip() if rest else ""


def _json_words(text: str) -> list[str] | None:
    """The words of a list in JSON; None where it is none, and so the other form."""
    if not text.startswith("["):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise ValueError(f"{_shown(text)} is no list of strings")
    return found


def _health_flag(name: str, value: str) -> Config:
    if name == "retries":
        if not (value.isascii() and value.isdigit() and len(value) < 7):
            raise ValueError(f"--retries: {_shown(value)} is no number")
        return {"Retries": int(value)}
    if name not in _HEALTH_TIMES:
        raise ValueError(f"there is no --{name[:100]}")
    microseconds = 0 if value == "0" else parse_duration(value)
    if microseconds is None or 0 < microseconds < _LEAST_HEALTH_TIME:
        raise ValueError(f"--{name}: {_shown(value)} is no duration of a millisecond or more")
    return {_HEALTH_TIMES[name]: microseconds * 1000}


def _words(words: list[str]) -> list[str]:
    _no_nul(*words)
    return words


def _no_nul(*texts: str) -> None:
    for text in texts:
        if "\0" in text:
            raise ValueError(f"{_shown(text)} has a NUL")


def _shown(text: str) -> str:
    return repr(text[:100])
