from __future__ import annotations

import ast
from pathlib import Path

MIGRATIONS = Path(__file__).parents[1] / "migrations"


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
