"""
The secrets of endpoints, and the signatures made with them, as Standard Webhooks has them.

While a secret is rotated there are two, and both sign.
"""

from __future__ import annotations

import base64
import os
import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from syncsvc.accounts import sealing
from syncsvc.errors import ConfigurationError
from syncsvc.settings.sources import UnreadableError, credential_directories, credential_file
from syncsvc.settings.webhook_values import is_webhook_secret

if TYPE_CHECKING:
    from syncsvc.notify.endpoint_rows import Endpoint
    from syncsvc.notify.events import Event
    from syncsvc.settings.settings import Settings

PREFIX = "whsec_"
SECRET_SIZE = 32  # bytes; the specification allows 24 to 64
MOST_SECRETS = 2


def new_secret() -> str:
    """
    Return a new random secret.
    """
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_SIZE)).decode()


def seal(settings: Settings, endpoint: str, signing_secrets: list[str]) -> str:
    """
    Seal the secrets of an endpoint with the first key, the newest secret first.

    Raises:
        ConfigurationError: There is no key.
    """
    if settings.accounts_key is None:
        raise ConfigurationError(
            "SYNCSVC_ACCOUNTS_KEY is not set, so the endpoint's secret can't be sealed. Set it to "
            "a Fernet key (`openssl rand -base64 32` prints one), or describe the endpoint in the "
            f"TOML file of the settings, as [notify.{endpoint}], with its secret in the "
            f"credential file notify_{endpoint}_secret."
        )
    content = {"endpoint": endpoint, "secrets": " ".join(signing_secrets)}
    return sealing.seal_content(settings, content)


def secrets_of(settings: Settings, endpoint: Endpoint) -> list[str]:
    """
    Return the secrets of an endpoint, sealed ones or those of its file.

    Raises:
        ConfigurationError: They can't be read or opened; it names the endpoint.
    """
    if endpoint.sealed is None:
        return _of_file(endpoint.name)
    content = sealing.open_content(settings, endpoint.sealed)
    if content is None or content.get("endpoint") != endpoint.name:
        raise ConfigurationError(
            f"No key in SYNCSVC_ACCOUNTS_KEY opens the sealed secret of endpoint "
            f"{endpoint.name!r}. Add the key that sealed it, or remove the endpoint and add it "
            "again."
        )
    return content["secrets"].split()


def headers(event: Event, signing_secrets: list[str], now: datetime) -> dict[str, str]:
    """
    Return the headers of an attempt to send an event.
    """
    from standardwebhooks import Webhook  # noqa: PLC0415 - most commands need none

    moment, body = now.astimezone(UTC), event.body.decode()
    signatures = [Webhook(secret).sign(event.id, moment, body) for secret in signing_secrets]
    return {
        "webhook-id": event.id,
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


def file_name(endpoint: str) -> str:
    """
    Return the name of the credential file with an endpoint's secret.
    """
    return f"notify_{endpoint}_secret"


def _of_file(endpoint: str) -> list[str]:
    name = file_name(endpoint)
    try:
        found = credential_file(name, list(credential_directories(os.environ)))
    except UnreadableError as error:
        raise ConfigurationError(f"Endpoint {endpoint!r}{error}.") from None
    if found is None:
        raise ConfigurationError(
            f"Endpoint {endpoint!r} has no secret. Write one, whsec_ and 24 to 64 random bytes in "
            f"base64, into the credential file {name} ($CREDENTIALS_DIRECTORY or "
            "/run/secrets/syncsvc)."
        )
    written = str(found.value).split()
    if not 1 <= len(written) <= MOST_SECRETS or not all(map(is_webhook_secret, written)):
        raise ConfigurationError(
            f"Endpoint {endpoint!r}{found.where}: the file has something else than one secret, or "
            "two while one is rotated: whsec_ and 24 to 64 bytes in base64, one per line."
        )
    return written
