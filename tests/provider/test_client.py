"""
The client of the provider, against the simulated one.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, get_args

import pytest
import stamina
from stamina.instrumentation import RetryDetails, set_on_retry_hooks

from support.build import api_for
from syncsvc.errors import ProviderRefused, ProviderUnavailable
from syncsvc.provider import throttle
from syncsvc.provider.http.response import BODY_LIMIT
from syncsvc.provider.http.transport import HttpTransport
from syncsvc.provider.tokens import ACCESS_TOKEN, REFRESH_TOKEN, ClientCredentials, FixedToken
from syncsvc.sandbox import Behaviour, Endpoint, Fault, Inventory, Sandbox
from syncsvc.sandbox.faults import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from syncsvc.payloads.records import Page
    from syncsvc.provider.client import NumberApi

NUMBERS = "/api/numbers"
TIMES = 5  # attempts of these tests' clients


class Waited(Exception):
    """
    A retry was about to wait.
    """


@pytest.fixture
def api(sandbox: Sandbox) -> Iterator[NumberApi]:
    """
    A client with a fixed token.
    """
    with api_for(sandbox, retries=TIMES - 1) as client:
        yield client


@pytest.fixture
def client_api(sandbox: Sandbox) -> Iterator[NumberApi]:
    """
    A client that requests its tokens.
    """
    transport = HttpTransport(sandbox.url, timeout=5.0, concurrency=4)
    tokens = ClientCredentials(transport, Sandbox.client_id, Sandbox.client_secret)
    with api_for(sandbox, retries=TIMES - 1, tokens=tokens) as client:
        yield client
    transport.close()


@pytest.fixture
def waits() -> Iterator[list[float]]:
    """
    How long each retry would wait; none does.
    """
    seen: list[float] = []

    def note(details: RetryDetails) -> None:
        seen.append(details.wait_for)
        raise Waited

    stamina.set_testing(False)
    set_on_retry_hooks([note])
    yield seen
    set_on_retry_hooks(None)


def uuids(page: Page | None) -> list[str | None]:
    """
    The uuids on a page, which must exist.
    """
    assert page is not None
    return [row.uuid for row in page.rows]


def sent(sandbox: Sandbox) -> list[str]:
    """
    The paths that were requested.
    """
    return [request.path for request in sandbox.requests]


def test_a_page_is_read_as_the_provider_sent_it(sandbox: Sandbox, api: NumberApi) -> None:
    """
    Rows are in the order sent, with the provider's total and paging flag.
    """
    sandbox.inventory = Inventory.seeded(450)

    page = api.page(3)

    assert uuids(page) == [row["uuid"] for row in sandbox.inventory.rows[400:]]
    assert page is not None
    assert (page.num_results, page.paginates) == (450, False)


def test_a_request_asks_for_one_page_with_the_token(sandbox: Sandbox) -> None:
    """
    The request has the page, its length and the bearer token; the sandbox requires `Accept`.
    """
    with api_for(sandbox, page_size=50) as api:
        api.page(7)

    (request,) = sandbox.requests
    assert (request.method, request.path) == ("GET", NUMBERS)
    assert request.query == {"max_per_page": "50", "page": "7"}
    assert request.authorization == "Bearer sandbox-token"


def test_a_compressed_page_is_read(sandbox: Sandbox, api: NumberApi) -> None:
    """
    Pages are requested compressed, and read either way.
    """
    sandbox.reset(Inventory.seeded(20), Behaviour(gzip=True))

    assert uuids(api.page(1)) == [row["uuid"] for row in sandbox.inventory.rows]


def test_a_page_past_the_end_that_is_not_found_is_none(sandbox: Sandbox, api: NumberApi) -> None:
    """
    A 404 for a page other than the first is the end of the listing.
    """
    sandbox.reset(Inventory.seeded(1), Behaviour(past_end="not_found"))

    assert api.page(2) is None


# Transient failures are retried


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 520])
def test_a_transient_status_is_retried(
    sandbox: Sandbox, api: NumberApi, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Server errors, 408, 425 and 429 are retried until the page comes.
    """
    monkeypatch.setattr(throttle, "FIRST_PAUSE", 0.001)
    sandbox.inventory = Inventory.seeded(3)
    sandbox.inject(Fault(kind="status", status=status, times=TIMES - 1))

    page = api.page(1)

    assert len(uuids(page)) == 3
    assert len(sandbox.requests) == TIMES


