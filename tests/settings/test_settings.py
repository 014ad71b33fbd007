"""
Settings: their sources, their values, and that no secret is ever shown.
"""

from __future__ import annotations

import os
import traceback
from datetime import timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from syncsvc.errors import ConfigurationError
from syncsvc.settings import sources
from syncsvc.settings.loading import load_settings
from syncsvc.settings.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

SECRET = "hunter2-never-show-this"

DEFAULTS = {
    "api_url": "https://cloudlx.epsilontel.com",
    "api_token": "",
    "api_client_id": "",
    "api_client_secret": "",
    "api_timezone": "UTC",
    "api_timeout": "30",
    "api_retries": "5",
    "api_allow_http": "false",
    "page_size": "200",
    "concurrency": "4",
    "database_url": "sqlite:///syncsvc.db",
    "account": "default",
    "schedule": "15m",
    "run_deadline": "1h",
    "keep_rejects": "90d",
    "cancel_guard_percent": "10",
    "cancel_guard_count": "10",
    "cancelled_listing": "auto",
    "ignored_fields": "",
    "currency": "",
    "http_host": "127.0.0.1",
    "http_port": "9464",
    "log_level": "info",
    "log_format": "auto",
    "fleet_slots": "8",
    "fleet_slow_slots": "2",
    "accounts_key": "",
    "accounts_dir": "",
    "keep_runs": "",
    "metrics_accounts": "100",
    "rate_scope": "host",
}
KEY = "0123456789abcdef0123456789abcdefABCDEFGHIJ0="


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """
    Directories of the test's own in place of /etc and /run.
    """
    monkeypatch.setattr(sources, "CONFIG_FILE", tmp_path / "syncsvc.toml")
    monkeypatch.setattr(sources, "SECRETS_DIRECTORY", tmp_path / "secrets")
    (tmp_path / "secrets").mkdir()
    return tmp_path


def load(**values: str) -> Settings:
    """
    Settings from variables alone, named as fields.
    """
    return load_settings(environ={f"SYNCSVC_{name.upper()}": text for name, text in values.items()})


def problems(
    environ: Mapping[str, str] | None = None, flags: Mapping[str, object] | None = None
) -> list[str]:
    """
    The lines of the error about these settings.
    """
    with pytest.raises(ConfigurationError) as caught:
        load_settings(environ=environ or {}, flags=flags)
    return str(caught.value).splitlines()


def problem(**values: str) -> str:
    """
    The only line of the error about these variables.
    """
    [line] = problems({f"SYNCSVC_{name.upper()}": text for name, text in values.items()})
    return line


# Sources


def test_every_setting_has_the_documented_default() -> None:
    """
    With nothing given, each setting is the default of the published table.
    """
    assert load_settings(environ={}).redacted() == DEFAULTS


def test_the_environment_given_is_the_only_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    If an environment is given, the process's own is not used.
    """
    monkeypatch.setattr(os, "environ", {"SYNCSVC_PAGE_SIZE": "7", "page_size": "7"})

    assert load_settings(environ={}).page_size == 200


def test_the_environment_of_the_process_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Without an environment given, the process's own is read.
    """
    monkeypatch.setattr(os, "environ", {"SYNCSVC_PAGE_SIZE": "7"})

    assert load_settings().page_size == 7


