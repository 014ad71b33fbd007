"""
Read and check the environment variables for proxies and certificates.

Only HTTPS_PROXY, HTTP_PROXY, NO_PROXY (in lower case too), SSL_CERT_FILE and
SSL_CERT_DIR are read. ALL_PROXY and netrc files are not, and neither is
SSLKEYLOGFILE, which would write the keys of every connection to a file.
"""

from __future__ import annotations

import os
import re
import ssl
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.request import proxy_bypass

import certifi
import httpx

from syncsvc.errors import ConfigurationError
from syncsvc.settings.values import is_loopback

if TYPE_CHECKING:
    from collections.abc import Mapping

PROXIES = {"https": ("https_proxy", "HTTPS_PROXY"), "http": ("http_proxy", "HTTP_PROXY")}
NO_PROXY = ("no_proxy", "NO_PROXY")
PROXY_SCHEMES = frozenset({"http", "https"})
HOST = re.compile(rb"[0-9A-Za-z._-]+|[0-9A-Fa-f:.]+")
HASHED = re.compile(r"[0-9a-f]{8}\.[0-9]+")  # the file names that OpenSSL looks for


def require_usable(environment: Mapping[str, str] = os.environ) -> None:
    """
    Check every variable that is read, even those that the provider's address does not need.

    Raises:
        ConfigurationError: One of them can't be used; the message has its name, not its value.
    """
    proxy_for("http://localhost", environment)
    tls_context(environment)


def proxy_for(url: str, environment: Mapping[str, str] = os.environ) -> httpx.Proxy | None:
    """
    Return the proxy for an address, or None if there is none; loopback never has one.

    Raises:
        ConfigurationError: HTTPS_PROXY or HTTP_PROXY is not the address of an HTTP proxy,
            even if this address does not need it.
    """
    target = httpx.URL(url)
    proxies = {scheme: _proxy(scheme, environment) for scheme in PROXIES}
    if is_loopback(url) or _is_exempt(target.host, environment):
        return None
    proxy = proxies[target.scheme]
    if proxy is not None and proxy.url.scheme == "https":
        return httpx.Proxy(proxy.url, auth=proxy.auth, ssl_context=tls_context(environment))
    return proxy


def proxy_variable(url: str, environment: Mapping[str, str] = os.environ) -> str:
    """
    Return the name of the variable that sets the proxy for an address.
    """
    name, _proxy_url = _value(PROXIES[httpx.URL(url).scheme], environment)
    return name


def tls_context(environment: Mapping[str, str] = os.environ) -> ssl.SSLContext:
    """
    Return a context that trusts SSL_CERT_FILE and SSL_CERT_DIR, or certifi's authorities.

    The same ones are read once a process: to read all authorities takes 15 ms.

    Raises:
        ConfigurationError: One of the two can't be used.
    """
    return _trusting(environment.get("SSL_CERT_FILE"), environment.get("SSL_CERT_DIR"))


@lru_cache(maxsize=4)
def _trusting(file: str | None, directories: str | None) -> ssl.SSLContext:
    # Not create_default_context: that opens the file of SSLKEYLOGFILE.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if file:
        _trust_file(context, file)
    if directories:
        _trust_directories(context, directories)
    if not (file or directories):
        context.load_verify_locations(cafile=certifi.where())
    return context


def _value(names: tuple[str, str], environment: Mapping[str, str]) -> tuple[str, str]:
    """
    Return the first name that is set, and its value. Lower case wins, even if it is empty.
    """
    name = next((name for name in names if name in environment), names[-1])
    return name, environment.get(name, "").strip()


def _is_exempt(host: str, environment: Mapping[str, str]) -> bool:
    _name, hosts = _value(NO_PROXY, environment)
    return bool(proxy_bypass(host, {"no": hosts}))


def _proxy(scheme: str, environment: Mapping[str, str]) -> httpx.Proxy | None:
    name, value = _value(PROXIES[scheme], environment)
    if not value:
        return None
    try:
        url = httpx.URL(value if "://" in value else f"http://{value}")
    except (httpx.InvalidURL, UnicodeError, ValueError):
        raise _no_proxy(name) from None
    if not _is_proxy(url):
        raise _no_proxy(name)
    return httpx.Proxy(url)


def _is_proxy(url: httpx.URL) -> bool:
    """
    Return whether the address has nothing but a scheme, a host and a port.

    Anything more comes from a user or password in which / or # is not escaped.
    """
    usable = url.scheme in PROXY_SCHEMES and HOST.fullmatch(url.raw_host) is not None
    nothing_more = url.raw_path == b"/" and not url.fragment
    return usable and nothing_more and url.port in (None, *range(1, 2**16))


def _no_proxy(name: str) -> ConfigurationError:
    # Without the value: it may contain the proxy's password.
    return ConfigurationError(
        f"{name} is not the address of an HTTP proxy. "
        "Use http://HOST:PORT or https://HOST:PORT (no SOCKS), or unset it. Characters such as "
        "/ and # in a user or password are written as %2F and %23."
    )


def _trust_file(context: ssl.SSLContext, file: str) -> None:
    try:
        context.load_verify_locations(cafile=file)
    except ssl.SSLError:
        raise ConfigurationError(
            f"SSL_CERT_FILE: {file} has no certificates in PEM format. "
            "Name a file that has, or unset it."
        ) from None
    except OSError as exc:
        raise ConfigurationError(
            f"SSL_CERT_FILE: {file} can't be read: {exc.strerror}. "
            "Name a file with certificates in PEM format, or unset it."
        ) from None


def _trust_directories(context: ssl.SSLContext, directories: str) -> None:
    named = [name for name in directories.split(os.pathsep) if name]
    usable = [_has_certificates(name) for name in named]
    if not any(usable):
        raise ConfigurationError(
            f"SSL_CERT_DIR: {directories} has no certificates under their hashes. "
            "Run `openssl rehash` on it, or unset it."
        )
    for name in named:
        context.load_verify_locations(capath=name)


def _has_certificates(directory: str) -> bool:
    try:
        return any(HASHED.fullmatch(entry.name) for entry in Path(directory).iterdir())
    except OSError as exc:
        raise ConfigurationError(
            f"SSL_CERT_DIR: {directory} can't be read: {exc.strerror}. "
            "Name a directory with certificates under their hashes, or unset it."
        ) from None
