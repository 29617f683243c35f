"""Templates do what Go's text/template did with them (oracles/templates.json), within bounds."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgd_client.cli.gotemplate import (
    NilList,
    NilMap,
    StringMap,
    Struct,
    Template,
    TemplateError,
    encode,
)

_BOOK = json.loads((Path(__file__).parents[2] / "oracles" / "templates.json").read_text())
# Where Go names a type that only Go has, or says less.
_OTHER_WORDS = {
    "{{.ID.Foo}}": "can't evaluate field Foo in type string",
    "{{.Size.Foo}}": "can't evaluate field Foo in type int",
    "{{.RepoTags.Foo}}": "can't evaluate field Foo in type []string",
    "{{.Nil.Foo}}": "nil pointer evaluating Foo",
    "{{index .RepoTags 3}}": "error calling index: index out of range: 3",
    "{{$x = 1}}": 'template: :1: undefined variable "$x"',
}


def _typed(value: Any) -> Any:
    """JSON's values with the types that `templates.go` gives them."""
    if isinstance(value, list):
        return [_typed(item) for item in value]
    if isinstance(value, dict):
        strings = value and all(isinstance(item, str) for item in value.values())
        return StringMap(value) if strings else {key: _typed(value[key]) for key in value}
    return value


_DATA = _typed(_BOOK["data"])


@pytest.mark.parametrize("case", _BOOK["cases"], ids=lambda case: case["template"][:60])
def test_does_what_go_does(case: dict[str, str]) -> None:
    template = case["template"]
    if "error" not in case:
        printed = Template(template).execute(_DATA)
        # What is no UTF-8 was replaced when it was recorded.
        assert printed.encode(errors="surrogateescape").decode(errors="replace") == case["output"]
        return
    with pytest.raises(TemplateError) as caught:
        Template(template).execute(_DATA)
    if template in _OTHER_WORDS:
        assert str(caught.value).endswith(_OTHER_WORDS[template])
    else:
        assert str(caught.value) == case["error"]


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ('{{$x := "aaaaaaaaaa"}}{{range 40}}{{$x = print $x $x}}{{end}}', "too much text"),
        ('{{range 1000000}}{{printf "%999999d" 1}}{{end}}', "too much text"),
        ('{{range 1000000}}{{split "aaaaaaaaaaaaaaaa" ""}}{{end}}', "too much text"),
        ('{{pad "a" 9223372036854775807 1}}', "too much text"),
        ("{{range 100000000000}}{{end}}", "too many steps"),
        ("{{range 100000}}{{range 100000}}x{{end}}{{end}}", "too many steps"),
        ('{{printf "%999999999d" 1}}', "a width or precision above 1000000"),
        ('{{printf "%.9999999f" 1.5}}', "a width or precision above 1000000"),
        (f'{{{{printf "%{"9" * 5000}d" 1}}}}', "a width or precision above 1000000"),
        (f"{{{{{'(' * 5000}1{')' * 5000}}}}}", "nested more than 50 deep"),
        ("{{if 1}}" * 3000 + "{{end}}" * 3000, "nested more than 50 deep"),
        (f"{{{{if 1}}}}{'{{else if 1}}' * 3000}{{{{end}}}}", "nested more than 50 deep"),
        ("{{1e999999}}", "bad number syntax"),
        (f"{{{{{'9' * 5000}}}}}", "bad number syntax"),
        ("{{9223372036854775808}}", "integer overflow"),
    ],
    ids=lambda value: value[:40],
)
def test_is_bounded(template: str, words: str) -> None:
    with pytest.raises(TemplateError, match=words):
        Template(template).execute({})


def test_has_room_for_long_lists() -> None:
    template = Template("{{range .}}{{.}}{{end}}")

    # More than one execution's bound, in many.
    printed = [template.execute(["x" * 1000] * 50) for _ in range(400)]

    assert set(map(len, printed)) == {50_000}