def test_settings_built_directly_ignore_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Building Settings by hand takes nothing from the process's environment.
    """
    monkeypatch.setenv("ACCOUNT", "somebody")

    assert Settings().account == "default"


@pytest.mark.parametrize(
    ("higher", "lower"),
    [
        ("flag", "environment"),
        ("flag", "credential"),
        ("flag", "toml"),
        ("environment", "credential"),
        ("environment", "toml"),
        ("credential", "toml"),
        ("systemd", "credential"),
        ("toml", "default"),
        ("credential", "default"),
        ("systemd", "default"),
        ("environment", "default"),
        ("flag", "default"),
    ],
)
def test_one_source_wins_over_the_next(higher: str, lower: str, places: Path) -> None:
    """
    A flag wins over the environment, that over a credential file, that over TOML.
    """
    (places / "systemd").mkdir()
    environ = {"CREDENTIALS_DIRECTORY": str(places / "systemd")}
    flags: dict[str, object] = {"database_url": None}
    for source in (higher, lower):
        url = f"sqlite:///{source}.db"
        match source:
            case "flag":
                flags["database_url"] = url
            case "environment":
                environ["SYNCSVC_DATABASE_URL"] = url
            case "credential":
                (places / "secrets" / "database_url").write_text(url)
            case "systemd":
                (places / "systemd" / "database_url").write_text(url)
            case "toml":
                (places / "syncsvc.toml").write_text(f'database_url = "{url}"')

    settings = load_settings(flags=flags, environ=environ)

    assert settings.database.database == f"{higher}.db"


def test_an_empty_variable_is_refused() -> None:
    """
    A variable that is set but empty is an error, whatever its name.
    """
    environ = {"SYNCSVC_PAGE_SIZE": "", "SYNCSVC_CONFIG": "", "SYNCSVC_NONSENSE": ""}

    assert problems(environ) == [
        "SYNCSVC_CONFIG: is set but empty; unset it, or give a value",
        "SYNCSVC_NONSENSE: unknown setting; did you mean SYNCSVC_CONCURRENCY?",
        "SYNCSVC_PAGE_SIZE: is set but empty; unset it, or give a value",
    ]


@pytest.mark.parametrize("source", ["credential", "toml"])
def test_a_file_may_begin_with_a_byte_order_mark(source: str, places: Path) -> None:
    """
    Editors on Windows put one before UTF-8 text; it is not part of the value.
    """
    if source == "toml":
        (places / "syncsvc.toml").write_text('api_token = "abc"', encoding="utf-8-sig")
    else:
        (places / "secrets" / "api_token").write_text("abc", encoding="utf-8-sig")

    settings = load_settings(environ={})

    assert settings.api_token is not None
    assert settings.api_token.get_secret_value() == "abc"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_the_environment_is_utf8_in_every_locale(
    encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Variables and flags are decoded as UTF-8, also if Python decoded them otherwise.
    """

    def encode(text: str) -> bytes:
        return text.encode(encoding, "surrogateescape")

    written = "Zürich ☎".encode().decode(encoding, "surrogateescape")
    monkeypatch.setattr(os, "fsencode", encode)

    settings = load_settings(
        environ={"SYNCSVC_ACCOUNT": written},
        flags={"database_url": f"sqlite:///{written}.db"},
    )

    assert settings.account == "Zürich ☎"
    assert settings.database.database == "Zürich ☎.db"


def test_a_flag_that_is_no_setting_is_a_mistake_of_the_caller() -> None:
    """
    An unknown flag is a TypeError, for it was not the operator who made it up.
    """
    with pytest.raises(TypeError, match="colour"):
        load_settings(flags={"colour": "red"}, environ={})


def test_variables_in_other_cases_are_not_ours() -> None:
    """
    A variable whose prefix is in lower case is ignored.
    """
    assert load_settings(environ={"syncsvc_page_size": "7"}).page_size == 200


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("SYNCSVC_PAGESIZE", "SYNCSVC_PAGE_SIZE"),
        ("SYNCSVC_page_size", "SYNCSVC_PAGE_SIZE"),
        ("SYNCSVC_TOKEN", "SYNCSVC_API_TOKEN"),
        ("SYNCSVC_CONFG", "SYNCSVC_CONFIG"),
    ],
)
def test_an_unknown_variable_is_named_with_the_nearest(name: str, nearest: str) -> None:
    """
    A misspelt variable is an error that names the nearest known one, not its value.
    """
    assert problems({name: SECRET}) == [f"{name}: unknown setting; did you mean {nearest}?"]


def test_an_unknown_toml_key_is_named_with_the_nearest(places: Path) -> None:
    """
    A misspelt key is an error that names the nearest known key and the file.
    """
    file = places / "syncsvc.toml"
    file.write_text(f'pagesize = 1\n"two\\nlines" = "{SECRET}"')

    first, second = problems()

    assert first.endswith(": unknown setting; did you mean page_size?")
    assert first.startswith(f"pagesize in {file}: ")
    assert second.startswith(f"'two\\nlines' in {file}: ")


def test_the_config_file_is_no_setting_of_a_toml_file(places: Path) -> None:
    """
    A TOML file can't name another one.
    """
    (places / "syncsvc.toml").write_text('config = "other.toml"')

    [line] = problems()

    assert "unknown setting" in line


def test_the_file_named_is_read_instead_of_the_usual_one(places: Path) -> None:
    """
    SYNCSVC_CONFIG replaces the usual file.
    """
    (places / "syncsvc.toml").write_text("page_size = 50\nconcurrency = 2")
    (places / "mine.toml").write_text("page_size = 60")

    settings = load_settings(environ={"SYNCSVC_CONFIG": str(places / "mine.toml")})

    assert (settings.page_size, settings.concurrency) == (60, 4)


@pytest.mark.parametrize(("name", "why"), [("no.toml", "No such file"), ("secrets", "directory")])
def test_a_named_file_has_to_be_one(name: str, why: str, places: Path) -> None:
    """
    A missing file or a directory under SYNCSVC_CONFIG is an error that says so.
    """
    line = problem(config=str(places / name))

    assert line.startswith(f"SYNCSVC_CONFIG: the file {places / name} can't be read (")
    assert why in line


