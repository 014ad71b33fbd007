"""
Collect settings from flags, environment, credential files and one TOML file.

Values are collected as written, each with its source; `settings` validates
them. Unreadable files and unknown names are returned as problems, one line
each, so that all of them are reported together.
"""

from __future__ import annotations

import difflib
import errno
import os
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

PREFIX = "SYNCSVC_"
CONFIG_VARIABLE = "SYNCSVC_CONFIG"
CONFIG_FILE = Path("/etc/syncsvc/syncsvc.toml")  # read if it exists and CONFIG_VARIABLE is not set
SECRETS_DIRECTORY = Path("/run/secrets/syncsvc")  # searched after $CREDENTIALS_DIRECTORY
CREDENTIALS = ("api_token", "api_client_id", "api_client_secret")  # for the provider
TABLES = {"notify"}  # of the TOML file, each with tables of its own
SECRETS = (*CREDENTIALS, "database_url", "accounts_key")

LARGEST_FILE = 2**20  # bytes
LONGEST_SHOWN = 60


@dataclass(frozen=True, kw_only=True)
class Found:
    """
    A value as written, and its source for messages; empty for the environment.
    """

    value: object
    where: str = ""


@dataclass(frozen=True, kw_only=True)
class Table:
    """
    A table of the TOML file that is no setting, by its key, and its source for messages.
    """

    value: object
    where: str


@dataclass(frozen=True, kw_only=True)
class Gathered:
    """
    The value of each setting that was found, the problems, and the tables of the TOML file.
    """

    found: dict[str, Found]
    problems: list[str]
    tables: dict[str, Table]


def gather(
    names: Iterable[str], *, flags: Mapping[str, object], environ: Mapping[str, str]
) -> Gathered:
    """
    Collect the named settings by precedence: flag, environment, credential file, TOML.

    Raises:
        TypeError: A flag is not a setting, which is the caller's mistake.
    """
    known = list(names)
    problems: list[str] = []
    tables: dict[str, Table] = {}
    toml = _from_toml(known, environ, problems, tables)
    secrets = _from_credential_files(environ, problems)
    variables = _from_environment(known, environ, problems)
    found = toml | secrets | variables | _from_flags(known, flags)
    return Gathered(found=found, problems=problems, tables=tables)


def variable(name: str) -> str:
    """
    Return the name of a setting's environment variable.
    """
    return PREFIX + name.upper()


def shown(value: object) -> str:
    """
    Format a value as written, on one line and not too long.
    """
    text = repr(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[: LONGEST_SHOWN - 1]}…"


def _from_flags(known: list[str], flags: Mapping[str, object]) -> dict[str, Found]:
    if unknown := sorted(flags.keys() - set(known)):
        raise TypeError(f"No such setting: {', '.join(unknown)}")
    return {
        name: Found(
            value=from_utf8(value) if isinstance(value, str) else value,
            where=f" (--{name.replace('_', '-')})",
        )
        for name, value in flags.items()
        if value is not None
    }


def _from_environment(
    known: list[str], environ: Mapping[str, str], problems: list[str]
) -> dict[str, Found]:
    """
    Read the variables that are set; an empty one is a mistake, such as an unset shell variable.
    """
    settings = {variable(name): name for name in known}
    written = {key: from_utf8(text) for key, text in environ.items() if key.startswith(PREFIX)}
    for key in sorted(written.keys() - settings.keys() - {CONFIG_VARIABLE}):
        nearest = _nearest(key.upper().removeprefix(PREFIX), _unprefixed(known))
        problems.append(f"{printable(key)}: unknown setting; did you mean {PREFIX}{nearest}?")
    given = written.keys() & settings.keys()
    problems += [_empty(key) for key in sorted(given) if not written[key]]
    return {settings[key]: Found(value=written[key]) for key in given if written[key]}


def from_utf8(text: str) -> str:
    """
    Decode a word of the environment or the command line as UTF-8, whatever the locale is.
    """
    try:
        return os.fsencode(text).decode()
    except UnicodeError:
        return text


