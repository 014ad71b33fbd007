from __future__ import annotations

import traceback
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr

from syncsvc.accounts import account_settings, rows, sealing
from syncsvc.accounts.rows import Account
from syncsvc.errors import ConfigurationError, UnknownAccount
from syncsvc.schema.tables import accounts
from syncsvc.settings.loading import load_settings
from syncsvc.settings.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Engine

    from support.build import Clock

KEY, OTHER_KEY = (Fernet.generate_key().decode() for _ in range(2))
SECRET = "hunter2-never-show-this"


def process(**values: Any) -> Settings:
    """
    The settings of a process with a key and credentials of its own account.
    """
    return Settings.model_validate({"accounts_key": KEY, "api_token": "the-process's", **values})


def sealed(account: str, **credentials: str) -> str:
    """
    Sealed credentials; a token, unless others are given.
    """
    given = credentials or {"api_token": SECRET}
    secrets = {name: SecretStr(text) for name, text in given.items()}
    return sealing.seal(process(), account, secrets)


def berlin(**settings: Any) -> Account:
    """
    An account with a token and these settings.
    """
    return Account(name="berlin", settings=settings, sealed=sealed("berlin"))


def refusal(account: Account, settings: Settings | None = None) -> str:
    """
    The error about an account's settings, in which there is no secret.
    """
    with pytest.raises(ConfigurationError) as caught:
        account_settings.complete(account, settings or process())
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    return str(caught.value)


def test_the_row_wins_over_every_other_source(engine: Engine, tmp_path: Path) -> None:
    """
    A row's setting wins over flag, environment and file; what it lacks is the process's.
    """
    file = tmp_path / "syncsvc.toml"
    file.write_text("page_size = 3\nconcurrency = 3")
    environ = {"SYNCSVC_PAGE_SIZE": "4", "SYNCSVC_API_RETRIES": "4", "SYNCSVC_ACCOUNTS_KEY": KEY}
    settings = load_settings(
        flags={"page_size": 5, "account": "by-flag"},
        environ={**environ, "SYNCSVC_CONFIG": str(file)},
    )
    with engine.begin() as connection:
        rows.add(connection, berlin(page_size=6, run_deadline="2h"))

    with engine.connect() as connection:
        found = account_settings.settings_of(connection, "berlin", settings)

    assert (found.account, found.page_size, found.api_retries, found.concurrency) == (
        *("berlin", 6, 4),
        3,
    )
    assert found.run_deadline == timedelta(hours=2)
    assert found.api_token is not None
    assert found.api_token.get_secret_value() == SECRET
    assert found.database_url == settings.database_url


def test_files_win_over_sealed_credentials(tmp_path: Path) -> None:
    """
    Credential files replace all of the row's credentials, also those of another kind.
    """
    (tmp_path / "berlin").mkdir()
    for name in ("api_client_id", "api_client_secret"):
        (tmp_path / "berlin" / name).write_text(f"{name}\n")

    found = account_settings.complete(berlin(), process(accounts_dir=str(tmp_path)))

    assert (found.api_token, found.api_client_id) == (None, SecretStr("api_client_id"))


def test_nobody_signs_in_with_another_accounts_credentials(tmp_path: Path) -> None:
    """
    An account without credentials is refused; those of the process are another account's.
    """
    account = Account(name="my account")

    message = refusal(account, process(accounts_dir=str(tmp_path), account="my account"))

    assert message == (
        "Account 'my account' has no credentials. Seal them in its row with `syncsvc accounts add "
        f"'my account' --credentials FILE`, or put files into {tmp_path}/my account: api_token, "
        "or api_client_id and api_client_secret."
    )


