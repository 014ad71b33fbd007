from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest
from cryptography.fernet import Fernet
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from syncsvc.accounts import sealing
from syncsvc.errors import ConfigurationError
from syncsvc.settings.loading import load_settings
from syncsvc.settings.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

OLD, NEW, OTHER = (Fernet.generate_key().decode() for _ in range(3))
SECRET = "hunter2-never-show-this"
TOKEN = {"api_token": SecretStr(SECRET)}
NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=100)
CREDENTIAL = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1)


def keys(*which: str) -> Settings:
    """
    Settings with these keys.
    """
    return Settings(accounts_key=SecretStr("\n".join(which)) if which else None)


def plain(credentials: Mapping[str, SecretStr]) -> dict[str, str]:
    """
    Credentials in clear text.
    """
    return {name: secret.get_secret_value() for name, secret in credentials.items()}


@given(name=NAMES, client_id=CREDENTIAL, secret=CREDENTIAL)
def test_what_was_sealed_is_opened(name: str, client_id: str, secret: str) -> None:
    """
    Any credentials of any account are read back as they were, and the seal shows neither.
    """
    written = {"api_client_id": SecretStr(client_id), "api_client_secret": SecretStr(secret)}

    sealed = sealing.seal(keys(NEW), name, written)

    assert plain(sealing.unseal(keys(NEW), name, sealed)) == plain(written)
    assert len(secret) < 5 or secret not in sealed


def test_every_key_opens_and_the_first_seals() -> None:
    """
    After a key was put before the old one, both open, and new seals need the new one alone.
    """
    before = sealing.seal(keys(OLD), "berlin", TOKEN)
    after = sealing.seal(keys(NEW, OLD), "berlin", TOKEN)

    assert plain(sealing.unseal(keys(NEW, OLD), "berlin", before)) == plain(TOKEN)
    assert plain(sealing.unseal(keys(NEW), "berlin", after)) == plain(TOKEN)
    with pytest.raises(ConfigurationError):
        sealing.unseal(keys(OLD), "berlin", after)


def test_a_key_may_have_the_usual_alphabet_of_base64() -> None:
    """
    `openssl rand -base64 32` prints + and / in place of - and _: such a key seals and opens, too.
    """
    key = base64.b64encode(bytes([251, 255, 191] * 10 + [0, 0])).decode()
    settings = load_settings(environ={"SYNCSVC_ACCOUNTS_KEY": key})

    sealed = sealing.seal(settings, "berlin", TOKEN)

    assert {"+", "/"} <= {*key}
    assert plain(sealing.unseal(settings, "berlin", sealed)) == plain(TOKEN)


@pytest.mark.parametrize(
    ("given_keys", "says"),
    [
        ((OTHER,), "No key in SYNCSVC_ACCOUNTS_KEY opens the sealed credentials of account"),
        ((), "SYNCSVC_ACCOUNTS_KEY is not set. Set it to the key that sealed them."),
    ],
)
def test_a_lost_key_is_reported_with_the_account(given_keys: tuple[str, ...], says: str) -> None:
    """
    Without the key, the error names account and setting, and no secret is in its traceback.
    """
    sealed = sealing.seal(keys(OLD), "my account", TOKEN)

    with pytest.raises(ConfigurationError) as caught:
        sealing.unseal(keys(*given_keys), "my account", sealed)

    message = str(caught.value)
    assert says in message
    assert "'my account'" in message
    assert "accounts add 'my account' --credentials" in message or not given_keys
    assert sealed not in message


@pytest.mark.parametrize("damage", ["{}x", "x{}", "", "not a seal"])
def test_a_damaged_seal_is_not_opened(damage: str) -> None:
    """
    A seal that was changed is refused, as one of an unknown key is.
    """
    sealed = sealing.seal(keys(OLD), "berlin", TOKEN)

    with pytest.raises(ConfigurationError, match="No key in SYNCSVC_ACCOUNTS_KEY opens"):
        sealing.unseal(keys(OLD), "berlin", damage.format(sealed[1:-1]))


def test_a_seal_belongs_to_its_account() -> None:
    """
    Sealed credentials that were copied into another account's row don't open there.
    """
    sealed = sealing.seal(keys(OLD), "berlin", TOKEN)

    with pytest.raises(ConfigurationError, match="account 'paris'"):
        sealing.unseal(keys(OLD), "paris", sealed)


def test_nothing_is_sealed_without_a_key() -> None:
    """
    Without a key, nothing is stored in clear text instead: the setting is asked for.
    """
    with pytest.raises(ConfigurationError, match="SYNCSVC_ACCOUNTS_KEY is not set"):
        sealing.seal(keys(), "berlin", TOKEN)
