"""
Typer's commands, with a shorter `--help` and a word about an interrupt.
"""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption

from syncsvc.cli.signals import INTERRUPTED

PLAIN = {
    "Value error, ": "",
    "Input should be a valid integer, unable to parse string as an integer": "not a whole number",
    "Input should be a valid number, unable to parse string as a number": "not a number",
    "Input should be greater than or equal to": "it must be at least",
    "Input should be less than or equal to": "it must be at most",
}


class Command(TyperCommand):
    """
    A command.
    """

    def get_params(self, ctx: Any) -> list[Any]:  # noqa: ANN401 - of typer's own copy of click
        """
        Return its parameters.
        """
        return _without_types_of_flags(super().get_params(ctx))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - of typer's own copy of click
        """
        Read its parameters; what is wrong with one is said in our words, not in pydantic's.
        """
        try:
            return super().parse_args(ctx, args)
        except typer.BadParameter as exc:
            for theirs, ours in PLAIN.items():
                exc.message = exc.message.replace(theirs, ours)
            raise


class Group(TyperGroup):
    """
    All commands together.
    """

    def get_params(self, ctx: Any) -> list[Any]:  # noqa: ANN401 - of typer's own copy of click
        """
        Return its parameters.
        """
        return _without_types_of_flags(super().get_params(ctx))

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - of typer's own copy of click
        """
        Call the command; an interrupt is reported with what it left behind, if that is known.
        """
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as exc:
            left = f"; {exc}" if exc.args else ""
            typer.echo(f"Stopped{left}.", err=True)
            raise typer.Exit(INTERRUPTED) from None


def _without_types_of_flags(parameters: list[Any]) -> list[Any]:
    """
    Show `--dry-run` and not `--dry-run <bool>`.
    """
    for parameter in parameters:
        if isinstance(parameter, TyperOption) and parameter.is_flag:
            parameter.metavar = ""
    return parameters
