"""
The description of a webhook's endpoint, by a table `[notify.NAME]` of the TOML file or by flags.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator as After
from pydantic import BaseModel, ConfigDict, Field, Strict, ValidationError, model_validator
from pydantic import BeforeValidator as Before
from pydantic_core import PydanticCustomError

from syncsvc.settings import values, webhook_values
from syncsvc.settings.sources import printable, shown

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

TABLE = "notify"
NAME = re.compile(r"[A-Za-z0-9_-]{1,100}")
NAME_RULE = "1 to 100 letters, digits, hyphens and underscores"
PATTERNS = "a list of one or more patterns, with * for any characters"
EVENT_TYPES = (
    *("number.added", "number.provisioned", "number.changed", "number.cancelled"),
    *("number.reinstated", "run.published", "run.withheld"),
    *("account.failing", "account.recovered"),
)

_Flag = Annotated[bool, Strict(), Before(values.flag), Field(description="true or false")]


class Webhook(BaseModel):
    """
    What is said of an endpoint. A field's description is what is accepted.

    Attributes:
        events: Patterns of the types of event that it gets.
        accounts: Patterns of the accounts whose events it gets.
        bulk: It gets every number of a first or very large run.
        allow_http: Plain http may go to other hosts than loopback.
        allow_private: Its host may have a private address.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    url: Annotated[
        str,
        After(webhook_values.webhook_url),
        Field(description="an https address without user and fragment, or an http one to loopback"),
    ]
    events: Annotated[
        tuple[str, ...],
        Before(webhook_values.patterns_of(EVENT_TYPES)),
        Field(min_length=1, description=f"{PATTERNS}, of these: {', '.join(EVENT_TYPES)}"),
    ] = ("*",)
    accounts: Annotated[
        tuple[str, ...], Before(webhook_values.patterns), Field(min_length=1, description=PATTERNS)
    ] = ("*",)
    bulk: _Flag = False
    allow_http: _Flag = False
    allow_private: _Flag = False

    @model_validator(mode="after")
    def _address_is_allowed(self) -> Self:
        if values.is_loopback(self.url):
            return self
        if self.url.startswith("http:") and not self.allow_http:
            raise PydanticCustomError(
                "plain", "is plain http to another host; {way}", {"way": "allow_http allows it"}
            )
        if not self.allow_private and not may_be_public(urlsplit(self.url).hostname or ""):
            raise PydanticCustomError(
                "private", "is a private address; {way}", {"way": "allow_private allows it"}
            )
        return self


def may_be_public(host: str) -> bool:
    """
    Return whether a host is a name, or a public address.
    """
    try:
        return webhook_values.is_public(ipaddress.ip_address(host))
    except ValueError:
        return True


def judged(name: str, table: object, where: str) -> tuple[Webhook | None, list[str]]:
    """
    Return an endpoint's description, or a line for each problem.

    Args:
        where: A path or flag, for messages.
    """
    title = f"[{TABLE}.{printable(name)}]{where}"
    if not NAME.fullmatch(name):
        return None, [f"{title}: the name is not accepted; give {NAME_RULE}"]
    if not isinstance(table, dict):
        return None, [f"{title}: {shown(table)} is not a table; give url = …"]
    try:
        return Webhook.model_validate(table), []
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
    return None, [f"{title}: {_problem(detail)}" for detail in details]


def _problem(detail: Mapping[str, Any]) -> str:
    """
    Return what is wrong with a field, without its value: a URL may contain a token.
    """
    field = str(detail["loc"][0]) if detail["loc"] else "url"
    if detail["type"] == "missing":
        return f"{field} is missing; give {_accepted(field)}"
    if detail["type"] == "extra_forbidden":
        return f"{printable(field)} is unknown; there are {', '.join(Webhook.model_fields)}"
    if not detail["loc"]:
        return f"{field} {detail['msg']}"
    reason = detail.get("ctx", {}).get("error", "is not accepted")
    return f"{field} {reason}; give {_accepted(field)}"


def _accepted(field: str) -> str:
    return str(Webhook.model_fields[field].description)


def without_query(url: str) -> str:
    """
    Return an address for people to read: its query may have a token.
    """
    address, query, _ = url.partition("?")
    return f"{address}?…" if query else address
