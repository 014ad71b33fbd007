"""
Validate, convert and print the URL of the database.

As in `values`, the text of a ValueError completes a sentence that begins with the setting.
"""

from __future__ import annotations

import os
import re
import warnings
from typing import TYPE_CHECKING
from urllib.parse import unquote

from pydantic import SecretStr
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError, SAWarning

if TYPE_CHECKING:
    from sqlalchemy import URL

# The database drivers that are supported, by the names that ask for them.
DRIVERS = {
    "sqlite": "sqlite",
    "sqlite+pysqlite": "sqlite+pysqlite",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}


def validated(value: object) -> object:
    """
    Validate the URL of a supported database that outlives the process.
    """
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    if isinstance(text, str):
        _check_database(text)
    return value


def _check_database(text: str) -> None:
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise ValueError("is not a database URL") from None
    if not text.isprintable():
        raise ValueError("has unprintable characters")
    if url.drivername not in DRIVERS:
        raise ValueError("names a database or driver that is not supported")
    if "\0" in unquote(text):
        raise ValueError("has a NUL character (%00), which would end it there")
    if url.get_backend_name() == "sqlite":
        _check_sqlite(url)
    else:
        _check_separators(text)
        _check_options(url)


def _check_separators(text: str) -> None:
    """
    Refuse a URL whose user name or password has a character that splits URLs.

    What follows that character would be read, and shown, as the host or the database. A password
    with / ? or # ends the part that is searched for @ too early, so that an @ is left behind it.
    """
    authority, rest = _split_authority(text)
    user = authority.rpartition("@")[0]
    if "@" in user or user.count(":") > 1 or "@" in rest or "#" in rest:
        raise ValueError(
            "has @ : / ? or # in a user name, password or option; "
            "write them there as %40 %3A %2F %3F %23"
        )


def _check_options(url: URL) -> None:
    """
    Refuse options that are none of libpq's. They are not named: one may be the end of a password.
    """
    from psycopg.pq import Conninfo  # noqa: PLC0415 - SQLite does without it

    if not {option.keyword.decode() for option in Conninfo.get_defaults()} >= url.query.keys():
        raise ValueError(
            "has an option that PostgreSQL's client does not know; "
            "an & in a password is written as %26"
        )
    try:
        url.get_dialect()().create_connect_args(url)
    except ArgumentError:
        raise ValueError("has hosts and ports that do not match, or are not valid") from None
    try:
        for host in (url.host or "", *url.normalized_query.get("host", ())):
            host.encode("idna")  # as the lookup will, with an error that psycopg lets pass
    except UnicodeError:
        raise ValueError("has a host name that can't be one") from None


def _split_authority(text: str) -> tuple[str, str]:
    """
    Split a URL, without its scheme, into user, host and port, and all that follows them.
    """
    address = text.partition("://")[2]
    end = re.search(r"[/?#]|$", address)
    at = end.start() if end else len(address)
    return address[:at], address[at:]


def _check_sqlite(url: URL) -> None:
    if url.host or url.port or url.username or url.password:
        raise ValueError("names a host; an SQLite URL has three slashes before the file")
    path = (url.database or "").removeprefix("file:")
    if path in {"", ":memory:"} or "memory" in url.normalized_query.get("mode", ()):
        raise ValueError("is in memory, where nothing would be kept")
    if path != url.database or "uri" in url.query:
        raise ValueError("is a SQLite URI; a file is named by its path alone")
    try:
        with warnings.catch_warnings(action="error", category=SAWarning):
            url.get_dialect()().create_connect_args(url)
    except SAWarning:
        raise ValueError("has an option that SQLite's driver does not know") from None
    except ValueError:
        raise ValueError("has an option with a value that SQLite does not accept") from None
    except OSError:
        pass  # the current directory was removed, which is reported when the file is opened


def parsed(text: str) -> URL:
    """
    Return a database URL with the driver that is used for it.
    """
    url = make_url(text)
    return url.set(drivername=DRIVERS[url.drivername])


def openable(url: URL) -> URL:
    """
    Return a database URL whose SQLite file can be opened by this name in any locale.
    """
    if url.get_backend_name() == "sqlite" and url.database:
        return url.set(database=os.fsdecode(url.database.encode()))
    return url


def without_secrets(url: URL) -> str:
    """
    Format a database URL without its password, also without one in the query.
    """
    secret = [key for key in url.query if re.search("pass|secret|scram", key, re.IGNORECASE)]
    hidden = url.update_query_dict(dict.fromkeys(secret, "***"))
    return hidden.render_as_string(hide_password=True).replace("%2A%2A%2A", "***")