def test_a_row_may_lack_a_part_of_the_credentials() -> None:
    """
    A client without its secret is refused as in the environment, and so are both kinds at once.
    """
    half = sealed("berlin", api_client_id=SECRET)
    both = sealed("berlin", api_token=SECRET, api_client_id=SECRET, api_client_secret=SECRET)

    first = refusal(Account(name="berlin", sealed=half))
    second = refusal(Account(name="berlin", sealed=both))

    assert first.startswith("Account 'berlin': SYNCSVC_API_CLIENT_SECRET: is not set but")
    assert "SYNCSVC_API_TOKEN (sealed): can't be used together with" in second


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (
            {"page_size": "many"},
            "SYNCSVC_PAGE_SIZE: 'many' is not a whole number; give a whole number from 1 to 200",
        ),
        ({"schedule": "* * *"}, "SYNCSVC_SCHEDULE: '* * *' has 3 fields; a crontab has 5"),
        ({"page_size": None}, "SYNCSVC_PAGE_SIZE: None is not accepted"),
        ({"api_url": f"https://u:{SECRET}@h"}, "SYNCSVC_API_URL: the value (not shown) has a user"),
        ({"pagesize": 1}, "pagesize: unknown setting; did you mean page_size?"),
        ({"page_size\n": 1}, "'page_size\\n': unknown setting; did you mean page_size?"),
        ({"api_token": SECRET}, "api_token: a secret is never stored as a setting; give it with"),
        ({"account": "x"}, "account: an account keeps its name; add another account instead"),
        *(
            ({name: 1}, f"{name}: all accounts of a process share it; set SYNCSVC_{name.upper()}")
            for name in (
                *("database_url", "http_host", "http_port", "log_level", "log_format"),
                *("fleet_slots", "fleet_slow_slots", "accounts_key", "accounts_dir", "keep_runs"),
                *("metrics_accounts", "rate_scope"),
            )
        ),
    ],
)
def test_a_wrong_setting_is_named_with_its_account(settings: dict[str, Any], says: str) -> None:
    """
    The error has a line for the setting, its account and what to do; no secret is shown.
    """
    assert refusal(berlin(**settings)).startswith(f"Account 'berlin': {says}")


def test_all_problems_of_a_row_are_lines() -> None:
    """
    Each wrong setting of a row has a line that names the account.
    """
    lines = refusal(berlin(page_size=0, concurrency=0, schedule="1w")).splitlines()

    assert [line.split(": ")[:2] for line in lines] == [
        ["Account 'berlin'", f"SYNCSVC_{name}"] for name in ("PAGE_SIZE", "CONCURRENCY", "SCHEDULE")
    ]


def test_a_setting_is_judged_beside_those_of_the_process() -> None:
    """
    Plain http is refused in a row, unless the process or the row allows it.
    """
    plain = berlin(api_url="http://api.example.com")

    assert "SYNCSVC_API_URL: 'http://api.example.com' is plain http" in refusal(plain)
    allowed = account_settings.complete(plain, process(api_allow_http=True))
    assert allowed.api_url == "http://api.example.com"


def test_an_account_without_a_row_is_unknown(engine: Engine) -> None:
    """
    The error names those that are most similar.
    """
    with engine.begin() as connection:
        rows.add(connection, berlin())
    with engine.connect() as connection, pytest.raises(UnknownAccount) as caught:
        account_settings.settings_of(connection, "berlim", process())

    assert str(caught.value).startswith("There is no account 'berlim'. There are: berlin.")


def test_a_lost_key_stops_that_account_alone(engine: Engine) -> None:
    """
    Of two accounts, the one whose key was lost is refused by name; the other has its settings.
    """
    lost = sealing.seal(process(accounts_key=OTHER_KEY), "lost", {"api_token": SecretStr(SECRET)})
    with engine.begin() as connection:
        rows.add(connection, berlin())
        rows.add(connection, Account(name="lost", sealed=lost))

    with engine.connect() as connection:
        found = account_settings.settings_of(connection, "berlin", process())
        with pytest.raises(ConfigurationError, match="account 'lost'") as caught:
            account_settings.settings_of(connection, "lost", process())

    assert found.api_token == SecretStr(SECRET)
    assert "syncsvc accounts add lost --credentials FILE" in str(caught.value)
    assert "syncsvc accounts reseal" in str(caught.value)


