"""What can be wrong with a template."""

from __future__ import annotations

__all__ = ["ArgumentError", "TemplateError"]


class TemplateError(Exception):
    """A template that can't be read or carried out; says where, in text/template's words."""


class ArgumentError(Exception):
    """What a function says of its arguments. The executor adds where that was."""
