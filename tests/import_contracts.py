"""Contracts for import-linter that it does not bring along; pyproject.toml uses them.

Unlike its own, they accept modules that nothing imports or that do not exist yet.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from importlinter import Contract, ContractCheck, fields, output

if TYPE_CHECKING:
    from collections.abc import Iterable

    from grimp import ImportGraph

__all__ = ["OnlyImportedByContract", "OnlyStandardLibraryContract"]


def _inside(module: str, packages: Iterable[str]) -> bool:
    """Whether `module` is one of `packages` or below one."""
    return any(module == package or module.startswith(f"{package}.") for package in packages)


class _DirectImportsContract(Contract):
    """Judges each direct import by itself."""

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        """Collects the imports that are not allowed."""
        broken = [
            f"{importer} imports {imported} (line {detail['line_number']})"
            for importer in sorted(graph.modules)
            for imported in sorted(graph.find_modules_directly_imported_by(importer))
            if not self.allows(importer, imported)
            for detail in graph.get_import_details(importer=importer, imported=imported)
        ]
        return ContractCheck(kept=not broken, metadata={"broken": broken})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Prints them."""
        for line in check.metadata["broken"]:
            output.print_error(line)

    def allows(self, importer: str, imported: str) -> bool:
        """Whether `importer` may import `imported`."""
        raise NotImplementedError


class OnlyImportedByContract(_DirectImportsContract):
    """The modules (with all below them) are imported by the importers (likewise), and no others."""

    type_name = "only_imported_by"

    modules = fields.ListField(subfield=fields.StringField())
    importers = fields.ListField(subfield=fields.StringField())

    def allows(self, importer: str, imported: str) -> bool:
        """Whether `importer` may import `imported`."""
        modules: list[str] = self.modules  # type: ignore[assignment]  # a field reads as its value
        importers: list[str] = self.importers  # type: ignore[assignment]
        return not _inside(imported, modules) or _inside(importer, [*modules, *importers])


class OnlyStandardLibraryContract(_DirectImportsContract):
    """The modules (with all below them) import the standard library and themselves."""

    type_name = "only_stdlib"

    modules = fields.ListField(subfield=fields.StringField())

    def allows(self, importer: str, imported: str) -> bool:
        """Whether `importer` may import `imported`."""
        modules: list[str] = self.modules  # type: ignore[assignment]  # a field reads as its value
        return (
            not _inside(importer, modules)
            or _inside(imported, modules)
            or imported.partition(".")[0] in sys.stdlib_module_names
        )