@pytest.mark.parametrize("name", ["/dev/zero", "large"])
def test_a_file_of_settings_has_an_end(name: str, places: Path) -> None:
    """
    A file that never ends, or has more than a mebibyte, is refused unread.
    """
    (places / "large").write_text("#" * 2**20 + "\n")
    (places / "secrets").mkdir(exist_ok=True)
    (places / "secrets" / "api_token").symlink_to("/dev/zero")

    with pytest.raises(ConfigurationError) as caught:
        load_settings(environ={"SYNCSVC_CONFIG": str(places / name)})

    lines = str(caught.value).splitlines()
    assert f"SYNCSVC_CONFIG: the file {places / name} can't be read (File too large)" in lines
    assert any(line.startswith("SYNCSVC_API_TOKEN") and "too large" in line for line in lines)


def test_the_usual_file_has_to_be_readable_where_it_exists(places: Path) -> None:
    """
    The default file may be missing, but if it exists it is not skipped.
    """
    (places / "syncsvc.toml").mkdir()

    [line] = problems()

    assert "Is a directory" in line


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (f'\napi_token = "{SECRET}'.encode(), "is not valid TOML at end of document"),
        (f"page_size = 1\n{SECRET} {SECRET}".encode(), "is not valid TOML at line 2, column 25"),
        (f'[{SECRET}]\na=1\n["{SECRET}"]'.encode(), "is not valid TOML at line 3, column 27"),
        (f'account = "{SECRET}'.encode() + b'\xff"', "is not UTF-8 text"),
        (b"page_size = " + b"1" * 5000, "is not valid TOML"),
    ],
)
def test_broken_toml_is_located_and_not_quoted(content: bytes, expected: str, places: Path) -> None:
    """
    A file that does not parse is named with the position, without its content.
    """
    (places / "syncsvc.toml").write_bytes(content)

    assert problems() == [f"SYNCSVC_CONFIG: the file {places / 'syncsvc.toml'} {expected}"]


@pytest.mark.parametrize("name", sources.SECRETS)
def test_a_secret_comes_from_a_credential_file(name: str, places: Path) -> None:
    """
    Each of the secrets is read from its file, without the newlines at its end.
    """
    secret = KEY if name == "accounts_key" else "postgresql://h/db"
    (places / "secrets" / name).write_text(f"{secret}\r\n\n")
    (places / "secrets" / "page_size").write_text("3")
    (places / "secrets" / "..data").mkdir()
    both = {
        "api_client_id": "SYNCSVC_API_CLIENT_SECRET",
        "api_client_secret": "SYNCSVC_API_CLIENT_ID",
    }
    environ = {both[name]: "other"} if name in both else {}

    settings = load_settings(environ=environ)

    assert getattr(settings, name).get_secret_value() == secret
    assert settings.page_size == 200


