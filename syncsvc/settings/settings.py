"""
All settings as one frozen object, which judges each of them.

Secrets are wrapped as soon as they are validated: no message, `repr` or dump
contains one. `loading` reads the settings from their sources.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator as After
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    Strict,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic import BeforeValidator as Before
from pydantic_core import PydanticCustomError

from syncsvc.errors import ConfigurationError
from syncsvc.settings import database_url as db_url
from syncsvc.settings import values
from syncsvc.settings.sources import SECRETS, variable
from syncsvc.settings.webhook_endpoints import Webhook  # noqa: TC001 - pydantic resolves it

if TYPE_CHECKING:
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
    Every setting, as given or by default.

    A field's description is what is accepted; it ends the message about anything else.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    # Declared before api_url, whose validator reads it.
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
        SecretStr, Before(db_url.validated), Field(description=_DATABASE_URL)
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
    ignored_fields: Annotated[
        tuple[str, ...],
        Before(values.field_names),
        Field(description="names of fields with commas between them, such as served_at,meta.age"),
    ] = ()
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
    fleet_slots: Annotated[
        _Whole, Field(ge=2, le=64, description="a whole number from 2 to 64")
    ] = 8
    fleet_slow_slots: Annotated[
        _Whole, Field(ge=1, le=63, description="a whole number from 1 to 63")
    ] = 2
    accounts_key: Annotated[
        SecretStr | None,
        Before(values.sealing_keys),
        Field(description="Fernet keys, 32 random bytes in base64, one per line"),
    ] = None
    accounts_dir: Annotated[
        str | None,
        Before(values.directory),
        Field(description="the path of a directory, of printable characters"),
    ] = None
    keep_runs: Annotated[
        timedelta | None, Before(values.interval), Field(description=_INTERVAL)
    ] = None
    metrics_accounts: Annotated[
        _Whole, Field(ge=0, le=10_000, description="a whole number from 0 to 10000")
    ] = 100
    rate_scope: Annotated[Literal["host", "account"], Field(description='"host" or "account"')] = (
        "host"
    )

    _webhooks: dict[str, Webhook] = PrivateAttr(default_factory=dict)  # no setting of one value

    @field_validator("api_url", mode="after")
    @classmethod
    def _plain_http_is_allowed(cls, address: str, info: ValidationInfo) -> str:
        allowed = info.data.get("api_allow_http", True)  # absent if it was refused
        if address.startswith("http:") and not allowed and not values.is_loopback(address):
            raise ValueError("is plain http to another host")
        return address

    @model_validator(mode="after")
    def _one_kind_of_credentials(self) -> Self:
        client = {name: getattr(self, name) for name in ("api_client_id", "api_client_secret")}
        given = [variable(name) for name, value in client.items() if value]
        missing = [name for name, value in client.items() if not value]
        if self.api_token and given:
            problem = f"can't be used together with {' and '.join(given)}; unset one or the other"
            raise PydanticCustomError("sign_in", "{problem}", _context("api_token", problem))
        if given and missing:
            problem = f"is not set but {given[0]} is; set both or neither"
            raise PydanticCustomError("sign_in", "{problem}", _context(missing[0], problem))
        return self

    @model_validator(mode="after")
    def _a_fast_slot_is_left(self) -> Self:
        if self.fleet_slow_slots >= self.fleet_slots:
            problem = (
                f"{self.fleet_slow_slots} is not below SYNCSVC_FLEET_SLOTS, which is "
                f"{self.fleet_slots}; leave a slot for accounts that are not slow"
            )
            raise PydanticCustomError("slots", "{problem}", _context("fleet_slow_slots", problem))
        return self

    @property
    def webhooks(self) -> dict[str, Webhook]:
        """
        The endpoints that the TOML file describes, by name.
        """
        return self._webhooks

    def with_webhooks(self, webhooks: dict[str, Webhook]) -> Settings:
        """
        Return these settings with the endpoints of the TOML file.
        """
        settings = self.model_copy()
        settings._webhooks = webhooks  # noqa: SLF001 - of its own copy
        return settings

    @property
    def timezone(self) -> ZoneInfo:
        """
        The zone of the provider's timestamps.
        """
        return ZoneInfo(self.api_timezone)

    @property
    def interval(self) -> timedelta | None:
        """
        The time between two scheduled runs; None if the schedule is a crontab.
        """
        if not values.is_interval(self.schedule):
            return None
        length = values.interval(self.schedule)
        assert isinstance(length, timedelta)  # noqa: S101 - its validator accepted it
        return length

    def with_secrets_of(self, other: Settings) -> Settings:
        """
        Return these settings with the credentials of newer ones.
        """
        return self.model_copy(update={name: getattr(other, name) for name in SECRETS})

    @property
    def database(self) -> URL:
        """
        The database's URL, with its password and the driver that is used.
        """
        return db_url.openable(db_url.parsed(self.database_url.get_secret_value()))

    def require_credentials(self) -> None:
        """
        Refuse settings without credentials for the provider.

        Raises:
            ConfigurationError: There is neither a token nor a client id and secret.
        """
        if not self.api_token and not self.api_client_id:
            raise ConfigurationError(
                "There are no credentials for the provider: set SYNCSVC_API_TOKEN, or "
                "SYNCSVC_API_CLIENT_ID and SYNCSVC_API_CLIENT_SECRET."
            )

    def redacted(self) -> dict[str, str]:
        """
        Return every setting as text, without the secrets; an unset one is empty.
        """
        texts = {name: _text(getattr(self, name)) for name in type(self).model_fields}
        database = db_url.parsed(self.database_url.get_secret_value())
        return texts | {"database_url": db_url.without_secrets(database)}


def _context(name: str, problem: str) -> dict[str, str]:
    return {"setting": name, "problem": problem}


def _text(value: object) -> str:
    match value:
        case SecretStr():
            return "***"
        case tuple() | None:
            return ",".join(value or ())
        case bool():
            return str(value).lower()
        case timedelta():
            return values.interval_text(value)
        case float() if value.is_integer():
            return str(int(value))
        case _:
            return str(value)
