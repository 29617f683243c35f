"""Dockerfile words: what they make of a config, beside what `docker commit --change` makes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgd_server.errors import FieldError
from imgd_server.images import ConfigChanges
from imgd_server.images._instructions import change_config

BASE: dict[str, Any] = {
    "Cmd": ["old"],
    "Entrypoint": ["/entry"],
    "Env": ["PATH=/bin", "A=1"],
    "ExposedPorts": {"80/tcp": {}},
    "Labels": {"kept": "yes"},
    "WorkingDir": "/app",
    "Shell": ["/bin/bash", "-ec"],
    "Unknown": {"of": ["nobody"]},
}


def changed(*instructions: str, base: dict[str, Any] | None = None, **fields: Any) -> Any:
    before = json.dumps(BASE if base is None else base)
    config = json.loads(before)
    made = change_config(config, ConfigChanges(instructions=instructions, **fields))
    # What it was made of is as it was.
    assert json.dumps(config) == before
    return made


@pytest.mark.parametrize(
    ("instruction", "key", "value"),
    [
        ('CMD ["sh", "-c", "echo $A"]', "Cmd", ["sh", "-c", "echo $A"]),
        ("CMD echo $A 'b'", "Cmd", ["/bin/bash", "-ec", "echo $A 'b'"]),
        ("cmd []", "Cmd", None),
        # No JSON, so the other form: as Docker has it, too.
        ("CMD ['sh']", "Cmd", ["/bin/bash", "-ec", "['sh']"]),
        ('ENTRYPOINT ["/x"]', "Entrypoint", ["/x"]),
        ("ENV A=2", "Env", ["PATH=/bin", "A=2"]),
        ("ENV PATH=/sbin:$PATH B=${A}b", "Env", ["PATH=/sbin:/bin", "A=1", "B=1b"]),
        ("ENV C=$A A=3 D=$A", "Env", ["PATH=/bin", "A=3", "C=1", "D=1"]),
        ("ENV C the rest  of it", "Env", ["PATH=/bin", "A=1", "C=the rest  of it"]),
        ("ENV\tC\td", "Env", ["PATH=/bin", "A=1", "C=d"]),
        (r"""ENV C="x y" D='$A' E=a\ b F="\$A\"\n" """, "Env",
         ["PATH=/bin", "A=1", "C=x y", "D=$A", "E=a b", 'F=$A"\\n']),
        ("ENV C=${NO:-d} D=${A:+y} E=${NO:+y} F=${NO-$A} G=${A:?is}", "Env",
         ["PATH=/bin", "A=1", "C=d", "D=y", "E=", "F=1", "G=1"]),
        ("ENV C=$NO$1$ D=${A}", "Env", ["PATH=/bin", "A=1", "C=$", "D=1"]),
        ("ENV C=$$x D=$12y E=$?$-z F=$.", "Env",
         ["PATH=/bin", "A=1", "C=x", "D=y", "E=z", "F=$."]),
        ("ENV C=${NO:-${ALSO:-'}'}}", "Env", ["PATH=/bin", "A=1", "C=}"]),
        ("EXPOSE 81 53/udp 90-92/sctp", "ExposedPorts",
         {"53/udp": {}, "80/tcp": {}, "81/tcp": {}, "90/sctp": {}, "91/sctp": {}, "92/sctp": {}}),
        ("EXPOSE 8${A}", "ExposedPorts", {"80/tcp": {}, "81/tcp": {}}),
        ('LABEL kept=no "a b"="c d" e=$A', "Labels", {"kept": "no", "a b": "c d", "e": "1"}),
        ("LABEL old form of it", "Labels", {"kept": "yes", "old": "form of it"}),
        ("USER $A:web", "User", "1:web"),
        ("VOLUME /a /b$A", "Volumes", {"/a": {}, "/b1": {}}),
        ('VOLUME ["/a b"]', "Volumes", {"/a b": {}}),
        ("WORKDIR deeper/../other", "WorkingDir", "/app/other"),
        ("WORKDIR /", "WorkingDir", "/"),
        ("WORKDIR //x/./y/", "WorkingDir", "/x/y"),
        ("STOPSIGNAL SIGINT", "StopSignal", "SIGINT"),
        ("STOPSIGNAL term", "StopSignal", "term"),
        ("STOPSIGNAL 9", "StopSignal", "9"),
        ("STOPSIGNAL SIGRTMIN+3", "StopSignal", "SIGRTMIN+3"),
        ("ONBUILD RUN make  all", "OnBuild", ["RUN make  all"]),
        ("HEALTHCHECK NONE", "Healthcheck", {"Test": ["NONE"]}),
        ("HEALTHCHECK CMD curl -f x", "Healthcheck", {"Test": ["CMD-SHELL", "curl -f x"]}),
        ('HEALTHCHECK --interval=1m30s --retries=4 --start-period=0 --timeout=1.5s CMD ["a"]',
         "Healthcheck",
         {"Test": ["CMD", "a"], "Interval": 90 * 10**9, "Retries": 4, "StartPeriod": 0,
          "Timeout": 1_500_000_000}),
        ("# nothing\n\nUSER \\\n  me", "User", "me"),
    ],
)  # fmt: skip
def test_instructions(instruction: str, key: str, value: object) -> None:
    made = changed(instruction)
    assert made.get(key) == value
    also = {"Cmd"} if key == "Entrypoint" else set()
    for other in BASE.keys() - {key} - also:
        assert made[other] == BASE[other]
    assert made.keys() <= BASE.keys() | {key}


def test_an_entrypoint_takes_the_command_that_was_for_another() -> None:
    assert "Cmd" not in changed('ENTRYPOINT ["/x"]')
    assert changed('CMD ["y"]', 'ENTRYPOINT ["/x"]')["Cmd"] == ["y"]
    assert changed('ENTRYPOINT ["/x"]', 'CMD ["y"]')["Cmd"] == ["y"]
    assert changed(entrypoint=["/x"], cmd=["z"])["Cmd"] == ["z"]
    assert "Cmd" not in changed(entrypoint=[])


def test_fields_and_then_instructions() -> None:
    made = changed(
        "ENV SEEN=$B",
        "ONBUILD USER b",
        cmd=[],
        env={"B": "2", "A": ""},
        exposed_ports=["1/udp"],
        labels={"kept": "", "new": "n"},
        user="u",
        volumes=["/v"],
        working_dir="sub",
        stop_signal="HUP",
        on_build=["USER a"],
        health_check=["CMD", "true"],
    )
    expected = BASE | {
        "Env": ["PATH=/bin", "A=", "B=2", "SEEN=2"],
        "ExposedPorts": {"1/udp": {}, "80/tcp": {}},
        "Labels": {"kept": "", "new": "n"},
        "User": "u",
        "Volumes": {"/v": {}},
        "WorkingDir": "/app/sub",
        "StopSignal": "HUP",
        "OnBuild": ["USER a", "USER b"],
        "Healthcheck": {"Test": ["CMD", "true"]},
    }
    del expected["Cmd"]
    assert made == expected


def test_a_variable_may_hold_several_ports() -> None:
    made = changed('ENV P="81 53/UDP"', "EXPOSE $P $NO 82")
    assert made["ExposedPorts"] == {"53/udp": {}, "80/tcp": {}, "81/tcp": {}, "82/tcp": {}}


def test_a_health_check_keeps_its_times_unless_it_is_written_anew() -> None:
    base = {"Healthcheck": {"Test": ["CMD", "a"], "Interval": 5}}
    kept = changed(base=base, health_check=["CMD-SHELL", "b"])
    assert kept["Healthcheck"] == {"Test": ["CMD-SHELL", "b"], "Interval": 5}
    anew = changed("HEALTHCHECK CMD b", base=base)
    assert anew["Healthcheck"] == {"Test": ["CMD-SHELL", "b"]}
    assert changed(base=base, health_check=["NONE"])["Healthcheck"] == {"Test": ["NONE"]}
    assert "Healthcheck" not in changed(base=base, health_check=[])


def test_a_config_of_other_shapes() -> None:
    """Strangers wrote it: what has the wrong type counts as not there."""
    odd: dict[str, Any] = {
        "Env": "PATH=x",
        "ExposedPorts": [],
        "Labels": None,
        "Volumes": 3,
        "WorkingDir": 4,
        "Shell": [1],
        "OnBuild": {},
        "Healthcheck": [],
    }
    made = changed(
        "ENV A=1", "EXPOSE 1", "LABEL a=b", "VOLUME /v", "WORKDIR w", "CMD x", "ONBUILD USER a",
        base=odd, health_check=["CMD", "x"],
    )  # fmt: skip
    assert made == {
        "Env": ["A=1"],
        "ExposedPorts": {"1/tcp": {}},
        "Labels": {"a": "b"},
        "Volumes": {"/v": {}},
        "WorkingDir": "/w",
        "Shell": [1],
        "Cmd": ["/bin/sh", "-c", "x"],
        "OnBuild": ["USER a"],
        "Healthcheck": {"Test": ["CMD", "x"]},
    }


@pytest.mark.parametrize(
    ("instruction", "word"),
    [
        ("FROM scratch", "FROM"),
        ("RUN rm -rf /", "RUN"),
        ("COPY a b", "COPY"),
        ("nonsense", "nonsense"),
        ("ENV", "ENV"),
        ("ENV A", "ENV"),
        ("ENV A=b C", "'C'"),
        ("ENV =b", "ENV"),
        ("ENV A=\0", "NUL"),
        ('ENV A="b', "lacks"),
        ("ENV A='b", "lacks"),
        ("ENV A=${b", "ENV"),
        ("ENV A=${}", "ENV"),
        ("ENV A=${b%x}", "ENV"),
        ("ENV A=${b:?must}", "must"),
        ("ENV A=" + "${b:-" * 20, "nested"),
        ("LABEL =x", "LABEL"),
        ("EXPOSE http", "'http'"),
        ("EXPOSE 0", "'0'"),
        ("EXPOSE 65536", "'65536'"),
        ("EXPOSE 9-8", "'9-8'"),
        ("EXPOSE 1/icmp", "'1/icmp'"),
        ("EXPOSE ١", "EXPOSE"),
        ('CMD ["a", 1]', "CMD"),
        ('CMD ["\\u0000"]', "CMD"),
        ('VOLUME [""]', "VOLUME"),
        ("VOLUME []", "VOLUME"),
        ("STOPSIGNAL SIGNOTHING", "'SIGNOTHING'"),
        ("STOPSIGNAL 65", "'65'"),
        ("STOPSIGNAL SIGRTMIN+16", "STOPSIGNAL"),
        ("ONBUILD ONBUILD USER a", "ONBUILD"),
        ("ONBUILD from x", "FROM"),
        ("HEALTHCHECK NONE x", "HEALTHCHECK"),
        ("HEALTHCHECK CMD", "HEALTHCHECK"),
        ("HEALTHCHECK --interval=1s", "HEALTHCHECK"),
        ("HEALTHCHECK --interval=1us CMD x", "--interval"),
        ("HEALTHCHECK --interval=soon CMD x", "'soon'"),
        ("HEALTHCHECK --retries=many CMD x", "'many'"),
        ("HEALTHCHECK --often=1 CMD x", "--often"),
    ],
)
def test_refusals_name_the_word(instruction: str, word: str) -> None:
    with pytest.raises(FieldError) as caught:
        changed("USER fine", instruction)
    assert caught.value.field == "changes.instructions[1]"
    assert word in caught.value.message
    assert "\0" not in caught.value.message


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("cmd", ["a\0"]),
        ("entrypoint", ["\0"]),
        ("env", {"A=B": "c"}),
        ("env", {"": "c"}),
        ("exposed_ports", ["no"]),
        ("labels", {"": "x"}),
        ("user", "a\0"),
        ("volumes", [""]),
        ("working_dir", "a\0"),
        ("stop_signal", "NO"),
        ("on_build", [" "]),
        ("health_check", ["CMD"]),
        ("health_check", ["CMD-SHELL", "a", "b"]),
        ("health_check", ["what", "x"]),
    ],
)
def test_refusals_name_the_field(field: str, value: Any) -> None:
    with pytest.raises(FieldError) as caught:
        changed(**{field: value})
    assert caught.value.field == f"changes.{field}"


def test_variables_do_not_grow_without_bounds() -> None:
    big = {"Env": ["A=" + "x" * 60_000]}
    with pytest.raises(FieldError, match="characters"):
        changed("ENV B=" + "$A" * 20_000, base=big)
    assert len(changed("ENV B=$A$A", base=big)["Env"][1]) == 120_002


WORDS = "CMD ENTRYPOINT ENV EXPOSE HEALTHCHECK LABEL ONBUILD STOPSIGNAL USER VOLUME WORKDIR"


@given(st.sampled_from(WORDS.split()), st.text("a1/=$ {}:-+?'\"\\[],\n#\t\0é", max_size=40))
def test_any_text_changes_or_is_refused(word: str, text: str) -> None:
    try:
        made = changed(f"{word} {text}")
    except FieldError:
        return
    assert made["Unknown"] == BASE["Unknown"]
    assert "\\u0000" not in json.dumps(made)