@pytest.mark.parametrize(
    "fault",
    [
        Fault(kind="reset", times=2),
        Fault(kind="cut", times=2),
        Fault(kind="timeout", times=2),
        Fault(kind="html", status=200, times=2),
        Fault(kind="html", status=502, times=2),
        Fault(kind="body", status=200, body=b"", times=2),
        Fault(kind="body", status=200, body=b'{"numbers": [', times=2),
        Fault(kind="body", status=200, body=b'{"error": "later"}', times=2),
        Fault(kind="body", status=200, body=b"[]", times=2),
        Fault(kind="body", status=200, body=b'{"numbers": {"a": {}}}', times=2),
        Fault(kind="body", status=200, body=b"\xff\xfe", times=2),
    ],
    ids=lambda fault: f"{fault.kind}-{fault.status}-{fault.body.decode(errors='replace')}",
)
def test_a_broken_response_is_retried(sandbox: Sandbox, api: NumberApi, fault: Fault) -> None:
    """
    Broken connections and bodies that are not a page are retried, also with status 200.
    """
    sandbox.inventory = Inventory.seeded(3)
    sandbox.inject(fault)

    page = api.page(1)

    assert len(uuids(page)) == 3
    assert len(sandbox.requests) == 3


def test_a_slow_response_is_retried(sandbox: Sandbox) -> None:
    """
    A timeout is retried like any other failure.
    """
    sandbox.inventory = Inventory.seeded(3)
    sandbox.inject(Fault(kind="drip", seconds=0.02), Fault(kind="delay", seconds=1))

    with api_for(sandbox, timeout=0.25) as api:
        page = api.page(1)

    assert len(uuids(page)) == 3
    assert len(sandbox.requests) == 3


def test_the_last_attempts_failure_is_raised(sandbox: Sandbox, api: NumberApi) -> None:
    """
    After the first attempt and SYNCSVC_API_RETRIES further ones the failure is final.
    """
    sandbox.inject(Fault(kind="status", status=503, times=100))

    with pytest.raises(ProviderUnavailable, match="503 from"):
        api.page(1)

    assert len(sandbox.requests) == TIMES


def test_without_retries_there_is_one_attempt(sandbox: Sandbox) -> None:
    """
    SYNCSVC_API_RETRIES may be 0.
    """
    sandbox.inject(Fault(kind="reset"))

    with api_for(sandbox, retries=0) as api, pytest.raises(ProviderUnavailable):
        api.page(1)

    assert len(sandbox.requests) == 1


def test_a_failed_token_request_is_retried(sandbox: Sandbox, client_api: NumberApi) -> None:
    """
    A token request that fails is retried together with the page that needs it.
    """
    sandbox.inventory = Inventory.seeded(3)
    sandbox.inject(
        Fault(kind="status", endpoint="token", status=503),
        Fault(kind="html", endpoint="token", status=200),
        Fault(kind="reset", endpoint="token"),
    )

    page = client_api.page(1)

    assert len(uuids(page)) == 3
    assert sent(sandbox) == [ACCESS_TOKEN] * 4 + [NUMBERS]


# How long to wait


def test_retries_back_off_with_jitter(sandbox: Sandbox, waits: list[float]) -> None:
    """
    The first retry waits half a second and up to a second more, at random.
    """
    sandbox.inject(Fault(kind="status", status=500, times=100))

    with api_for(sandbox) as api:
        for _ in range(10):
            with pytest.raises(Waited):
                api.page(1)

    assert all(0.5 <= wait <= 1.5 for wait in waits)
    assert len(set(waits)) == 10


@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [("7", 7.0), ("59", 59.0), ("900", 60.0), ("Sat, 02 Jan 2999 12:00:00 GMT", 60.0)],
)
@pytest.mark.parametrize("endpoint", ["numbers", "token"])
def test_a_retry_waits_as_long_as_the_provider_says(
    sandbox: Sandbox,
    client_api: NumberApi,
    waits: list[float],
    endpoint: Endpoint,
    retry_after: str,
    seconds: float,
) -> None:
    """
    `Retry-After` replaces the backoff, without jitter, up to a minute.
    """
    sandbox.inject(Fault(kind="status", endpoint=endpoint, status=429, retry_after=retry_after))

    with pytest.raises(Waited):
        client_api.page(1)

    assert waits == [seconds]


