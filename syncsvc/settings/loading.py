"""
Read the settings from flags, environment, credential files and TOML, and judge them.

All problems are reported together, each under the name of its variable; no message shows a secret.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pydantic import ValidationError

from syncsvc.errors import ConfigurationError
from syncsvc.settings import webhook_endpoints
from syncsvc.settings.settings import Settings
from syncsvc.settings.sources import SECRETS, Found, gather, shown, variable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic_core import ErrorDetails

    from syncsvc.settings.sources import Table
    from syncsvc.settings.webhook_endpoints import Webhook

REASONS = dict.fromkeys(
    ("greater_than", "greater_than_equal", "less_than", "less_than_equal"), "is out of range"
)


def load_settings(
    *, flags: Mapping[str, object] | None = None, environ: Mapping[str, str] | None = None
) -> Settings:
    """
    Read every setting, from this environment or the process's own.

    Raises:
        ConfigurationError: There are problems; it has a line for each.
    """
    gathered = gather(
        Settings.model_fields,
        flags=flags or {},
        environ=os.environ if environ is None else environ,
    )
    settings, refused = judged(gathered.found, complete=not gathered.problems)
    described, wrong = _webhooks(gathered.tables)
    problems = gathered.problems + refused + wrong
    if problems or settings is None:
        raise ConfigurationError("\n".join(problems))
    return settings.with_webhooks(described)


def _webhooks(tables: Mapping[str, Table]) -> tuple[dict[str, Webhook], list[str]]:
    """
    Return the endpoints that the TOML file describes, and a line for each problem.
    """
    table = tables.get(webhook_endpoints.TABLE)
    if table is None:
        return {}, []
    if not isinstance(table.value, dict):
        problem = f"{webhook_endpoints.TABLE}{table.where}: is not a table; write [notify.NAME]"
        return {}, [problem]
    found: dict[str, Webhook] = {}
    problems = []
    for name, described in table.value.items():
        webhook, wrong = webhook_endpoints.judged(name, described, table.where)
        problems += wrong
        found |= {name: webhook} if webhook else {}
    return found, problems


def judged(found: Mapping[str, Found], *, complete: bool) -> tuple[Settings | None, list[str]]:
    """
    Return the settings, or a line for each that is refused, without a secret's value.

    Args:
        complete: Every source could be read; otherwise a setting that seems to be missing
            may not be.
    """
    try:
        return Settings.model_validate({name: item.value for name, item in found.items()}), []
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
    return None, [_line(detail, found) for detail in details if complete or detail["loc"]]


def _line(detail: ErrorDetails, found: Mapping[str, Found]) -> str:
    """
    Format a problem: variable, source, value, what is wrong with it, what is accepted.
    """
    context = detail.get("ctx", {})
    name = str(context.get("setting") or detail["loc"][0])
    item = found.get(name, Found(value=None))
    start = f"{variable(name)}{item.where}:"
    if not detail["loc"]:
        return f"{start} {detail['msg']}"
    reason = context.get("error", REASONS.get(detail["type"], "is not accepted"))
    accepted = Settings.model_fields[name].description
    return f"{start} {_subject(name, item.value)} {reason}; give {accepted}"


def _subject(name: str, value: object) -> str:
    """
    Return the value if it can be shown; an address may have a password in the wrong place.
    """
    hidden = name in SECRETS or (name == "api_url" and any(sign in str(value) for sign in "@?#"))
    return "the value (not shown)" if hidden else shown(value)
