"""
Access tokens, requested from the simulated provider.
"""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from syncsvc.errors import ProviderRefused, ProviderUnavailable
from syncsvc.provider.http.transport import HttpTransport
from syncsvc.provider.tokens import ACCESS_TOKEN, REFRESH_TOKEN, ClientCredentials, FixedToken
from syncsvc.sandbox import Fault, Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator


class Clock:
    """
    A monotonic clock that the test sets.
    """

    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        """
        Return the time.
        """
        return self.time


@pytest.fixture
def clock() -> Clock:
    """
    The clock of the tokens.
    """
    return Clock()


@pytest.fixture
def transport(sandbox: Sandbox) -> Iterator[HttpTransport]:
    """
    A transport to the simulated provider.
    """
    opened = HttpTransport(sandbox.url, timeout=5.0, concurrency=8)
    yield opened
    opened.close()


@pytest.fixture
def tokens(transport: HttpTransport, clock: Clock) -> ClientCredentials:
    """
    The tokens of a client that the provider knows.
    """
    return ClientCredentials(transport, Sandbox.client_id, Sandbox.client_secret, clock)


def token_requests(sandbox: Sandbox) -> list[str]:
    """
    The paths of the token requests.
    """
    return [request.path for request in sandbox.requests]


def granting(**fields: object) -> Fault:
    """
    A token response with these fields besides the token.
    """
    grant = {"access_token": "granted", "token_type": "Bearer", **fields}
    return Fault(kind="body", endpoint="token", status=200, body=json.dumps(grant).encode())


def test_a_fixed_token_is_the_only_one() -> None:
    """
    A fixed token has no replacement, and does not come from a refresh.
    """
    tokens = FixedToken("the-token")

    assert tokens.current() == "the-token"
    assert tokens.replacement("the-token") is None
    assert not tokens.was_refreshed("the-token")


def test_a_token_is_requested_once_and_used_until_it_expires(
    tokens: ClientCredentials, sandbox: Sandbox
) -> None:
    """
    The client's id and secret give one token, which every request uses.
    """
    given = {tokens.current() for _ in range(3)}

    assert len(given) == 1
    assert token_requests(sandbox) == [ACCESS_TOKEN]


def test_a_token_is_posted_for_and_may_have_any_media_type(
    tokens: ClientCredentials, sandbox: Sandbox, clock: Clock
) -> None:
    """
    Requested or refreshed: a token is not of the media type that the listing has.
    """
    tokens.current()
    clock.time += 3600
    tokens.current()

    assert token_requests(sandbox) == [ACCESS_TOKEN, REFRESH_TOKEN]
    assert {(each.method, each.accept) for each in sandbox.requests} == {("POST", "*/*")}


@pytest.mark.parametrize(("seconds", "calls"), [(3539.9, 1), (3540.0, 2)])
def test_a_token_is_refreshed_a_minute_before_it_expires(
    tokens: ClientCredentials, sandbox: Sandbox, clock: Clock, seconds: float, calls: int
) -> None:
    """
    A token of an hour is used for 59 minutes, then it is refreshed.
    """
    tokens.current()
    clock.time += seconds

    tokens.current()

    assert token_requests(sandbox) == [ACCESS_TOKEN, REFRESH_TOKEN][:calls]


def test_every_refresh_uses_the_newest_refresh_token(
    tokens: ClientCredentials, sandbox: Sandbox, clock: Clock
) -> None:
    """
    A refresh token can be used once; the response has the next one.
    """
    given = set()
    for _ in range(3):
        given.add(tokens.current())
        clock.time += 3600

    assert len(given) == 3
    assert token_requests(sandbox) == [ACCESS_TOKEN, REFRESH_TOKEN, REFRESH_TOKEN]


def test_a_token_is_requested_if_the_refresh_token_is_rejected(
    tokens: ClientCredentials, sandbox: Sandbox, clock: Clock
) -> None:
    """
    If the provider no longer accepts the refresh token, id and secret are used again.
    """
    tokens.current()
    sandbox.expire_tokens(refresh=True)
    clock.time += 3600

    with capture_logs() as logs:
        tokens.current()

    assert [each["event"] for each in logs] == ["token.refresh_refused"]
    assert token_requests(sandbox) == [ACCESS_TOKEN, REFRESH_TOKEN, ACCESS_TOKEN]