@pytest.mark.parametrize("status", [500, 503])
@pytest.mark.parametrize("now", ["0", "0.0", "-5", "Fri, 02 Jan 2026 12:00:00 GMT", "soon", ""])
def test_a_retry_backs_off_if_retry_after_names_no_time(
    sandbox: Sandbox, api: NumberApi, waits: list[float], now: str, status: int
) -> None:
    """
    A provider that says "now" and fails is not asked for all attempts at once.
    """
    sandbox.inject(Fault(kind="status", status=status, retry_after=now))

    with pytest.raises(Waited):
        api.page(1)

    assert 0.5 <= waits[0] <= 1.5


def test_a_retry_really_waits(sandbox: Sandbox, api: NumberApi) -> None:
    """
    The next attempt is not made before the provider's Retry-After has passed.
    """
    stamina.set_testing(False)
    sandbox.inject(Fault(kind="status", status=429, retry_after="0.2"))

    began_at = time.monotonic()
    api.page(1)
    took = time.monotonic() - began_at

    assert 0.2 <= took < 0.5


# Other failures are raised immediately


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (400, "Check SYNCSVC_API_URL"),
        (401, "Check SYNCSVC_API_TOKEN, or the client's id and secret"),
        (403, "Ask for the permission in the portal"),
        (404, "There is no such API. Check SYNCSVC_API_URL"),
        (406, "Check SYNCSVC_API_URL"),
        (410, "Check SYNCSVC_API_URL"),
        (422, "Check SYNCSVC_API_URL"),
        (204, "Check SYNCSVC_API_URL"),
    ],
)
def test_a_refusal_says_what_to_do(
    sandbox: Sandbox, api: NumberApi, status: int, advice: str
) -> None:
    """
    Any other status is an error immediately, with the status and advice, and without the token.
    """
    sandbox.inject(Fault(kind="status", status=status, times=100))

    with pytest.raises(ProviderRefused) as caught:
        api.page(1)

    assert f"The provider rejected the request ({status} from {NUMBERS})." in str(caught.value)
    assert advice in str(caught.value)
    assert sandbox.token not in str(caught.value)
    assert len(sandbox.requests) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_refused(sandbox: Sandbox, api: NumberApi, status: int) -> None:
    """
    A redirect is not followed; the error names its host, but nothing else of the address.
    """
    location = "https://user:pass@elsewhere.test:8443/login?token=hidden"
    sandbox.inject(Fault(kind="status", status=status, location=location))

    with pytest.raises(ProviderRefused) as caught:
        api.page(1)

    assert (
        f"({status} from {NUMBERS}). It leads to https://elsewhere.test; redirects are not "
        "followed. Set SYNCSVC_API_URL to the final address." in str(caught.value)
    )
    assert "hidden" not in str(caught.value)
    assert "pass" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "location", "words"),
    [
        (302, None, "another path"),
        (302, "/login?token=hidden", "another path"),
        (300, "http://999.1.1.1/", "an address that can't be read"),
    ],
)
def test_an_odd_redirect_is_refused(
    sandbox: Sandbox, api: NumberApi, status: int, location: str | None, words: str
) -> None:
    """
    A redirect without a target, within the host or to an invalid address is an error, too.
    """
    sandbox.inject(Fault(kind="status", status=status, location=location))

    with pytest.raises(ProviderRefused, match=f"It leads to {words};"):
        api.page(1)


def test_the_token_reaches_nobody_else(sandbox: Sandbox, api: NumberApi) -> None:
    """
    The target of a redirect gets no request.
    """
    with Sandbox(Inventory.seeded(3)) as other:
        sandbox.inject(Fault(kind="status", status=307, location=f"{other.url}{NUMBERS}"))
        with pytest.raises(ProviderRefused, match="redirects are not followed"):
            api.page(1)
        elsewhere = list(other.requests)

    assert elsewhere == []


def test_a_page_that_is_too_large_is_refused_once(sandbox: Sandbox, api: NumberApi) -> None:
    """
    A body over 64 MiB would be as large again, so it is not requested twice.
    """
    sandbox.inject(Fault(kind="endless", times=100))

    with pytest.raises(ProviderRefused, match="larger than 64 MiB"):
        api.page(1)

    assert len(sandbox.requests) == 1


def test_a_page_that_is_a_gzip_bomb_is_refused_once(sandbox: Sandbox, api: NumberApi) -> None:
    """
    The limit is on the size after decompression.
    """
    sandbox.reset(Inventory(["x" * BODY_LIMIT]), Behaviour(gzip=True))

    with pytest.raises(ProviderRefused, match="larger than 64 MiB"):
        api.page(1)

    assert len(sandbox.requests) == 1


# Tokens