def test_settings_are_stored_in_one_form() -> None:
    """
    However a value was written, it is stored as JSON has it, and read back as the same.
    """
    written = {
        "page_size": "50",
        "api_timeout": 5,
        "api_allow_http": "yes",
        "run_deadline": "7200s",
        "ignored_fields": "a , b",
        "currency": "eur",
        "api_url": "https://api.example.com/",
        "schedule": " 15m ",
    }
    account = Account(name="berlin", settings=written)

    stored = account_settings.as_stored(account, process())

    assert stored == {
        "page_size": 50,
        "api_timeout": 5.0,
        "api_allow_http": True,
        "run_deadline": "2h",
        "ignored_fields": ["a", "b"],
        "currency": "EUR",
        "api_url": "https://api.example.com",
        "schedule": "15m",
    }
    again = msgspec.structs.replace(
        account, settings=msgspec.json.decode(msgspec.json.encode(stored))
    )
    assert account_settings.as_stored(again, process()) == stored
    assert account_settings.without_credentials(
        again, process()
    ) == account_settings.without_credentials(account, process())


def test_the_settings_of_a_process_can_be_a_row() -> None:
    """
    What differs from the defaults and may be a row's, is; secrets and the process's own are not.
    """
    settings = process(page_size=50, schedule="6h", concurrency=4, log_level="debug", http_port=1)

    assert account_settings.overrides(settings) == {"page_size": 50, "schedule": "6h"}


def test_rows_are_read_as_they_were_written(engine: Engine) -> None:
    """
    An account is read back with all that it has; a paused one is not among those enabled.
    """
    first = Account(
        name="Zürich 1", settings={"page_size": 5, "ignored_fields": ["a"]}, labels={"tier": "gold"}
    )
    second = Account(name="a'b; DROP TABLE accounts", enabled=False, sealed="sealed")
    with engine.begin() as connection:
        for account in (first, second):
            rows.add(connection, account)

    with engine.connect() as connection:
        found = {account.name: account for account in rows.every(connection)}
        assert found == {first.name: first, second.name: second}
        assert rows.enabled(connection) == ["Zürich 1"]
        assert rows.find(connection, second.name) == second


def test_an_account_is_added_once(engine: Engine) -> None:
    """
    A second account of the same name is refused with what to do instead.
    """
    with engine.begin() as connection:
        rows.add(connection, berlin())

    with engine.connect() as connection, pytest.raises(ConfigurationError) as caught:
        rows.add(connection, berlin())

    assert "an account 'berlin' already" in str(caught.value)
    assert SECRET not in repr(caught.value)


def test_a_change_is_written_with_its_time(engine: Engine, clock: Clock) -> None:
    """
    A changed row has all that it was given, and removal leaves nothing of it.
    """
    with engine.begin() as connection:
        rows.add(connection, berlin())
        clock.time += timedelta(hours=1)
        found = rows.require_for_change(connection, "berlin")
        rows.change(connection, msgspec.structs.replace(found, enabled=False, sealed=None))
    with engine.connect() as connection:
        after = rows.require(connection, "berlin")
        times = connection.execute(accounts.select()).mappings().one()

    assert after == Account(name="berlin", enabled=False)
    assert times["changed_at"] - times["added_at"] == timedelta(hours=1)
    with engine.begin() as connection:
        rows.remove(connection, "berlin")
        assert rows.every(connection) == []


def test_a_row_written_by_hand_is_judged(engine: Engine) -> None:
    """
    Settings that somebody wrote with SQL are judged when they are used.
    """
    with engine.begin() as connection:
        rows.add(connection, berlin())
        connection.execute(accounts.update().values(settings={"page_size": 201}))

    with (
        engine.connect() as connection,
        pytest.raises(ConfigurationError, match="PAGE_SIZE: 201 is out of range"),
    ):
        account_settings.settings_of(connection, "berlin", process())
