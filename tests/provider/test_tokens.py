"""
Access tokens, bought from the simulated provider.
"""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING

import pytest

from syncsvc.errors import ProviderRefused, ProviderUnavailable
from syncsvc.provider.tokens import ACCESS_TOKEN, REFRESH_TOKEN, ClientCredentials, FixedToken
from syncsvc.provider.transport import HttpTransport
from syncsvc.sandbox import Fault, Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator


class Clock:
    """
    A monotonic clock that is put forward by hand.
    """

    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        """
        The time that it shows.
        """
        return self.time


@pytest.fixture
def clock() -> Clock:
    """
    The time as the tokens see it.
    """
    return Clock()


@pytest.fixture
def transport(sandbox: Sandbox) -> Iterator[HttpTransport]:
    """
    The way to the simulated provider.
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


def bought(sandbox: Sandbox) -> list[str]:
    """
    The token calls that were made.
    """
    return [request.path for request in sandbox.requests]


def granting(**fields: object) -> Fault:
    """
    A token answer with these fields beside the token.
    """
    grant = {"access_token": "granted", "token_type": "Bearer", **fields}
    return Fault(kind="body", endpoint="token", status=200, body=json.dumps(grant).encode())


def test_a_fixed_token_is_the_only_one() -> None:
    """
    A fixed token is given for good, and there is no other after it.
    """
    tokens = FixedToken("the-token")

    assert tokens.current() == "the-token"
    assert tokens.replacement("the-token") is None


def test_a_token_is_bought_once_and_used_until_it_expires(
    tokens: ClientCredentials, sandbox: Sandbox
) -> None:
    """
    The client's id and secret buy one token, which every request uses.
    """
    given = {tokens.current() for _ in range(3)}

    assert len(given) == 1
    assert bought(sandbox) == [ACCESS_TOKEN]


@pytest.mark.parametrize(("seconds", "calls"), [(3539.9, 1), (3540.0, 2)])
def test_a_token_is_renewed_a_minute_before_it_expires(
    tokens: ClientCredentials, sandbox: Sandbox, clock: Clock, seconds: float, calls: int
) -> None:
    """
    A token of an hour is used for 59 minutes, then the refresh token buys the next.
    """
    tokens.current()
    clock.time += seconds

    tokens.current()

    assert bought(sandbox) == [ACCESS_TOKEN, REFRESH_TOKEN][:calls]


def test_every_refresh_uses_the_newest_refresh_token(
    tokens: ClientCredentials, sandbox: Sandbox, clock: Clock
) -> None:
    """
    A refresh token is good for one use, and its answer brings the next one.
    """
    given = set()
    for _ in range(3):
        given.add(tokens.current())
        clock.time += 3600

    assert len(given) == 3
    assert bought(sandbox) == [ACCESS_TOKEN, REFRESH_TOKEN, REFRESH_TOKEN]


def test_a_refused_refresh_token_is_replaced_by_a_new_purchase(
    tokens: ClientCredentials, sandbox: Sandbox, clock: Clock
) -> None:
    """
    Where the provider no longer takes the refresh token, id and secret buy again.
    """
    tokens.current()
    sandbox.expire_tokens(refresh=True)
    clock.time += 3600

    tokens.current()

    assert bought(sandbox) == [ACCESS_TOKEN, REFRESH_TOKEN, ACCESS_TOKEN]


def test_a_refresh_that_failed_is_not_tried_again(
    tokens: ClientCredentials, sandbox: Sandbox, clock: Clock
) -> None:
    """
    A refresh that did not work is unavailable, and the next attempt buys anew.
    """
    tokens.current()
    clock.time += 3600
    sandbox.inject(Fault(kind="status", endpoint="token", status=503, retry_after="4"))

    with pytest.raises(ProviderUnavailable, match="503 from") as caught:
        tokens.current()
    tokens.current()

    assert caught.value.retry_after == 4.0
    assert bought(sandbox) == [ACCESS_TOKEN, REFRESH_TOKEN, ACCESS_TOKEN]


def test_a_provider_without_refresh_tokens_is_asked_again(
    tokens: ClientCredentials, sandbox: Sandbox, clock: Clock
) -> None:
    """
    Without a refresh token the next purchase is like the first.
    """
    sandbox.inject(granting(expires_in=3600))
    tokens.current()
    clock.time += 3600

    tokens.current()

    assert bought(sandbox) == [ACCESS_TOKEN, ACCESS_TOKEN]


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
    A lifetime may be a number or text, an hour if it is not said; half of a short one is used.
    """
    sandbox.inject(granting(expires_in=expires_in))
    tokens.current()

    clock.time += seconds - 0.1
    before = tokens.current()
    clock.time += 0.2
    after = tokens.current()

    assert before == "granted"
    assert after != "granted"