def test_an_expired_token_is_refreshed_for_the_same_page(
    sandbox: Sandbox, client_api: NumberApi
) -> None:
    """
    After a 401, the token is refreshed and only that page requested again.
    """
    sandbox.inventory = Inventory.seeded(450)
    client_api.page(1)
    sandbox.expire_tokens()

    page = client_api.page(2)

    assert uuids(page) == [row["uuid"] for row in sandbox.inventory.rows[200:400]]
    assert sent(sandbox) == [ACCESS_TOKEN, NUMBERS, NUMBERS, REFRESH_TOKEN, NUMBERS]
    assert [request.query.get("page") for request in sandbox.requests] == [
        None,
        "1",
        "2",
        None,
        "2",
    ]


def test_an_expired_refresh_token_is_replaced(sandbox: Sandbox, client_api: NumberApi) -> None:
    """
    If the refresh token is rejected, the next token is requested with id and secret.
    """
    client_api.page(1)
    sandbox.expire_tokens(refresh=True)

    client_api.page(2)

    assert sent(sandbox) == [
        ACCESS_TOKEN,
        NUMBERS,
        NUMBERS,
        REFRESH_TOKEN,
        ACCESS_TOKEN,
        NUMBERS,
    ]


def test_a_new_token_that_is_refused_is_an_error(sandbox: Sandbox, client_api: NumberApi) -> None:
    """
    A rejected refreshed token is followed by a requested one; if that is rejected, it is final.
    """
    sandbox.inject(Fault(kind="status", endpoint="numbers", status=401, times=100))

    with pytest.raises(ProviderRefused, match="The token is not accepted"):
        client_api.page(1)

    assert sent(sandbox) == [ACCESS_TOKEN, NUMBERS, REFRESH_TOKEN, NUMBERS, ACCESS_TOKEN, NUMBERS]


def test_a_fixed_token_that_is_refused_is_an_error(sandbox: Sandbox, api: NumberApi) -> None:
    """
    There is no replacement, and the token is not tried twice.
    """
    sandbox.revoke()

    with pytest.raises(ProviderRefused, match="The token is not accepted"):
        api.page(1)

    assert len(sandbox.requests) == 1


def test_threads_that_get_a_401_together_request_one_token(
    sandbox: Sandbox, client_api: NumberApi
) -> None:
    """
    Four pages in flight with one expired token cost one refresh.
    """
    sandbox.inventory = Inventory.seeded(800)
    client_api.page(1)
    sandbox.expire_tokens()
    sandbox.inject(Fault(kind="delay", endpoint="numbers", seconds=0.05, times=4))
    sandbox.inject(Fault(kind="delay", endpoint="token", seconds=0.05))
    together = threading.Barrier(4)
    read: dict[int, Page | None] = {}

    def fetch(index: int) -> None:
        together.wait()
        read[index] = client_api.page(index)

    threads = [threading.Thread(target=fetch, args=(index,)) for index in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [uuid for index in range(1, 5) for uuid in uuids(read[index])] == [
        row["uuid"] for row in sandbox.inventory.rows
    ]
    assert sent(sandbox).count(REFRESH_TOKEN) == 1
    assert sent(sandbox).count(ACCESS_TOKEN) == 1


@pytest.mark.parametrize("kind", get_args(Kind))
def test_no_failure_shows_a_secret(sandbox: Sandbox, kind: Kind) -> None:
    """
    Whatever goes wrong, neither the error nor its causes have the token.
    """
    sandbox.inject(Fault(kind=kind, seconds=0.3, times=100))

    with (
        api_for(sandbox, tokens=FixedToken("the-secret"), timeout=0.2, retries=0) as api,
        pytest.raises((ProviderRefused, ProviderUnavailable)) as caught,
    ):
        api.page(1)

    chain = [caught.value, caught.value.__cause__]
    assert not [exc for exc in chain if "the-secret" in repr(exc)]


# The end


def test_a_closed_client_asks_for_nothing(sandbox: Sandbox) -> None:
    """
    After the run's end no further page is requested.
    """
    with api_for(sandbox) as api:
        pass

    with pytest.raises(ProviderRefused, match="The run has ended"):
        api.page(1)

    assert sandbox.requests == []


def test_an_attempt_under_way_is_the_last_if_the_client_closes(
    sandbox: Sandbox, api: NumberApi
) -> None:
    """
    A failure after the client was closed is not retried.
    """
    sandbox.before_page = lambda _: api.close()
    sandbox.inject(Fault(kind="cut", times=100))

    with pytest.raises(ProviderUnavailable):
        api.page(1)

    assert len(sandbox.requests) == 1
