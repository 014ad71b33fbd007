"""
Settings: environment, credential files and TOML to one frozen object.

`load_settings` reads everything once and reports every problem in one go,
each under the name of its variable. Secrets are wrapped from the start, and
no message, `repr` or dump ever holds one.
"""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator as After
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    Strict,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic import BeforeValidator as Before
from pydantic_core import PydanticCustomError

from syncsvc.errors import ConfigurationError
from syncsvc.settings import values
from syncsvc.settings.sources import SECRETS, Found, gather, shown, variable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic_core import ErrorDetails
    from sqlalchemy import URL

_Whole = Annotated[int, Strict(), Before(values.whole)]
_Decimal = Annotated[float, Strict(), Before(values.decimal)]
_Credential = Annotated[
    SecretStr | None,
    Before(values.credential),
    Field(description="visible ASCII characters without white space"),
]
_INTERVAL = "an interval from 1s to 365d such as 90s, 15m, 6h or 1d"
_API_URL = (
    "an https address without user, query or fragment, or an http one to loopback "
    "(to anywhere with SYNCSVC_API_ALLOW_HTTP=true)"
)
_DATABASE_URL = (
    "sqlite:///FILE or postgresql://USER:PASSWORD@HOST/DATABASE "
    "(SQLite with pysqlite and PostgreSQL with psycopg are supported)"
)