def test_a_refresh_that_failed_is_not_tried_again(
    tokens: ClientCredentials, sandbox: Sandbox, clock: Clock
) -> None:
    """
    A failed refresh is a transient error, and the next attempt requests a new token.
    """
    tokens.current()
    clock.time += 3600
    sandbox.inject(Fault(kind="status", endpoint="token", status=503, retry_after="4"))

    with pytest.raises(ProviderUnavailable, match="503 from") as caught:
        tokens.current()
    tokens.current()

    assert caught.value.retry_after == 4.0
    assert token_requests(sandbox) == [ACCESS_TOKEN, REFRESH_TOKEN, ACCESS_TOKEN]


def test_a_token_without_a_refresh_token_is_replaced_by_a_requested_one(
    tokens: ClientCredentials, sandbox: Sandbox, clock: Clock
) -> None:
    """
    Without a refresh token, the next token is requested like the first.
    """
    sandbox.inject(granting(expires_in=3600))
    tokens.current()
    clock.time += 3600

    tokens.current()

    assert token_requests(sandbox) == [ACCESS_TOKEN, ACCESS_TOKEN]


@pytest.mark.parametrize(
    ("expires_in", "seconds"),
    [
        (120, 60.0),
        (120.5, 60.5),
        ("120", 60.0),
        (None, 3540.0),
        ("soon", 3540.0),
        (0, 3540.0),
        (30, 15.0),
        (1, 1.0),
        ("nan", 3540.0),
        (-5, 1.0),
        (True, 3540.0),
        (False, 3540.0),
        ([], 3540.0),
        ({}, 3540.0),
        ("", 3540.0),
        ("2026-11-26 12:00:00", 3540.0),
    ],
)
def test_the_lifetime_is_read_as_sent(
    tokens: ClientCredentials,
    sandbox: Sandbox,
    clock: Clock,
    expires_in: object,
    seconds: float,
) -> None:
    """
    A lifetime may be a number or text, and is an hour if missing; half of a short one is used.
    """
    sandbox.inject(granting(expires_in=expires_in))
    tokens.current()

    clock.time += seconds - 0.1
    before = tokens.current()
    clock.time += 0.2
    after = tokens.current()

    assert before == "granted"
    assert after != "granted"


@pytest.mark.parametrize("nothing", [None, "", False, [], {}, 0, True])
def test_an_odd_refresh_token_is_none(
    tokens: ClientCredentials, sandbox: Sandbox, clock: Clock, nothing: object
) -> None:
    """
    Whatever stands for a refresh token that is not there, the token itself is used.
    """
    sandbox.inject(granting(expires_in=3600, refresh_token=nothing))

    first = tokens.current()
    clock.time += 3600
    tokens.current()

    assert first == "granted"
    assert token_requests(sandbox) == [ACCESS_TOKEN, ACCESS_TOKEN]


def test_a_rejected_token_is_replaced(tokens: ClientCredentials, sandbox: Sandbox) -> None:
    """
    If the provider rejects a token before it expires, there is another one.
    """
    rejected = tokens.current()

    fresh = tokens.replacement(rejected)

    assert fresh not in (None, rejected)
    assert tokens.current() == fresh
    assert token_requests(sandbox) == [ACCESS_TOKEN, REFRESH_TOKEN]


def test_a_rejected_token_is_not_used_again_after_its_refresh_failed(
    tokens: ClientCredentials, sandbox: Sandbox
) -> None:
    """
    Although it has not expired, the next request gets a requested token.
    """
    rejected = tokens.current()
    sandbox.inject(Fault(kind="status", endpoint="token", status=503))

    with pytest.raises(ProviderUnavailable):
        tokens.replacement(rejected)

    assert tokens.current() != rejected
    assert token_requests(sandbox) == [ACCESS_TOKEN, REFRESH_TOKEN, ACCESS_TOKEN]


def test_a_token_that_another_thread_replaced_is_not_replaced_again(
    tokens: ClientCredentials, sandbox: Sandbox
) -> None:
    """
    A thread that comes later with the same rejected token gets the token requested since.
    """
    rejected = tokens.current()
    fresh = tokens.replacement(rejected)

    late = tokens.replacement(rejected)

    assert late == fresh
    assert token_requests(sandbox) == [ACCESS_TOKEN, REFRESH_TOKEN]


def test_a_token_is_requested_if_there_is_none_to_replace(
    tokens: ClientCredentials, sandbox: Sandbox
) -> None:
    """
    A replacement is requested even if there was no token before.
    """
    assert tokens.replacement("unknown") == tokens.current()
    assert token_requests(sandbox) == [ACCESS_TOKEN]