def test_a_refused_token_is_renewed(tokens: ClientCredentials, sandbox: Sandbox) -> None:
    """
    After the provider refused a token before its time there is another one.
    """
    stale = tokens.current()

    fresh = tokens.replacement(stale)

    assert fresh not in (None, stale)
    assert tokens.current() == fresh
    assert bought(sandbox) == [ACCESS_TOKEN, REFRESH_TOKEN]


def test_a_token_that_another_thread_renewed_is_not_renewed_again(
    tokens: ClientCredentials, sandbox: Sandbox
) -> None:
    """
    Whoever comes late with a stale token gets the one bought since.
    """
    stale = tokens.current()
    fresh = tokens.replacement(stale)

    late = tokens.replacement(stale)

    assert late == fresh
    assert bought(sandbox) == [ACCESS_TOKEN, REFRESH_TOKEN]


def test_a_token_is_bought_where_there_is_none_to_renew(
    tokens: ClientCredentials, sandbox: Sandbox
) -> None:
    """
    A renewal buys a token, though none was bought before.
    """
    assert tokens.replacement("unknown") == tokens.current()
    assert bought(sandbox) == [ACCESS_TOKEN]


def test_threads_that_meet_a_refusal_together_buy_one_token(
    tokens: ClientCredentials, sandbox: Sandbox
) -> None:
    """
    Eight threads with the same stale token get the same new one, bought once.
    """
    stale = tokens.current()
    sandbox.inject(Fault(kind="delay", endpoint="token", seconds=0.05))
    together = threading.Barrier(8)
    given = []

    def renew() -> None:
        together.wait()
        given.append(tokens.replacement(stale))

    threads = [threading.Thread(target=renew) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert given == [tokens.current()] * 8
    assert bought(sandbox) == [ACCESS_TOKEN, REFRESH_TOKEN]


def test_a_wrong_client_is_refused_with_advice(sandbox: Sandbox, transport: HttpTransport) -> None:
    """
    The error names the settings to look at, and neither id nor secret.
    """
    tokens = ClientCredentials(transport, "the-client", "the-secret")

    with pytest.raises(ProviderRefused, match="401 from") as caught:
        tokens.current()

    assert "Check SYNCSVC_API_CLIENT_ID, SYNCSVC_API_CLIENT_SECRET" in str(caught.value)
    assert "the-client" not in str(caught.value)
    assert "the-secret" not in str(caught.value)
    assert bought(sandbox) == [ACCESS_TOKEN]


def test_credentials_follow_no_redirect(tokens: ClientCredentials, sandbox: Sandbox) -> None:
    """
    Id and secret are sent to the address that was set, and nowhere else.
    """
    with Sandbox(sandbox.inventory) as other:
        url = f"{other.url}{ACCESS_TOKEN}"
        sandbox.inject(Fault(kind="status", endpoint="token", status=307, location=url))
        with pytest.raises(ProviderRefused, match="307 from"):
            tokens.current()
        elsewhere = list(other.requests)

    assert elsewhere == []


@pytest.mark.parametrize("status", [408, 425, 429, 500, 503])
def test_a_purchase_that_may_pass_is_unavailable(
    tokens: ClientCredentials, sandbox: Sandbox, status: int
) -> None:
    """
    What a later attempt may not meet is left to the retries.
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
        b'{"access_token": "t", "expires_in": true}',
        b'{"access_token": "t", "x": ' + b"[" * 100_000,
    ],
    ids=range(12),
)
def test_an_answer_without_a_token_is_unavailable(
    tokens: ClientCredentials, sandbox: Sandbox, body: bytes
) -> None:
    """
    A proxy's page, or a token that would break the header, is no token.
    """
    sandbox.inject(Fault(kind="body", endpoint="token", status=200, body=body))

    with pytest.raises(ProviderUnavailable, match="has no access token") as caught:
        tokens.current()

    assert caught.value.reason == "no_token"


def test_a_refresh_that_leads_nowhere_is_remembered(
    tokens: ClientCredentials, sandbox: Sandbox, clock: Clock
) -> None:
    """
    Once a refreshed token is refused, tokens are bought for good, also when they expire.
    """
    refreshed = tokens.replacement(tokens.current())
    assert refreshed is not None
    assert tokens.was_refreshed(refreshed)

    fresh = tokens.replacement(refreshed)
    clock.time += 3600
    tokens.current()

    assert fresh not in (None, refreshed)
    assert bought(sandbox) == [ACCESS_TOKEN, REFRESH_TOKEN, ACCESS_TOKEN, ACCESS_TOKEN]


def test_a_refresh_that_gives_the_same_token_leads_nowhere(
    tokens: ClientCredentials, sandbox: Sandbox
) -> None:
    """
    A refresh that answers with the refused token itself is followed by a purchase.
    """
    sandbox.inject(granting(refresh_token="r"), granting(refresh_token="r"))
    stale = tokens.current()

    fresh = tokens.replacement(stale)

    assert fresh not in (None, stale)
    assert bought(sandbox) == [ACCESS_TOKEN, REFRESH_TOKEN, ACCESS_TOKEN]