class Settings(BaseModel):
    """
    What was found for each setting, or its default.

    A description says what is accepted, and ends the message about anything else.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    # Stands before api_url, which is judged by it.
    api_allow_http: Annotated[
        bool, Strict(), Before(values.flag), Field(description="true or false")
    ] = False
    api_url: Annotated[str, After(values.api_url), Field(description=_API_URL)] = (
        "https://cloudlx.epsilontel.com"
    )
    api_token: _Credential = None
    api_client_id: _Credential = None
    api_client_secret: _Credential = None
    api_timezone: Annotated[
        str,
        After(values.timezone),
        Field(description="an IANA time zone such as UTC or Europe/London"),
    ] = "UTC"
    api_timeout: Annotated[
        _Decimal, Field(gt=0, le=3600, description="seconds, more than 0 and at most 3600")
    ] = 30.0
    api_retries: Annotated[
        _Whole, Field(ge=0, le=100, description="a whole number from 0 to 100")
    ] = 5
    page_size: Annotated[
        _Whole, Field(ge=1, le=200, description="a whole number from 1 to 200")
    ] = 200
    concurrency: Annotated[
        _Whole, Field(ge=1, le=64, description="a whole number from 1 to 64")
    ] = 4
    database_url: Annotated[
        SecretStr, Before(values.database_url), Field(description=_DATABASE_URL)
    ] = SecretStr("sqlite:///syncsvc.db")
    account: Annotated[
        str,
        After(values.account),
        Field(description="1 to 100 printable characters, no white space at either end"),
    ] = "default"
    schedule: Annotated[
        str, After(values.schedule), Field(description=f"{_INTERVAL}, or a five-field crontab")
    ] = "15m"
    run_deadline: Annotated[timedelta, Before(values.interval), Field(description=_INTERVAL)] = (
        timedelta(hours=1)
    )
    keep_rejects: Annotated[timedelta, Before(values.interval), Field(description=_INTERVAL)] = (
        timedelta(days=90)
    )
    cancel_guard_percent: Annotated[
        _Decimal, Field(ge=0, le=100, description="a number from 0 to 100")
    ] = 10.0
    cancel_guard_count: Annotated[
        _Whole, Field(ge=0, description="a whole number that is 0 or more")
    ] = 10
    cancelled_listing: Annotated[
        Literal["auto", "on", "off"], Field(description='"auto", "on" or "off"')
    ] = "auto"
    currency: Annotated[
        str | None,
        Before(values.currency),
        Field(description="the three letters of an ISO 4217 code, such as EUR"),
    ] = None
    http_host: Annotated[
        str,
        After(values.host),
        Field(description="a host name or an IP address, without port or brackets"),
    ] = "127.0.0.1"
    http_port: Annotated[
        _Whole, Field(ge=0, le=65535, description="a whole number from 0 to 65535")
    ] = 9464
    log_level: Annotated[
        Literal["debug", "info", "warning", "error", "critical"],
        Before(values.lower),
        Field(description="debug, info, warning, error or critical"),
    ] = "info"
    log_format: Annotated[
        Literal["auto", "console", "json"], Field(description="auto, console or json")
    ] = "auto"

    @field_validator("api_url", mode="after")
    @classmethod
    def _plain_http_stays_here(cls, address: str, info: ValidationInfo) -> str:
        allowed = info.data.get("api_allow_http", True)  # absent where it was refused itself
        if address.startswith("http:") and not allowed and not values.is_loopback(address):
            raise ValueError("is plain http to another machine")
        return address

    @model_validator(mode="after")
    def _one_way_to_sign_in(self) -> Self:
        client = {name: getattr(self, name) for name in ("api_client_id", "api_client_secret")}
        given = [variable(name) for name, value in client.items() if value]
        missing = [name for name, value in client.items() if not value]
        if self.api_token and given:
            problem = f"can't be used together with {' and '.join(given)}; unset one or the other"
            raise PydanticCustomError("sign_in", "{problem}", _context("api_token", problem))
        if given and missing:
            problem = f"is not set, and {given[0]} is; the two go together"
            raise PydanticCustomError("sign_in", "{problem}", _context(missing[0], problem))
        return self

    @property
    def timezone(self) -> ZoneInfo:
        """
        The zone of the provider's timestamps.
        """
        return ZoneInfo(self.api_timezone)

    @property
    def interval(self) -> timedelta | None:
        """
        The time between two scheduled runs; None where the schedule is a crontab.
        """
        if not values.is_interval(self.schedule):
            return None
        length = values.interval(self.schedule)
        assert isinstance(length, timedelta)  # noqa: S101 - it was judged when it was read
        return length

    def with_secrets_of(self, other: Settings) -> Settings:
        """
        These settings with the credentials of others, which were rotated.
        """
        return self.model_copy(update={name: getattr(other, name) for name in SECRETS})

    @property
    def database(self) -> URL:
        """
        The database, password included, with the driver that is used for it.
        """
        return values.database(self.database_url.get_secret_value())

    def require_credentials(self) -> None:
        """
        Make sure that there is something to sign in with.

        Raises:
            ConfigurationError: There is neither a token nor a client.
        """
        if not self.api_token and not self.api_client_id:
            raise ConfigurationError(
                "There are no credentials for the provider: set SYNCSVC_API_TOKEN, or "
                "SYNCSVC_API_CLIENT_ID and SYNCSVC_API_CLIENT_SECRET."
            )

    def redacted(self) -> dict[str, str]:
        """
        Every setting as text, without the secrets; an empty text where it is not set.
        """
        texts = {name: _text(getattr(self, name)) for name in type(self).model_fields}
        return texts | {"database_url": values.without_secrets(self.database)}


def load_settings(
    *, flags: Mapping[str, object] | None = None, environ: Mapping[str, str] | None = None
) -> Settings:
    """
    Read every setting, by the environment given or the process's own.

    Raises:
        ConfigurationError: With a line for every problem there is.
    """
    gathered = gather(
        Settings.model_fields,
        flags=flags or {},
        environ=os.environ if environ is None else environ,
    )
    settings, refused = _judge(gathered.found, complete=not gathered.problems)
    problems = gathered.problems + refused
    if problems or settings is None:
        raise ConfigurationError("\n".join(problems))
    return settings


def _judge(found: Mapping[str, Found], *, complete: bool) -> tuple[Settings | None, list[str]]:
    """
    The settings, or a line for each that is refused.

    Where some could not be read, whether the others go together can't be told.
    """
    try:
        return Settings.model_validate({name: item.value for name, item in found.items()}), []
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
    return None, [_line(detail, found) for detail in details if complete or detail["loc"]]


def _line(detail: ErrorDetails, found: Mapping[str, Found]) -> str:
    """
    The variable, where the value came from, what is wrong with it, what is accepted.
    """
    context = detail.get("ctx", {})
    name = str(context.get("setting") or detail["loc"][0])
    item = found.get(name, Found(value=None))
    start = f"{variable(name)}{item.where}:"
    if not detail["loc"]:
        return f"{start} {detail['msg']}"
    reason = context.get("error", "is not accepted")
    accepted = Settings.model_fields[name].description
    return f"{start} {_subject(name, item.value)} {reason}; give {accepted}"


def _subject(name: str, value: object) -> str:
    """
    The value where it can be shown; an address may hold a password in the wrong place.
    """
    hidden = name in SECRETS or (name == "api_url" and any(sign in str(value) for sign in "@?#"))
    return "the value (not shown)" if hidden else shown(value)


def _context(name: str, problem: str) -> dict[str, str]:
    return {"setting": name, "problem": problem}


def _text(value: object) -> str:
    match value:
        case None:
            return ""
        case SecretStr():
            return "***"
        case bool():
            return str(value).lower()
        case timedelta():
            return values.interval_text(value)
        case float() if value.is_integer():
            return str(int(value))
        case _:
            return str(value)
