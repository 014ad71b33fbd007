from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from support.printed_queries import answers, questions
from syncsvc.cli.app import app
from syncsvc.sandbox import Inventory, Sandbox
from syncsvc.settings.settings import Settings
from syncsvc.sync.run import run_once

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from syncsvc.sync.run_inputs import Job

README = (Path(__file__).parents[2] / "README.md").read_text()


def test_the_five_questions_have_the_answers_shown(
    sandbox: Sandbox, job: Job, engine: Engine
) -> None:
    """
    Each query of the README runs on both databases and prints what stands there.
    """
    sandbox.inventory = inventory = Inventory.seeded(
        1000, seed=1, clock=lambda: datetime(2026, 11, 1, tzinfo=UTC)
    )
    run_once(job)
    inventory.cancel(2)
    inventory.provision(1)
    inventory.rows[0] = {**inventory.rows[0], "monthly_charge": "9.5"}

    run_once(job)

    asked = questions(README)
    assert [question.answer for question in asked] == answers(engine, asked)
    assert len(asked) == 5


def test_every_setting_stands_in_the_readme() -> None:
    """
    No setting is undocumented, and none is documented that there is not.
    """
    named = set(re.findall(r"`SYNCSVC_([A-Z_]+)`", README)) - {"CONFIG"}

    assert {name.upper() for name in Settings.model_fields} | {""} >= named
    assert {name.upper() for name in Settings.model_fields} <= named


def test_every_command_stands_in_the_readme() -> None:
    """
    No command is undocumented.
    """
    named = set(re.findall(r"^\| `syncsvc (\w+)", README, re.MULTILINE))
    callbacks = (command.callback for command in app.registered_commands)
    groups = {group.name for group in app.registered_groups}

    assert named == groups | {
        callback.__name__.removesuffix("_command") for callback in callbacks if callback
    }
