"""
Proxies and certificates that the environment names.
"""

from __future__ import annotations

import shutil
import ssl
from pathlib import Path

import certifi
import pytest

from syncsvc.errors import ConfigurationError
from syncsvc.provider.http.http_environment import proxy_for, require_usable, tls_context

ELSEWHERE = "https://provider.test"


@pytest.mark.parametrize(
    "url",
    ["http://localhost:1", "http://127.0.0.1", "http://127.9.8.7:80", "https://[::1]:8443"],
)
def test_loopback_is_never_proxied(url: str) -> None:
    """
    What is sent to this machine stays on it, whatever the environment says.
    """
    proxies = {"http_proxy": "http://p.test", "https_proxy": "http://p.test", "no_proxy": ""}

    assert proxy_for(url, proxies) is None


@pytest.mark.parametrize(
    ("environment", "proxy"),
    [
        ({}, None),
        ({"HTTPS_PROXY": ""}, None),
        ({"HTTPS_PROXY": "http://p.test:3128"}, "http://p.test:3128"),
        ({"https_proxy": "p.test:3128"}, "http://p.test:3128"),
        ({"https_proxy": "https://p.test", "HTTPS_PROXY": "http://q.test"}, "https://p.test"),
        ({"https_proxy": "", "HTTPS_PROXY": "http://q.test"}, None),
        ({"HTTP_PROXY": "http://p.test"}, None),
        ({"ALL_PROXY": "http://p.test", "all_proxy": "socks5://p.test"}, None),
        ({"HTTPS_PROXY": "http://p.test", "NO_PROXY": "other.test,provider.test"}, None),
        ({"HTTPS_PROXY": "http://p.test", "no_proxy": "*"}, None),
    ],
)
def test_the_proxy_is_the_one_of_the_scheme(environment: dict[str, str], proxy: str | None) -> None:
    """
    Only the variables for the address's scheme and NO_PROXY count, lower case first.
    """
    found = proxy_for(ELSEWHERE, environment)

    assert (found and str(found.url)) == proxy


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"])
@pytest.mark.parametrize(
    "value",
    [
        "socks5://user:hunter2@p.test:1080",
        "http://user:hunter2@p.test:port",
        "http://user:hunter2@p.test:99999",
        "http://user:hunter2@p.test:0",
        "http://user:hunter2@",
        "http://user:12/hunter2@p.test",
        "http://user:12#hunter2@p.test",
        "http://user:hunter2@p q.test",
        "http://user:hunter2@[::1",
        "http://",
        "://hunter2",
        "http://hunter2\x01",
    ],
)
def test_a_proxy_that_is_none_is_named_and_not_shown(name: str, value: str) -> None:
    """
    The error names the variable, even if the address needs no proxy, and keeps its value secret.
    """
    with pytest.raises(ConfigurationError, match=f"^{name} is not the address") as caught:
        proxy_for("http://localhost", {name: value})

    assert "hunter2" not in str(caught.value)


def test_a_proxys_user_is_kept_apart_from_its_address() -> None:
    """
    Credentials are sent to the proxy and are not part of the address.
    """
    found = proxy_for(ELSEWHERE, {"HTTPS_PROXY": "http://user:p%40ss@p.test:3128"})

    assert found is not None
    assert (str(found.url), found.raw_auth) == ("http://p.test:3128", (b"user", b"p@ss"))


@pytest.mark.parametrize("content", [None, b"", b"garbage", b"-----BEGIN CERTIFICATE-----\nxx\n"])
def test_a_file_without_certificates_is_named(tmp_path: Path, content: bytes | None) -> None:
    """
    A missing, empty or broken file of SSL_CERT_FILE is an error with the variable and the file.
    """
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(ConfigurationError, match=f"^SSL_CERT_FILE: {file} "):
        require_usable({"SSL_CERT_FILE": str(file)})


def test_a_directory_is_no_file_of_certificates(tmp_path: Path) -> None:
    """
    SSL_CERT_FILE may not name a directory.
    """
    with pytest.raises(ConfigurationError, match=r"^SSL_CERT_FILE: "):
        require_usable({"SSL_CERT_FILE": str(tmp_path)})


@pytest.mark.parametrize("name", ["missing", "file", "empty"])
def test_a_directory_without_certificates_is_named(tmp_path: Path, name: str) -> None:
    """
    SSL_CERT_DIR has to be a directory with certificates under their hashes.
    """
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()

    with pytest.raises(ConfigurationError, match=f"^SSL_CERT_DIR: {tmp_path / name} "):
        require_usable({"SSL_CERT_DIR": str(tmp_path / name)})


def test_certificates_are_taken_from_file_and_directory(tmp_path: Path) -> None:
    """
    Both variables count together, and a certificate is demanded and matched with the host.
    """
    (tmp_path / "0123abcd.0").write_bytes(Path(certifi.where()).read_bytes())

    context = tls_context({"SSL_CERT_FILE": certifi.where(), "SSL_CERT_DIR": str(tmp_path)})

    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert context.get_ca_certs()


def test_no_keys_are_written_to_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    SSLKEYLOGFILE, which would show every secret to who reads it, does not count.
    """
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    authorities = shutil.copy(certifi.where(), tmp_path / "authorities.pem")

    tls_context({"SSL_CERT_FILE": str(authorities)})

    assert not (tmp_path / "keys").exists()


def test_authorities_are_read_once_a_process() -> None:
    """
    Each webhook's endpoint gets the same context, and reads no file of authorities again.
    """
    assert tls_context({}) is tls_context({})
    assert tls_context({}) is not tls_context({"SSL_CERT_FILE": certifi.where()})
