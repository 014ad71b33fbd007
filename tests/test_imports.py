from __future__ import annotations

import ast
from pathlib import Path

TREE = Path(__file__).parents[1]
MIGRATIONS = TREE / "migrations"


def test_migrations_import_only_the_schema() -> None:
    """
    Of the service, migrations import `schema` alone: other code may change under them.
    """
    imported = {
        node.module or ""
        for path in MIGRATIONS.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom)
    }
    ours = {name for name in imported if name.startswith("syncsvc")}

    assert ours
    assert all(name.startswith("syncsvc.schema.") for name in ours)


def test_a_package_has_four_to_nine_modules() -> None:
    """
    Each package has four to nine modules and packages, so that a reader takes it in at one look.
    """
    sizes = {
        str(package.parent.relative_to(TREE)): sum(
            path.suffix == ".py" or (path / "__init__.py").exists()
            for path in package.parent.iterdir()
            if path != package
        )
        for package in (TREE / "syncsvc").glob("*/**/__init__.py")
    }

    assert sizes
    assert {name: size for name, size in sizes.items() if not 4 <= size <= 9} == {}