@pytest.mark.parametrize("name", sources.SECRETS)
def test_a_credential_file_has_to_be_readable(
    name: str, places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A credential file that can't be opened is named with its setting.
    """
    file = places / "secrets" / name
    real = Path.open

    def refuse(self: Path, mode: str) -> IO[Any]:
        if self == file:
            raise PermissionError(13, "Permission denied")
        return real(self, mode)

    monkeypatch.setattr(Path, "open", refuse)

    assert problems() == [
        f"SYNCSVC_{name.upper()} (file {file}): the file can't be read (Permission denied)"
    ]


def test_a_credential_file_has_to_be_text(places: Path) -> None:
    """
    A credential file that is not UTF-8 is named, and its content is not.
    """
    file = places / "secrets" / "api_token"
    file.write_bytes(SECRET.encode() + b"\xff")

    assert problems() == [f"SYNCSVC_API_TOKEN (file {file}): the file is not UTF-8 text"]


def test_a_credentials_directory_that_is_none_is_skipped(places: Path) -> None:
    """
    If $CREDENTIALS_DIRECTORY has no such file, the next directory is tried.
    """
    (places / "secrets" / "api_token").write_text("abc")
    (places / "file").touch()

    settings = load_settings(environ={"CREDENTIALS_DIRECTORY": str(places / "file")})

    assert settings.redacted()["api_token"] == "***"


# Values


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("api_url", "https://api.example.com/", "https://api.example.com"),
        ("api_url", "HTTPS://api.example.com:8443/a/b//", "https://api.example.com:8443/a/b"),
        ("api_url", "http://localhost:8080", "http://localhost:8080"),
        ("api_url", "http://127.9.9.9", "http://127.9.9.9"),
        ("api_url", "http://[::1]:1/x", "http://[::1]:1/x"),
        ("api_timezone", "Europe/London", "Europe/London"),
        ("api_timeout", "0.5", 0.5),
        ("api_timeout", "3600", 3600.0),
        ("api_retries", "0", 0),
        ("api_retries", " 100 ", 100),
        ("page_size", "1", 1),
        ("page_size", "200", 200),
        ("concurrency", "64", 64),
        ("account", "x" * 100, "x" * 100),
        ("account", "Zürich 1", "Zürich 1"),
        ("schedule", "90s", "90s"),
        ("schedule", " 365d ", "365d"),
        ("schedule", " */5 6-20 * * mon-fri ", "*/5 6-20 * * mon-fri"),
        ("schedule", "0 0 29 2 *", "0 0 29 2 *"),
        ("run_deadline", "90s", timedelta(seconds=90)),
        ("run_deadline", "1d", timedelta(days=1)),
        ("cancel_guard_percent", "0", 0.0),
        ("cancel_guard_percent", "2.5", 2.5),
        ("cancel_guard_percent", "100", 100.0),
        ("cancel_guard_count", "0", 0),
        ("cancelled_listing", "on", "on"),
        ("cancelled_listing", "off", "off"),
        ("ignored_fields", "served_at", ("served_at",)),
        ("ignored_fields", " a , details.b,a", ("a", "details.b")),
        ("currency", "EUR", "EUR"),
        ("currency", " usd ", "USD"),
        ("http_host", "::", "::"),
        ("http_host", "0.0.0.0", "0.0.0.0"),  # noqa: S104 - nothing is bound
        ("http_host", "a_b.example-1.com", "a_b.example-1.com"),
        ("http_port", "0", 0),
        ("http_port", "65535", 65535),
        ("log_level", "WARNING", "warning"),
        ("log_format", "json", "json"),
        ("fleet_slots", "64", 64),
        ("fleet_slow_slots", "7", 7),
        ("accounts_dir", "/etc/syncsvc/accounts", "/etc/syncsvc/accounts"),
        ("keep_runs", "30d", timedelta(days=30)),
        ("metrics_accounts", "0", 0),
        ("rate_scope", "account", "account"),
        *(("api_allow_http", text, True) for text in ("true", "1", "YES", "On")),
        *(("api_allow_http", text, False) for text in ("False", "0", "no", "OFF")),
    ],
)
def test_a_good_value_is_taken(name: str, text: str, expected: object) -> None:
    """
    What a setting accepts is taken in its form for the program.
    """
    assert getattr(load(**{name: text}), name) == expected


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("api_url", "ftp://api.example.com"),
        ("api_url", "api.example.com"),
        ("api_url", "https:///numbers"),
        ("api_url", "https://a b"),
        ("api_url", "https://bücher.example"),
        ("api_url", "https://api.example.com:99999"),
        ("api_url", "https://api.example.com:0"),
        ("api_url", "https://[::1"),
        ("api_url", "https://1.2.3.400"),
        ("api_url", "http://api.example.com"),
        ("api_url", "http://localhost.example.com"),
        ("api_url", "http://128.0.0.1"),
        ("api_timezone", "Mars/Olympus"),
        ("api_timezone", "America"),
        ("api_timezone", "../../etc/passwd"),
        ("api_timeout", "0"),
        ("api_timeout", "3600.1"),
        ("api_timeout", "nan"),
        ("api_timeout", "inf"),
        ("api_timeout", "30s"),
        ("api_retries", "-1"),
        ("api_retries", "101"),
        ("page_size", "0"),
        ("page_size", "201"),
        ("page_size", "100.0"),
        ("page_size", "1_0"),
        ("page_size", "ten"),
        ("page_size", "9" * 5000),
        ("concurrency", "0"),
        ("concurrency", "65"),
        ("account", " x"),
        ("account", "x\n"),
        ("account", "x\ty"),
        ("account", "x" * 101),
        ("account", "\udcff"),
        ("schedule", "15"),
        ("schedule", "0s"),
        ("schedule", "366d"),
        ("schedule", "15M"),
        ("schedule", "1.5h"),
        ("schedule", "-5m"),
        ("schedule", "* * * *"),
        ("schedule", "99 * * * *"),
        ("schedule", "0 0 31 2 *"),
        ("run_deadline", "0 * * * *"),
        ("run_deadline", "0h"),
        ("run_deadline", "3600"),
        ("cancel_guard_percent", "-0.1"),
        ("cancel_guard_percent", "100.5"),
        ("cancel_guard_percent", "10%"),
        ("cancel_guard_count", "-1"),
        ("cancelled_listing", "true"),
        ("cancelled_listing", "ON"),
        ("ignored_fields", "a,"),
        ("ignored_fields", ",a"),
        ("ignored_fields", "a,,b"),
        ("ignored_fields", "a,b\nc"),
        ("currency", "EURO"),
        ("currency", "€"),
        ("currency", "E1R"),
        ("currency", "ÉUR"),
        ("http_host", "[::1]"),
        ("http_host", "host:80"),
        ("http_host", "-x"),
        ("http_host", "1.2.3"),
        ("http_host", ".".join(["x" * 60] * 5)),
        ("http_port", "65536"),
        ("log_level", "loud"),
        ("log_format", "JSON"),
        ("fleet_slots", "1"),
        ("fleet_slots", "65"),
        ("fleet_slow_slots", "0"),
        ("accounts_dir", "a\nb"),
        ("keep_runs", "7y"),
        ("metrics_accounts", "-1"),
        ("rate_scope", "HOST"),
        ("api_allow_http", "maybe"),
    ],
)
def test_a_bad_value_is_refused_in_words(name: str, text: str) -> None:
    """
    What a setting does not accept is one line: variable, value, what is accepted.
    """
    line = problem(**{name: text})

    shown = repr(text) if len(repr(text)) <= 60 else f"{repr(text)[:59]}…"
    assert line.startswith(f"SYNCSVC_{name.upper()}: {shown} ")
    assert line.endswith(f"; give {Settings.model_fields[name].description}")
    assert "pydantic" not in line
    assert "type=" not in line


def test_plain_http_may_go_anywhere_where_it_is_allowed() -> None:
    """
    SYNCSVC_API_ALLOW_HTTP=true lifts the restriction of plain http to loopback.
    """
    settings = load(api_url="http://api.example.com", api_allow_http="true")

    assert settings.api_url == "http://api.example.com"


def test_plain_http_is_not_complained_about_where_the_permission_is_garbled() -> None:
    """
    A permission that can't be read is the only problem reported of the two.
    """
    assert "ALLOW_HTTP: 'si'" in problem(api_url="http://api.example.com", api_allow_http="si")


@pytest.mark.parametrize(
    "url",
    [
        f"https://user:{SECRET}@api.example.com",
        f"https://{SECRET}@api.example.com",
        f"https://api.example.com/?token={SECRET}",
        f"https://api.example.com/#{SECRET}",
        "https://api.example.com?",
    ],
)
def test_an_address_holds_no_credentials(url: str) -> None:
    """
    An address with a user, a query or a fragment is refused and not shown.
    """
    line = problem(api_url=url)

    assert line.startswith("SYNCSVC_API_URL: the value (not shown) has a user name")
    assert SECRET not in line


@pytest.mark.parametrize(
    ("text", "rendered"),
    [
        ("sqlite:///a.db", "sqlite:///a.db"),
        ("sqlite+pysqlite:////var/lib/a.db", "sqlite+pysqlite:////var/lib/a.db"),
        ("postgresql://h/db", "postgresql+psycopg://h/db"),
        ("postgresql+psycopg://u:p@h:1/db?sslmode=require", None),
        ("postgresql+psycopg://u:p%40%3A%2F%3F%23@h:1/db", None),
        ("postgresql+psycopg://u:p@[::1]:5432/db", None),
        ("postgresql+psycopg://u@/db?host=%2Fvar%2Frun%2Fpostgresql", None),
        (
            "postgresql+psycopg:///db?host=h1:1&host=h2:2",
            "postgresql+psycopg:///db?host=h1%3A1&host=h2%3A2",
        ),
    ],
)
def test_a_supported_database_is_taken(text: str, rendered: str | None) -> None:
    """
    SQLite files and PostgreSQL are taken, the latter always with psycopg 3.
    """
    url = load(database_url=text).database

    assert url.render_as_string(hide_password=False) == (rendered or text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f"mysql://u:{SECRET}@h/db", "not supported"),
        (f"postgres://u:{SECRET}@h/db", "not supported"),
        (f"postgresql+psycopg2://u:{SECRET}@h/db", "not supported"),
        (f"sqlite+aiosqlite:///{SECRET}.db", "not supported"),
        ("sqlite://", "in memory"),
        ("sqlite:///", "in memory"),
        ("sqlite:///:memory:", "in memory"),
        ("sqlite:///file::memory:?cache=shared&uri=true", "in memory"),
        ("sqlite:///file:x?mode=memory&uri=true", "in memory"),
        (f"sqlite://{SECRET}.db", "three slashes"),
        (f"sqlite:///file:{SECRET}.db?uri=true", "is a SQLite URI"),
        (f"sqlite:///{SECRET}.db?mode=ro&uri=true", "is a SQLite URI"),
        (f"sqlite:///a.db?timeout={SECRET}", "does not accept"),
        (f"sqlite:///a.db?timeot={SECRET}", "does not know"),
        (f"sqlite:///a.db%00{SECRET}", "NUL"),
        (f"postgresql://u:{SECRET}@h:port/db", "not a database URL"),
        (f"postgresql://u:{SECRET}@h/db?port=port", "hosts and ports"),
        (f"postgresql://u:{SECRET}@h/db?host=a&host=b&host=c&port=1&port=2", "hosts and ports"),
        (f"postgresql://u:{SECRET}@a..b/db", "host name"),
        (f"postgresql://u:{SECRET}@{'h' * 64}/db", "host name"),
        (f"postgresql://u:{SECRET}@/db?host=a..b", "host name"),
        (f"postgresql://u:{SECRET}%00@h/db", "NUL"),
        (f"postgresql://h/db?password=a&{SECRET}=b", "%26"),
        (f"postgresql://u:{SECRET}@h/db?autocommit=true", "does not know"),
        (f"postgresql://u:{SECRET}@h/db?prepare_threshold=5", "does not know"),
        (f"postgresql://u:{SECRET}@h/db\n", "unprintable"),
        (f"postgresql://u:first@{SECRET}@h/db", "%40"),
        (f"postgresql://u:first@@{SECRET}@h/db", "%40"),
        (f"postgresql://u:first:{SECRET}@h/db", "%3A"),
        (f"postgresql://u:first/{SECRET}@h/db", "%2F"),
        (f"postgresql://u:a@b/{SECRET}@h/db", "%2F"),
        (f"postgresql://u:first?{SECRET}@h/db", "%3F"),
        (f"postgresql://u:first#{SECRET}@h/db", "%23"),
        (f"postgresql://u:{SECRET}#@h/db", "%23"),
        (f"postgresql://u:{SECRET}@h/db#x", "%23"),
        (f"postgresql://me@tenant:{SECRET}@h/db", "%40"),
        (f"postgresql://h:5432/db?password=a@{SECRET}", "%40"),
        (SECRET, "not a database URL"),
    ],
)
def test_a_database_that_can_not_be_used_is_refused_unseen(text: str, reason: str) -> None:
    """
    Other databases, those in memory and what is no URL are refused without being shown.
    """
    line = problem(database_url=text)

    assert line.startswith("SYNCSVC_DATABASE_URL: the value (not shown) ")
    assert reason in line
    assert "sqlite:///FILE or postgresql://" in line
    assert SECRET not in line


@pytest.mark.parametrize("bad", ["{}\nX-Evil: 1", "{} x", "{}é", " {}", "{}\x7f"])
@pytest.mark.parametrize("name", ["api_token", "api_client_id", "api_client_secret"])
def test_a_credential_has_to_fit_a_header(name: str, bad: str) -> None:
    """
    A credential with white space or anything not visible ASCII is refused unseen.
    """
    line = problem(**{name: bad.format(SECRET)})

    assert line.startswith(f"SYNCSVC_{name.upper()}: the value (not shown) ")
    assert SECRET not in line


def test_an_empty_credential_file_is_refused(places: Path) -> None:
    """
    A credential file with nothing in it is a mistake, not a setting left out.
    """
    (places / "secrets" / "api_token").write_text("\n")

    [line] = problems()

    assert line.startswith(f"SYNCSVC_API_TOKEN (file {places}")


@pytest.mark.parametrize(
    ("line", "name", "expected"),
    [
        ("page_size = 100", "page_size", 100),
        ('page_size = "100"', "page_size", 100),
        ("api_timeout = 5", "api_timeout", 5.0),
        ("api_timeout = 2.5", "api_timeout", 2.5),
        ("api_allow_http = true", "api_allow_http", True),
        ("api_allow_http = 0", "api_allow_http", False),
        ('run_deadline = "2h"', "run_deadline", timedelta(hours=2)),
    ],
)
def test_toml_values_may_be_of_their_own_type(
    line: str, name: str, expected: object, places: Path
) -> None:
    """
    TOML may write numbers and booleans as such or as text.
    """
    (places / "syncsvc.toml").write_text(line)

    assert getattr(load_settings(environ={}), name) == expected


@pytest.mark.parametrize(
    "line",
    [
        "page_size = 100.0",
        "page_size = true",
        "page_size = [1]",
        "api_timeout = nan",
        "api_timeout = inf",
        "api_timeout = true",
        "api_allow_http = 2",
        "cancelled_listing = true",
        "schedule = 900",
        "run_deadline = 3600",
        "run_deadline = 01:00:00",
        "log_level = 3",
        "account = 7",
        'account = ""',
        'schedule = ""',
        'http_host = ""',
        'api_url = ""',
        "api_url = 1",
        'api_timezone = ""',
    ],
)
def test_toml_values_of_another_type_are_refused(line: str, places: Path) -> None:
    """
    TOML of the wrong type, or empty, is refused with key and file.
    """
    name = line.split(maxsplit=1)[0]
    file = places / "syncsvc.toml"
    file.write_text(line)

    [found] = problems()

    assert found.startswith(f"SYNCSVC_{name.upper()} ({name} in {file}): ")


@pytest.mark.parametrize("name", sources.SECRETS)
def test_secrets_of_another_type_are_refused_unseen(name: str, places: Path) -> None:
    """
    A secret that is no text in TOML is not shown either.
    """
    (places / "syncsvc.toml").write_text(f'{name} = {{ value = "{SECRET}" }}')

    [line] = problems()

    assert "the value (not shown) is not accepted" in line
    assert SECRET not in line


# Fleet


@pytest.mark.parametrize("written", [KEY, f"{KEY}\n{KEY[::-1][2:]}A=\n", f"  {KEY}  \r\n\n{KEY}"])
def test_several_keys_are_lines(written: str) -> None:
    """
    The accounts' keys are one a line, with white space around them or not, and are never shown.
    """
    settings = load(accounts_key=written)

    assert settings.accounts_key is not None
    assert settings.accounts_key.get_secret_value() == written
    assert KEY not in repr(settings) + str(settings.redacted()) + settings.model_dump_json()


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        (SECRET, "has no Fernet key on line 1"),
        (f"{KEY}\n{SECRET}", "has no Fernet key on line 2"),
        (f"{KEY}\n\n{KEY[:-2]}1=", "has no Fernet key on line 3"),
        (f"{KEY} {KEY}", "has no Fernet key on line 1"),
        (KEY[:-1], "has no Fernet key on line 1"),
        (" \n", "is empty"),
    ],
)
def test_a_key_that_is_none_is_named_by_its_line(written: str, reason: str) -> None:
    """
    Each key is 32 bytes in base64; another line is named by its number and not shown.
    """
    line = problem(accounts_key=written)

    assert line.startswith(f"SYNCSVC_ACCOUNTS_KEY: the value (not shown) {reason}; give Fernet")
    assert not {SECRET, KEY, KEY[:-2]} & {*line.split()}


@pytest.mark.parametrize(
    ("given", "slots"),
    [({"fleet_slow_slots": "8"}, 8), ({"fleet_slots": "2"}, 2), ({"fleet_slow_slots": "9"}, 8)],
)
def test_slow_accounts_never_have_all_slots(given: dict[str, str], slots: int) -> None:
    """
    The slots of slow accounts are fewer than all slots, also if only one of the two is set.
    """
    line = problem(**given)

    assert line.startswith("SYNCSVC_FLEET_SLOW_SLOTS: ")
    assert f"is not below SYNCSVC_FLEET_SLOTS, which is {slots}; leave a slot" in line


# Sign-in


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (
            {"api_token": SECRET, "api_client_id": SECRET, "api_client_secret": SECRET},
            (
                "SYNCSVC_API_TOKEN: can't be used together with "
                "SYNCSVC_API_CLIENT_ID and SYNCSVC_API_CLIENT_SECRET; unset one or the other"
            ),
        ),
        (
            {"api_token": SECRET, "api_client_secret": SECRET},
            (
                "SYNCSVC_API_TOKEN: can't be used together with SYNCSVC_API_CLIENT_SECRET; "
                "unset one or the other"
            ),
        ),
        (
            {"api_client_id": SECRET},
            (
                "SYNCSVC_API_CLIENT_SECRET: is not set but SYNCSVC_API_CLIENT_ID is; "
                "set both or neither"
            ),
        ),
        (
            {"api_client_secret": SECRET},
            (
                "SYNCSVC_API_CLIENT_ID: is not set but SYNCSVC_API_CLIENT_SECRET is; "
                "set both or neither"
            ),
        ),
    ],
)
def test_there_is_one_way_to_sign_in(given: dict[str, str], expected: str) -> None:
    """
    A token excludes a client, and a client needs both of its parts.
    """
    assert problem(**given) == expected


def test_a_part_that_could_not_be_read_is_not_called_missing(places: Path) -> None:
    """
    If a source can't be read, settings that may be in it are not called missing.
    """
    (places / "secrets" / "api_client_secret").mkdir()

    line = problem(api_client_id="me")

    assert line.startswith("SYNCSVC_API_CLIENT_SECRET (file ")


@pytest.mark.parametrize(
    "given", [{"api_token": "t"}, {"api_client_id": "i", "api_client_secret": "s"}]
)
def test_credentials_satisfy_who_requires_them(given: dict[str, str]) -> None:
    """
    A token, or a client's two parts, are enough.
    """
    load(**given).require_credentials()


def test_missing_credentials_are_told_only_where_required() -> None:
    """
    Settings load without credentials; requiring them says which variables to set.
    """
    settings = load_settings(environ={})

    with pytest.raises(ConfigurationError) as caught:
        settings.require_credentials()

    for name in ("API_TOKEN", "API_CLIENT_ID", "API_CLIENT_SECRET"):
        assert f"SYNCSVC_{name}" in str(caught.value)


# The whole


def test_all_problems_are_reported_together(places: Path) -> None:
    """
    One error has a line for every problem of every source, each with its place.
    """
    file = places / "syncsvc.toml"
    file.write_text('concurrency = 65\napi_tokn = "x"')
    (places / "secrets" / "database_url").write_text("mysql://h/db")
    environ = {"SYNCSVC_PAGE_SIZE": "500", "SYNCSVC_X": "1"}

    lines = problems(environ, flags={"http_port": 65536, "account": None})

    assert [
        f"api_tokn in {file}",
        "SYNCSVC_X",
        "SYNCSVC_PAGE_SIZE",
        f"SYNCSVC_CONCURRENCY (concurrency in {file})",
        f"SYNCSVC_DATABASE_URL (file {places / 'secrets' / 'database_url'})",
        "SYNCSVC_HTTP_PORT (--http-port)",
    ] == [line.split(": ")[0] for line in lines]


@pytest.mark.parametrize(
    ("name", "text", "wrong"),
    [
        ("page_size", "500", "is out of range"),
        ("page_size", "abc", "is not a whole number"),
        ("api_timeout", "30s", "is not a number"),
        ("cancel_guard_percent", "-1", "is out of range"),
        ("currency", "euro", "is not an ISO 4217 currency code"),
        ("schedule", "* * * *", "has 4 fields; a crontab has 5"),
    ],
)
def test_a_refusal_reads_as_a_sentence(name: str, text: str, wrong: str) -> None:
    """
    The message gives the value as it was written, what is wrong with it, and what is accepted.
    """
    accepted = Settings.model_fields[name].description

    assert problem(**{name: text}) == f"SYNCSVC_{name.upper()}: {text!r} {wrong}; give {accepted}"


@pytest.mark.parametrize("source", ["flag", "environment", "credential", "toml"])
@pytest.mark.parametrize("name", sources.SECRETS)
def test_no_failure_shows_a_secret(name: str, source: str, places: Path) -> None:
    """
    A refused secret is in no message, repr, traceback or chained error, whatever its source.
    """
    bad = f"mysql://u:{SECRET}@h/d b"
    (places / "secrets" / name).write_text(bad if source == "credential" else "")
    (places / "syncsvc.toml").write_text(f'{name} = "{bad}"' if source == "toml" else "")
    if source != "credential":
        (places / "secrets" / name).unlink()
    environ = {f"SYNCSVC_{name.upper()}": bad} if source == "environment" else {}
    flags = {name: bad} if source == "flag" else {}

    with pytest.raises(ConfigurationError) as caught:
        load_settings(environ=environ, flags=flags)

    error = caught.value
    text = "".join(traceback.format_exception(error)) + repr(error)
    assert f"SYNCSVC_{name.upper()}" in text
    assert SECRET not in text
    assert error.__cause__ is None
    assert error.__context__ is None


def test_secrets_show_in_no_rendering() -> None:
    """
    Neither repr, str, a dump, JSON nor the redacted texts hold a secret.
    """
    options = "&".join(f"{key}={SECRET}" for key in ("password", "sslpassword", "scram_client_key"))
    url = f"postgresql://u:{SECRET}@h/db?{options}&sslmode=require"
    client = load(api_client_id=SECRET, api_client_secret=SECRET, database_url=url)
    token = load(api_token=SECRET)

    for settings in (client, token):
        for text in (
            repr(settings),
            str(settings),
            str(settings.model_dump()),
            settings.model_dump_json(),
            str(settings.redacted()),
        ):
            assert SECRET not in text

    assert client.redacted()["database_url"] == (
        "postgresql+psycopg://u:***@h/db"
        "?password=***&scram_client_key=***&sslmode=require&sslpassword=***"
    )
    assert client.redacted()["api_client_id"] == "***"
    assert token.redacted()["api_token"] == "***"


def test_redacted_texts_can_be_given_again() -> None:
    """
    What the redacted settings show is accepted as a value of the same setting.
    """
    settings = load(run_deadline="5400s", cancel_guard_percent="2.5", api_allow_http="yes")
    texts = {name: text for name, text in settings.redacted().items() if text}

    assert load(**texts) == settings
    assert texts["run_deadline"] == "90m"


def test_settings_can_not_be_changed() -> None:
    """
    Settings are frozen once loaded.
    """
    settings = load_settings(environ={})

    with pytest.raises(ValidationError):
        settings.page_size = 1


def test_the_zone_is_ready_for_use() -> None:
    """
    The name of the time zone is given as a zone too.
    """
    assert load(api_timezone="Asia/Singapore").timezone.key == "Asia/Singapore"
