"""Go templates (pkg.go.dev/text/template) as far as `docker … --format` uses them.

Fields, variables, pipelines, `if`, `range`, `with`, `break`, `continue`, trim markers, comments,
and the functions of text/template and of docker. Not there: `define`, `template`, `block`, `call`,
`html`, `js`, `urlquery` and complex numbers; each is an error that says so. ADR-0006 says why this
is our own.

A template can't reach a Python object: values are strings, numbers, booleans, None, lists, maps and
`Struct`. What it may compute is bounded.
"""

from ._errors import TemplateError
from ._execute import Template
from ._values import NilList, NilMap, StringMap, Struct, encode, plain

__all__ = [
    "NilList",
    "NilMap",
    "StringMap",
    "Struct",
    "Template",
    "TemplateError",
    "encode",
    "plain",
]