def test_threads_whose_token_is_rejected_together_request_one(
    tokens: ClientCredentials, sandbox: Sandbox
) -> None:
    """
    Eight threads with the same rejected token get the same new one, requested once.
    """
    rejected = tokens.current()
    sandbox.inject(Fault(kind="delay", endpoint="token", seconds=0.05))
    together = threading.Barrier(8)
    given = []

    def replace() -> None:
        together.wait()
        given.append(tokens.replacement(rejected))

    threads = [threading.Thread(target=replace) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert given == [tokens.current()] * 8
    assert token_requests(sandbox) == [ACCESS_TOKEN, REFRESH_TOKEN]


def test_wrong_credentials_are_rejected_with_advice(
    sandbox: Sandbox, transport: HttpTransport
) -> None:
    """
    The error names the settings to check, and has neither id nor secret.
    """
    tokens = ClientCredentials(transport, "the-client", "the-secret")

    settings = "SYNCSVC_API_CLIENT_ID, SYNCSVC_API_CLIENT_SECRET and SYNCSVC_API_URL"
    with pytest.raises(ProviderRefused, match=rf"401 from .*\. Check {settings}\.$") as caught:
        tokens.current()

    assert "the-client" not in str(caught.value)
    assert "the-secret" not in str(caught.value)
    assert token_requests(sandbox) == [ACCESS_TOKEN]


def test_credentials_follow_no_redirect(tokens: ClientCredentials, sandbox: Sandbox) -> None:
    """
    Id and secret are sent only to the configured address.
    """
    with Sandbox(sandbox.inventory) as other:
        url = f"{other.url}{ACCESS_TOKEN}"
        sandbox.inject(Fault(kind="status", endpoint="token", status=307, location=url))
        with pytest.raises(ProviderRefused, match="307 from"):
            tokens.current()
        elsewhere = list(other.requests)

    assert elsewhere == []


@pytest.mark.parametrize("status", [408, 425, 429, 500, 503])
def test_a_token_request_with_a_transient_status_is_unavailable(
    tokens: ClientCredentials, sandbox: Sandbox, status: int
) -> None:
    """
    A failure that a later attempt may not meet is left to the retries.
    """
    sandbox.inject(Fault(kind="status", endpoint="token", status=status, retry_after="2"))

    with pytest.raises(ProviderUnavailable, match=ACCESS_TOKEN) as caught:
        tokens.current()

    assert (caught.value.reason, caught.value.retry_after) == (str(status), 2.0)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html></html>",
        b"[]",
        b"{}",
        b'{"access_token": null}',
        b'{"access_token": ""}',
        b'{"access_token": "two words"}',
        b'{"access_token": "line\\n"}',
        '{"access_token": "schlüssel"}'.encode(),
        b'{"access_token": "\xff"}',
        b'{"access_token": "t", "x": ' + b"[" * 100_000,
    ],
    ids=range(11),
)
def test_a_response_without_a_token_is_unavailable(
    tokens: ClientCredentials, sandbox: Sandbox, body: bytes
) -> None:
    """
    A proxy's page, or a token that would break the header, is not accepted as a token.
    """
    sandbox.inject(Fault(kind="body", endpoint="token", status=200, body=body))

    with pytest.raises(ProviderUnavailable, match=rf"no access token \({ACCESS_TOKEN}\)") as caught:
        tokens.current()

    assert caught.value.reason == "no_token"


def test_a_useless_refresh_is_not_repeated(
    tokens: ClientCredentials, sandbox: Sandbox, clock: Clock
) -> None:
    """
    Once a refreshed token is rejected, tokens are only requested, also when they expire.

    The log says so.
    """
    refreshed = tokens.replacement(tokens.current())
    assert refreshed is not None
    assert tokens.was_refreshed(refreshed)

    with capture_logs() as logs:
        fresh = tokens.replacement(refreshed)
    clock.time += 3600
    tokens.current()

    assert fresh not in (None, refreshed)
    assert [each["event"] for each in logs] == ["token.refresh_useless"]
    assert token_requests(sandbox) == [ACCESS_TOKEN, REFRESH_TOKEN, ACCESS_TOKEN, ACCESS_TOKEN]


def test_a_refresh_that_returns_the_same_token_is_useless(
    tokens: ClientCredentials, sandbox: Sandbox
) -> None:
    """
    If a refresh returns the rejected token itself, a new one is requested.
    """
    sandbox.inject(granting(refresh_token="r"), granting(refresh_token="r"))
    rejected = tokens.current()

    fresh = tokens.replacement(rejected)

    assert fresh not in (None, rejected)
    assert token_requests(sandbox) == [ACCESS_TOKEN, REFRESH_TOKEN, ACCESS_TOKEN]