def _empty(key: str) -> str:
    return f"{key}: is set but empty; unset it, or give a value"


def _unprefixed(known: list[str]) -> list[str]:
    return [name.upper() for name in known] + [CONFIG_VARIABLE.removeprefix(PREFIX)]


def _nearest(name: str, known: list[str]) -> str:
    return difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]


def printable(text: object) -> str:
    """
    Return a name or path, quoted only if it would break its line.
    """
    return str(text) if str(text).isprintable() else shown(str(text))


def why_unread(error: OSError) -> str:
    """
    Complete a sentence that begins with the file's name.
    """
    return f"can't be read ({error.strerror or type(error).__name__})"


def read_text(path: Path) -> str:
    """
    Read a file of settings, which may be a pipe, but not one that never ends.
    """
    with path.open("rb") as file:
        return decoded(file)


def decoded(file: BinaryIO) -> str:
    """
    Read UTF-8 text from an open file.

    Raises:
        OSError: It is too large.
    """
    data = file.read(LARGEST_FILE + 1)
    if len(data) > LARGEST_FILE:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
    return data.decode("utf-8-sig")


def _from_credential_files(environ: Mapping[str, str], problems: list[str]) -> dict[str, Found]:
    found: dict[str, Found] = {}
    for name in SECRETS:
        try:
            credential = credential_file(name, list(credential_directories(environ)))
        except UnreadableError as error:
            problems.append(f"{variable(name)}{error}")
        else:
            found.update({name: credential} if credential else {})
    return found


class UnreadableError(Exception):
    """
    A credential file exists and can't be read.
    """


def credential_directories(environ: Mapping[str, str]) -> Iterator[Path]:
    """
    Yield the directories that may have credential files, the first one first.
    """
    if directory := environ.get("CREDENTIALS_DIRECTORY"):
        yield Path(directory)
    yield SECRETS_DIRECTORY


def credential_file(name: str, directories: list[Path]) -> Found | None:
    """
    Read the first file of that name, without the newlines at its end.
    """
    for directory in directories:
        where = f" (file {printable(directory / name)})"
        try:
            text = read_text(directory / name)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise UnreadableError(f"{where}: the file {why_unread(error)}") from None
        except UnicodeDecodeError:
            raise UnreadableError(f"{where}: the file is not UTF-8 text") from None
        return Found(value=text.rstrip("\r\n"), where=where)
    return None


def _from_toml(
    known: list[str],
    environ: Mapping[str, str],
    problems: list[str],
    tables: dict[str, Table],
) -> dict[str, Found]:
    named = environ.get(CONFIG_VARIABLE)
    if named == "":
        problems.append(_empty(CONFIG_VARIABLE))
    path = Path(named) if named else CONFIG_FILE
    try:
        document = tomllib.loads(read_text(path))
    except OSError as error:
        if named or not isinstance(error, FileNotFoundError | NotADirectoryError):
            problems.append(f"{CONFIG_VARIABLE}: the file {printable(path)} {why_unread(error)}")
        return {}
    except (ValueError, RecursionError) as error:
        problems.append(f"{CONFIG_VARIABLE}: the file {printable(path)} {what_is_wrong(error)}")
        return {}
    for key in sorted(document.keys() & TABLES):
        tables[key] = Table(value=document[key], where=f" in {printable(path)}")
    for key in sorted(document.keys() - set(known) - TABLES):
        nearest = _nearest(key.lower(), known)
        problems.append(
            f"{printable(key)} in {printable(path)}: unknown setting; did you mean {nearest}?"
        )
    return {
        name: Found(value=document[name], where=f" ({name} in {printable(path)})")
        for name in known
        if name in document
    }


def what_is_wrong(error: Exception) -> str:
    """
    Return what is wrong with a TOML file, without the parser's message, which may quote secrets.
    """
    if isinstance(error, UnicodeDecodeError):
        return "is not UTF-8 text"
    position = re.search(r"\(at (line \d+, column \d+|end of document)\)$", str(error))
    return f"is not valid TOML{f' at {position[1]}' if position else ''}"