@pytest.mark.parametrize(
    ("template", "word"),
    [
        ('{{define "T"}}{{end}}', "define"),
        ('{{template "T"}}', "template"),
        ('{{block "B" .}}{{end}}', "block"),
        ("{{call .}}", "call"),
        ("{{html .}}", "html"),
        ('{{printf "%*d" 5 42}}', "%*"),
        ('{{printf "%[1]d" 42}}', "%["),
        ("{{1i}}", "1i"),
    ],
)
def test_says_what_it_leaves_out(template: str, word: str) -> None:
    with pytest.raises(TemplateError, match=word.replace("*", r"\*").replace("[", r"\[")):
        Template(template).execute("x")


@pytest.mark.parametrize("field", ["upper", "__class__", "join", "items", "get", "kind", "_fields"])
def test_reaches_no_python_object(field: str) -> None:
    found: list[Any] = ["text", 1, [], Struct("thing", {})]
    for data in found:
        with pytest.raises(TemplateError, match=field):
            Template(f"{{{{.{field}}}}}").execute(data)


class TestStruct:
    def test_computes_only_the_fields_that_are_asked_for(self) -> None:
        asked: list[str] = []

        def field(name: str) -> Callable[[], str]:
            def compute() -> str:
                asked.append(name)
                return name

            return compute

        data = Struct("thing", {name: field(name) for name in ("A", "B", "C")})

        assert Template("{{.A}}{{if .B}}{{.B}}{{end}}").execute(data) == "AB"
        assert asked == ["A", "B", "B"]

    @pytest.mark.parametrize(
        ("data", "words"),
        [
            (Struct("thing", {}), "can't evaluate field X in type thing"),
            (Struct("", {}), 'map has no entry for key "X"'),
        ],
    )
    def test_names_a_field_that_is_not_there(self, data: Struct, words: str) -> None:
        with pytest.raises(TemplateError) as caught:
            Template("{{.X.Y}}").execute(data)

        assert str(caught.value) == f'template: :1:4: executing "" at <.X.Y>: {words}'

    def test_leaves_empty_fields_out_of_json_only_where_told(self) -> None:
        data = Struct(
            "thing",
            {"A": "", "B": NilList(), "C": NilMap(), "D": [], "E": Struct("", {})},
            omit_empty=("A", "E"),
        )

        assert encode(data) == '{"B":null,"C":null,"D":[],"E":{}}'
        assert Template("{{.A}}{{.B}}{{.C}}{{.D}}").execute(data) == "[]map[][]"

    def test_escapes_html_in_rows_alone(self) -> None:
        fields = {"A": "<&>\u2028"}

        assert encode(Struct("row", fields, html_safe=True)) == (
            '{"A":"\\u003c\\u0026\\u003e\\u2028"}'
        )
        assert Template("{{json .}}").execute(Struct("object", fields)) == '{"A":"<&>\\u2028"}'

    def test_goes_by_its_aliases(self) -> None:
        data = Struct("image", {"Id": "x"}, aliases={"ID": "Id"})

        assert Template("{{.ID}}{{.Id}}").execute(data) == "xx"
        assert encode(data) == '{"Id":"x"}'


def test_a_header_is_printed_as_far_as_it_goes() -> None:
    titles = Struct("header", {"A": "TITLE", "B": "OTHER"}, lenient=True)

    assert Template("{{lower .A}} {{truncate .B 2}} {{json .A}}").header(titles) == (
        "TITLE OTHER TITLE"
    )
    assert Template("{{.A}} {{.Nope}} {{json .}} more").header(titles) == "TITLE <no value> "


_WORDS = (
    "if",
    "else",
    "end",
    "range",
    "with",
    "break",
    "nil",
    "eq",
    "and",
    "printf",
    "index",
    "slice",
)
_PIECES = st.sampled_from(
    [*"{}()|,.:=$-+\"'`\\/* \n19x", "{{", "}}", ".A", ".B.C", '"%5d%q"', ":=", *_WORDS]
)


@given(st.lists(_PIECES, max_size=30).map("".join) | st.text(max_size=50))
def test_any_text_prints_something_or_is_told_what_is_wrong(template: str) -> None:
    data = Struct("thing", {"A": "a", "B": Struct("inner", {"C": [1, "x", None]})})

    for text in (template, f"{{{{{template}}}}}"):
        # Any other exception fails the test.
        with suppress(TemplateError):
            assert isinstance(Template(text).execute(data), str)
