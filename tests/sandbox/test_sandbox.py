"""
The simulated provider, over real sockets.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, get_args

import httpx
import pytest

from syncsvc.sandbox import ACCEPT, Behaviour, Endpoint, Fault, Inventory, Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator

NOON = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
NOON_STAMP = "2026-01-02 12:00:00"
SECRETS = {"client_id": "sandbox", "client_secret": "sandbox-secret"}


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """
    A running provider with 25 numbers.
    """
    with Sandbox(Inventory.seeded(25, clock=lambda: NOON)) as running:
        yield running


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[httpx.Client]:
    """
    A client with the headers that the provider asks for.
    """
    headers = {"Accept": ACCEPT, "Authorization": f"Bearer {sandbox.token}"}
    with httpx.Client(base_url=sandbox.url, headers=headers, timeout=10) as opened:
        yield opened


def page(client: httpx.Client, path: str = "/api/numbers", **query: object) -> dict[str, Any]:
    """
    Get a page that has to be there.
    """
    response = client.get(path, params={name: str(value) for name, value in query.items()})
    assert response.status_code == 200, response.text
    content: dict[str, Any] = response.json()
    return content


def uuids(rows: list[dict[str, Any]]) -> list[str]:
    """
    The uuids of rows, in their order.
    """
    return [row["uuid"] for row in rows]


# The inventory


def test_the_same_seed_makes_the_same_inventory() -> None:
    """
    Two inventories of one seed are equal, and another seed's is not.
    """
    made = Inventory.seeded(50, seed=3)

    assert made.rows == Inventory.seeded(50, seed=3).rows
    assert made.rows != Inventory.seeded(50, seed=4).rows


def test_a_seeded_inventory_is_as_uneven_as_the_provider() -> None:
    """
    Charges come in both types, addresses and stamps may be missing, and keys are unique.
    """
    rows = Inventory.seeded(1000).rows
    details = [row["details"] for row in rows]

    assert {str, int, float} == {type(row["monthly_charge"]) for row in rows}
    assert {"", None} < {row.get("provisioned") for row in rows}
    assert any(each["emergency_number_address"] is None for each in details)
    assert any(
        row.get("provisioned") not in ("", None, row["details"]["provisioned"]) for row in rows
    )
    assert {"UK", "DE", "FR", "US", "IE"} == {row["country_iso"] for row in rows}
    assert len(rows) == len(set(uuids(rows))) == len({row["number_e164"] for row in rows})


def test_addresses_are_shared_and_written_with_the_iso_code() -> None:
    """
    A thousand numbers share 52 addresses, in which the United Kingdom is GB.
    """
    details = [row["details"] for row in Inventory.seeded(1000).rows]
    found = [each["number_address"] for each in details if each["number_address"]]

    assert len({address["id"] for address in found}) <= 52
    assert {"GB", "DE", "FR", "US", "IE"} == {each["addressCountry"]["iso"] for each in found}


def test_a_provisioned_number_is_listed_with_its_stamp() -> None:
    """
    New numbers are in the listing, stamped with the clock's time.
    """
    inventory = Inventory.seeded(5, clock=lambda: NOON)

    new = inventory.provision(3)

    assert len(inventory.rows) == 8
    assert all(row in inventory.rows for row in new)
    assert {NOON_STAMP} == {row["provisioned"] for row in new}


def test_a_cancelled_number_moves_to_the_cancelled_listing() -> None:
    """
    A cancelled number keeps its charges and its stamp, has another one, and no details.
    """
    inventory = Inventory([*Inventory.example().rows], clock=lambda: NOON)

    (entry,) = inventory.cancel()

    assert inventory.rows == []
    assert inventory.cancelled == [entry]
    assert entry["status"] == "Cancelled"
    assert entry["provisioned"] == "2016-01-03 17:48:59"
    assert entry["cancelled"] == NOON_STAMP
    assert entry["monthly_charge"] == 0.3
    assert "details" not in entry


def test_a_reinstated_number_is_provisioned_anew() -> None:
    """
    It is live as it was, but for the new stamp in both places.
    """
    inventory = Inventory.example(clock=lambda: NOON)
    (before,) = inventory.rows
    inventory.cancel()

    (after,) = inventory.reinstate()

    details = before["details"] | {"provisioned": NOON_STAMP}
    assert after == before | {"provisioned": NOON_STAMP, "details": details}
    assert inventory.rows == [after]
    assert inventory.cancelled == []


def test_an_entry_that_was_never_live_can_be_reinstated() -> None:
    """
    A row given as cancelled gets details without addresses.
    """
    inventory = Inventory(cancelled=[{"uuid": "u", "status": "Cancelled", "cancelled": "x"}])

    (row,) = inventory.reinstate()

    assert row["status"] == "Reserved"
    assert row["details"]["number_address"] is None
    assert "cancelled" not in row


@pytest.mark.parametrize("seed", range(20))
def test_an_edit_changes_what_is_listed_and_not_a_listing_taken_before(seed: int) -> None:
    """
    Every edit makes a difference, and rows read earlier stay as they were.
    """
    inventory = Inventory.seeded(10, seed=seed)
    before = inventory.listing()
    written = json.dumps(before)

    inventory.edit()

    assert json.dumps(before) == written
    assert json.dumps(inventory.rows) != written
    assert uuids(inventory.rows) == uuids(before)


def test_an_address_is_edited_wherever_it_stands() -> None:
    """
    After many edits, one address id still has one content.
    """
    inventory = Inventory.seeded(60)

    inventory.edit(200)
    inventory.edit(60)

    contents: dict[int, set[str]] = {}
    for row in inventory.rows:
        for key in ("number_address", "emergency_number_address"):
            if address := row["details"][key]:
                contents.setdefault(address["id"], set()).add(json.dumps(address))
    assert any("Unit" in text for texts in contents.values() for text in texts)
    assert {1} == {len(texts) for texts in contents.values()}


def test_a_step_makes_changes_of_every_kind() -> None:
    """
    Many steps provision, cancel and reinstate, and keys stay unique.
    """
    inventory = Inventory.seeded(50)
    before = set(uuids(inventory.rows))

    inventory.step(200)

    after = uuids(inventory.rows)
    assert set(after) - before
    assert inventory.cancelled
    assert len(after) == len(set(after))
    assert not set(after) & set(uuids(inventory.cancelled))


def test_any_json_can_be_listed_and_changed_around() -> None:
    """
    Rows that are no objects, or have no details, stand beside the others.
    """
    odd: list[object] = [None, 7, "text", [], {}, {"uuid": 5}, {"uuid": "u", "details": None}]
    inventory = Inventory(rows=odd)

    inventory.step(50)
    inventory.shuffle()

    assert all(row in inventory.rows for row in odd[:6])


def test_shuffling_keeps_the_rows() -> None:
    """
    The order is another one, the rows are the same.
    """
    inventory = Inventory.seeded(50)
    before = uuids(inventory.rows)

    inventory.shuffle()

    assert uuids(inventory.rows) != before
    assert sorted(uuids(inventory.rows)) == sorted(before)


# Listing


def test_the_documented_example_is_served(sandbox: Sandbox, client: httpx.Client) -> None:
    """
    The example inventory answers with the documented page's row and envelope.
    """
    sandbox.reset(Inventory.example())

    content = page(client)

    assert list(content) == ["numbers", "num_results", "paginates"]
    assert content["num_results"] == 1
    assert content["paginates"] is False
    (row,) = content["numbers"]
    assert row["number_e164"] == "+441245123456"
    assert row["details"]["provisioned"] == "2018-11-12 14:21:48"
    assert row["details"]["emergency_number_address"]["name"] == "Other Main office"


def test_pages_cover_the_listing_once(sandbox: Sandbox, client: httpx.Client) -> None:
    """
    Three pages of ten hold the 25 numbers in order, and the last one does not paginate.
    """
    pages = [page(client, max_per_page=10, page=number) for number in (1, 2, 3)]

    rows = [row for content in pages for row in content["numbers"]]
    assert rows == sandbox.inventory.rows
    assert [content["paginates"] for content in pages] == [True, True, False]
    assert {25} == {content["num_results"] for content in pages}


def test_a_page_has_fifty_numbers_unless_asked(sandbox: Sandbox, client: httpx.Client) -> None:
    """
    The page size is 50 without the parameter, and 200 at most with it.
    """
    sandbox.reset(Inventory.seeded(300))

    assert len(page(client)["numbers"]) == 50
    assert len(page(client, max_per_page=1000)["numbers"]) == 200


def test_a_provider_may_clamp_pages_further(sandbox: Sandbox, client: httpx.Client) -> None:
    """
    A lower limit of the provider holds, whatever was asked.
    """
    sandbox.behaviour.max_per_page = 7

    assert len(page(client, max_per_page=200)["numbers"]) == 7
    assert len(page(client)["numbers"]) == 7


@pytest.mark.parametrize(
    ("behaviour", "count"), [(Behaviour(past_end="empty"), 0), (Behaviour(past_end="repeat"), 5)]
)
def test_a_page_past_the_end_is_empty_or_the_last(
    sandbox: Sandbox, client: httpx.Client, behaviour: Behaviour, count: int
) -> None:
    """
    Page 9 of 3 has no numbers, or those of page 3.
    """
    sandbox.reset(sandbox.inventory, behaviour)

    content = page(client, max_per_page=10, page=9)

    assert content["numbers"] == sandbox.inventory.rows[20:][:count]
    assert content["paginates"] is False


def test_a_page_past_the_end_may_not_be_found(sandbox: Sandbox, client: httpx.Client) -> None:
    """
    Page 2 of 1 is 404 if the provider has it so, and page 1 of nothing is not.
    """
    sandbox.reset(Inventory(), Behaviour(past_end="not_found"))

    assert client.get("/api/numbers", params={"page": 2}).status_code == 404
    assert page(client)["numbers"] == []


@pytest.mark.parametrize(
    ("behaviour", "shown"),
    [
        (Behaviour(paginates="always"), [True, True]),
        (Behaviour(paginates="never"), [False, False]),
        (Behaviour(paginates="absent"), [None, None]),
    ],
)
def test_paginates_may_tell_nothing(
    sandbox: Sandbox, client: httpx.Client, behaviour: Behaviour, shown: list[object]
) -> None:
    """
    It may be true or false on every page, or missing.
    """
    sandbox.reset(sandbox.inventory, behaviour)

    pages = [page(client, max_per_page=20, page=number) for number in (1, 2)]

    assert shown == [content.get("paginates") for content in pages]


@pytest.mark.parametrize(
    ("behaviour", "shown"),
    [(Behaviour(num_results="page"), [20, 5]), (Behaviour(num_results="absent"), [None, None])],
)
def test_num_results_may_be_of_the_page(
    sandbox: Sandbox, client: httpx.Client, behaviour: Behaviour, shown: list[object]
) -> None:
    """
    It may be the page's own count, or missing.
    """
    sandbox.reset(sandbox.inventory, behaviour)

    pages = [page(client, max_per_page=20, page=number) for number in (1, 2)]

    assert shown == [content.get("num_results") for content in pages]


def test_the_order_may_differ_on_every_request(sandbox: Sandbox, client: httpx.Client) -> None:
    """
    Two requests list the same numbers in different orders, and the inventory keeps its own.
    """
    before = uuids(sandbox.inventory.rows)
    sandbox.behaviour.shuffled = True

    first, second = (uuids(page(client)["numbers"]) for _ in range(2))

    assert first != second
    assert sorted(first) == sorted(second) == sorted(before)
    assert before == uuids(sandbox.inventory.rows)


def test_a_search_finds_digits_in_live_numbers(sandbox: Sandbox, client: httpx.Client) -> None:
    """
    A search lists the numbers that contain the digits, and no cancelled ones.
    """
    rows = [{"number_e164": text} for text in ("+44 12 34", "+441299", "+331234", 5)]
    sandbox.reset(Inventory([*rows, None], cancelled=[{"number_e164": "+491234"}]))

    content = page(client, search="1234")

    assert [rows[0], rows[2]] == content["numbers"]
    assert content["num_results"] == 2


def test_the_cancelled_listing_has_the_same_envelope(
    sandbox: Sandbox, client: httpx.Client
) -> None:
    """
    It is paged and searched as the live one.
    """
    entries = sandbox.inventory.cancel(5)

    content = page(client, "/api/numbers/cancelled", max_per_page=3, page=2)
    found = page(client, "/api/numbers/cancelled", search=entries[0]["number_e164"][1:])

    assert content == {"numbers": entries[3:], "num_results": 5, "paginates": False}
    assert found["numbers"] == entries[:1]


@pytest.mark.parametrize(
    ("behaviour", "status"),
    [
        (Behaviour(cancelled_listing="forbidden"), 403),
        (Behaviour(cancelled_listing="not_found"), 404),
    ],
)
def test_the_cancelled_listing_may_be_closed(
    sandbox: Sandbox, client: httpx.Client, behaviour: Behaviour, status: int
) -> None:
    """
    It may be forbidden or missing, with a JSON error.
    """
    sandbox.reset(sandbox.inventory, behaviour)

    response = client.get("/api/numbers/cancelled")

    assert response.status_code == status
    assert response.json()["error"]


@pytest.mark.parametrize(
    "query", ["page=0", "page=-1", "page=x", "page=", "page=1.5", "max_per_page=0", "search=x"]
)
def test_a_parameter_out_of_range_is_refused(client: httpx.Client, query: str) -> None:
    """
    What is no integer from 1, or no digits to search, is 422.
    """
    assert client.get(f"/api/numbers?{query}").status_code == 422


def test_an_unknown_path_and_method_are_refused(client: httpx.Client) -> None:
    """
    They are 404 and 405, with JSON errors.
    """
    assert client.get("/api/nothing").json()["error"]
    assert client.get("/api/nothing").status_code == 404
    assert client.post("/api/numbers").status_code == 405


def test_bodies_are_compressed_where_the_client_accepts_it(
    sandbox: Sandbox, client: httpx.Client
) -> None:
    """
    The body is gzip only with the behaviour and the client's consent.
    """
    sandbox.behaviour.gzip = True

    packed = client.get("/api/numbers")
    plain = client.get("/api/numbers", headers={"Accept-Encoding": "identity"})

    assert packed.headers["Content-Encoding"] == "gzip"
    assert "Content-Encoding" not in plain.headers
    assert packed.json() == plain.json()


def test_latency_slows_every_listing_request(sandbox: Sandbox, client: httpx.Client) -> None:
    """
    A listing takes at least the latency, a token does not.
    """
    sandbox.behaviour.latency = 0.2
    began = time.monotonic()
    page(client)
    page(client, "/api/numbers/cancelled")
    assert time.monotonic() - began >= 0.4

    began = time.monotonic()
    client.post("/api/oauth2/access-token")
    assert time.monotonic() - began < 0.2


def test_the_inventory_can_change_between_pages(sandbox: Sandbox, client: httpx.Client) -> None:
    """
    The hook runs before each listing page, not before a search, and its change is seen.
    """
    seen: list[int] = []

    def cancel_before_second(number: int) -> None:
        seen.append(number)
        if number == 2:
            sandbox.inventory.rows = sandbox.inventory.rows[1:]

    sandbox.before_page = cancel_before_second
    before = list(sandbox.inventory.rows)

    pages = [page(client, max_per_page=10, page=number) for number in (1, 2)]
    page(client, search="1")

    assert seen == [1, 2]
    assert pages[1]["numbers"] == before[11:21]
    assert [content["num_results"] for content in pages] == [25, 24]


def test_a_failing_hook_is_kept(sandbox: Sandbox, client: httpx.Client) -> None:
    """
    What the hook raises is answered with 500 and kept for the test.
    """
    sandbox.before_page = lambda number: [][number]

    assert client.get("/api/numbers").status_code == 500
    assert [IndexError] == [type(failure) for failure in sandbox.failures]


def test_pages_of_a_large_listing_come_without_stalls(
    sandbox: Sandbox, client: httpx.Client
) -> None:
    """
    A hundred pages of 100,000 numbers come on one connection, none held back by the network.
    """
    sandbox.reset(Inventory([Inventory.example().rows[0]] * 100_000))
    began = time.monotonic()

    lengths = {
        len(client.get(f"/api/numbers?max_per_page=200&page={number}").content)
        for number in range(1, 101)
    }

    assert time.monotonic() - began < 3.5
    assert min(lengths) > 100_000


# Tokens


def test_a_token_is_needed(sandbox: Sandbox) -> None:
    """
    A missing, unknown or differently sent token is 401 with a JSON error.
    """
    for sent in (None, "Bearer unknown", f"Basic {sandbox.token}", "Bearer"):
        headers = {"Accept": ACCEPT} | ({"Authorization": sent} if sent else {})
        response = httpx.get(f"{sandbox.url}/api/numbers", headers=headers)
        assert response.status_code == 401
        assert response.json()["error"]


@pytest.mark.parametrize("accept", ["*/*", "application/json", ""])
def test_the_accept_header_is_needed(client: httpx.Client, accept: str) -> None:
    """
    Anything but the provider's media type is 406.
    """
    assert client.get("/api/numbers", headers={"Accept": accept}).status_code == 406


@pytest.mark.parametrize("encoding", ["data", "json"])
def test_a_token_is_issued_and_refreshed(sandbox: Sandbox, encoding: str) -> None:
    """
    Client credentials give a token pair, and its refresh token another, once.
    """
    asked = {"grant_type": "client_credentials", **SECRETS}
    with httpx.Client(base_url=sandbox.url, headers={"Accept": ACCEPT}) as client:
        first = client.request(
            "POST",
            "/api/oauth2/access-token",
            **{encoding: asked},  # type: ignore[arg-type]
        ).json()
        refresh = asked | {"grant_type": "refresh_token", "refresh_token": first["refresh_token"]}
        second, again = (client.post("/api/oauth2/refresh-token", data=refresh) for _ in range(2))
        statuses = [
            client.get("/api/numbers", headers={"Authorization": f"Bearer {token}"}).status_code
            for token in (first["access_token"], second.json()["access_token"])
        ]

    assert first["token_type"] == "Bearer"
    assert first["expires_in"] == 3600
    assert statuses == [200, 200]
    assert again.status_code == 400


@pytest.mark.parametrize(
    ("wrong", "status"),
    [({"client_id": "x"}, 401), ({"client_secret": "x"}, 401), ({"grant_type": "x"}, 400)],
)
def test_wrong_credentials_are_refused(
    sandbox: Sandbox, wrong: dict[str, str], status: int
) -> None:
    """
    A wrong client is 401 and a wrong grant 400, with a JSON error.
    """
    asked = {"grant_type": "client_credentials", **SECRETS, **wrong}

    response = httpx.post(f"{sandbox.url}/api/oauth2/access-token", data=asked)

    assert response.status_code == status
    assert response.json()["error"]


def issue(sandbox: Sandbox) -> dict[str, Any]:
    """
    Get a token pair.
    """
    asked = {"grant_type": "client_credentials", **SECRETS}
    issued: dict[str, Any] = httpx.post(f"{sandbox.url}/api/oauth2/access-token", data=asked).json()
    return issued


def status_with(client: httpx.Client, token: str) -> int:
    """
    The status of a listing request with this token.
    """
    headers = {"Authorization": f"Bearer {token}"}
    return client.get("/api/numbers", headers=headers).status_code


def test_a_token_expires_by_itself(sandbox: Sandbox, client: httpx.Client) -> None:
    """
    After the token's lifetime it is 401.
    """
    sandbox.behaviour.token_lifetime = 1
    issued = issue(sandbox)

    early = status_with(client, issued["access_token"])
    time.sleep(1.05)

    assert [early, status_with(client, issued["access_token"])] == [200, 401]


@pytest.mark.parametrize(("refresh", "status"), [(False, 200), (True, 400)])
def test_issued_tokens_can_be_made_to_expire(
    sandbox: Sandbox, client: httpx.Client, *, refresh: bool, status: int
) -> None:
    """
    Issued tokens end, the fixed one does not, refresh tokens only if asked for.
    """
    issued = issue(sandbox)

    sandbox.expire_tokens(refresh=refresh)

    asked = {**SECRETS, "grant_type": "refresh_token", "refresh_token": issued["refresh_token"]}
    assert status_with(client, issued["access_token"]) == 401
    assert status_with(client, sandbox.token) == 200
    assert client.post("/api/oauth2/refresh-token", data=asked).status_code == status


def test_the_fixed_token_can_be_revoked(sandbox: Sandbox, client: httpx.Client) -> None:
    """
    After revoking, the fixed token is 401, until a reset.
    """
    sandbox.revoke()
    revoked = status_with(client, sandbox.token)
    sandbox.reset(Inventory())

    assert [revoked, status_with(client, sandbox.token)] == [401, 200]


# Faults


def test_a_status_fault_answers_in_place_of_the_page(
    sandbox: Sandbox, client: httpx.Client
) -> None:
    """
    It bears its status, Retry-After and Location, and then it is over.
    """
    sandbox.inject(Fault(kind="status", status=429, retry_after="7", location="/elsewhere"))

    response = client.get("/api/numbers")

    assert response.status_code == 429
    assert response.headers["Retry-After"] == "7"
    assert response.headers["Location"] == "/elsewhere"
    assert response.json()["error"]
    assert client.get("/api/numbers").status_code == 200


def test_faults_skip_and_repeat(sandbox: Sandbox, client: httpx.Client) -> None:
    """
    A fault lets its skipped requests pass and counts those that another one took.
    """
    sandbox.inject(
        Fault(kind="status", status=503, skip=1, times=2), Fault(kind="status", status=429, skip=4)
    )

    statuses = [client.get("/api/numbers").status_code for _ in range(6)]

    assert statuses == [200, 503, 503, 200, 429, 200]


@pytest.mark.parametrize(
    ("endpoint", "method", "path"),
    [
        ("numbers", "GET", "/api/numbers"),
        ("search", "GET", "/api/numbers?search=1"),
        ("cancelled", "GET", "/api/numbers/cancelled"),
        ("token", "POST", "/api/oauth2/access-token"),
        ("token", "POST", "/api/oauth2/refresh-token"),
    ],
)
def test_a_fault_concerns_its_endpoint_only(
    sandbox: Sandbox, client: httpx.Client, endpoint: Endpoint, method: str, path: str
) -> None:
    """
    Requests elsewhere neither see nor use up a fault.
    """
    others = [each for each in get_args(Endpoint) if each not in ("any", endpoint)]
    sandbox.inject(Fault(kind="status", status=599, endpoint=endpoint))
    sandbox.inject(*(Fault(kind="status", status=598, endpoint=each) for each in others))

    first = client.request(method, path).status_code
    second = client.request(method, path).status_code

    assert first == 599
    assert second < 500


def test_a_delay_answers_properly_later(sandbox: Sandbox, client: httpx.Client) -> None:
    """
    The true page comes after the seconds given.
    """
    sandbox.inject(Fault(kind="delay", seconds=0.2))
    began = time.monotonic()

    content = page(client)

    assert content["num_results"] == 25
    assert time.monotonic() - began >= 0.2


def test_a_cut_body_breaks_off_in_the_middle(sandbox: Sandbox, client: httpx.Client) -> None:
    """
    The headers promise the whole body, half of it comes, and the next request is fine.
    """
    sandbox.inject(Fault(kind="cut"))

    with client.stream("GET", "/api/numbers") as response:
        assert response.status_code == 200
        assert int(response.headers["Content-Length"]) > 1000
        with pytest.raises(httpx.RemoteProtocolError, match="without sending complete"):
            response.read()
    assert page(client)["num_results"] == 25


def test_a_reset_connection_is_a_read_error(sandbox: Sandbox, client: httpx.Client) -> None:
    """
    The client sees its connection reset before any answer.
    """
    sandbox.inject(Fault(kind="reset"))

    with pytest.raises(httpx.ReadError):
        client.get("/api/numbers")
    assert page(client)["num_results"] == 25


@pytest.mark.parametrize("status", [200, 502])
def test_a_proxy_may_answer_with_html(sandbox: Sandbox, client: httpx.Client, status: int) -> None:
    """
    An HTML page comes with the status given, also with 200.
    """
    sandbox.inject(Fault(kind="html", status=status))

    response = client.get("/api/numbers")

    assert response.status_code == status
    assert response.headers["Content-Type"].startswith("text/html")
    assert "<html>" in response.text


def test_any_body_can_be_sent(sandbox: Sandbox, client: httpx.Client) -> None:
    """
    The bytes given come as JSON with the status given.
    """
    sandbox.inject(Fault(kind="body", status=200, body=b'{"numbers": \xff'))

    response = client.get("/api/numbers")

    assert response.status_code == 200
    assert response.headers["Content-Type"] == "application/json"
    assert response.content == b'{"numbers": \xff'


def test_a_dripping_body_is_whole_in_the_end(sandbox: Sandbox, client: httpx.Client) -> None:
    """
    The true body comes byte by byte.
    """
    sandbox.reset(Inventory([1, 2, 3]))
    sandbox.inject(Fault(kind="drip", seconds=0.005))
    began = time.monotonic()

    content = page(client)

    assert content["numbers"] == [1, 2, 3]
    assert time.monotonic() - began >= 0.2


def test_an_endless_body_ends_with_the_client(sandbox: Sandbox, client: httpx.Client) -> None:
    """
    The body goes on until the client goes away, and the next request is fine.
    """
    sandbox.inject(Fault(kind="endless"))

    size = 0
    with client.stream("GET", "/api/numbers") as response:
        for chunk in response.iter_bytes():
            size += len(chunk)
            if size > 5_000_000:
                break

    assert size > 5_000_000
    assert page(client)["num_results"] == 25


def test_a_timeout_never_answers(sandbox: Sandbox, client: httpx.Client) -> None:
    """
    The client's own timeout strikes first, or the connection closes without an answer.
    """
    sandbox.inject(Fault(kind="timeout", seconds=0.3, times=2))

    with pytest.raises(httpx.ReadTimeout):
        client.get("/api/numbers", timeout=0.1)
    with pytest.raises(httpx.RemoteProtocolError):
        client.get("/api/numbers", timeout=5)


def test_an_unknown_fault_or_behaviour_is_refused() -> None:
    """
    A misspelt choice is an error, not a fault that never comes.
    """
    wrong: Any = "explode"

    with pytest.raises(ValueError, match="unknown kind 'explode'; use one of status, delay"):
        Fault(kind=wrong)
    with pytest.raises(ValueError, match="unknown past_end 'explode'; use one of empty"):
        Behaviour(past_end=wrong)


# The server itself


def test_requests_are_kept_in_their_order(sandbox: Sandbox, client: httpx.Client) -> None:
    """
    Each request is noted with its query and authorization, but those to the sandbox itself.
    """
    client.get("/api/numbers", params={"page": 2, "search": "44"})
    client.get("/sandbox")
    client.post("/api/oauth2/access-token")

    first, second = sandbox.requests
    assert (first.method, first.path) == ("GET", "/api/numbers")
    assert first.query == {"page": "2", "search": "44"}
    assert first.authorization == "Bearer sandbox-token"
    assert (second.method, second.path) == ("POST", "/api/oauth2/access-token")


def test_connections_are_kept_open(sandbox: Sandbox) -> None:
    """
    Two requests are answered on one socket.
    """
    request = b"GET /sandbox HTTP/1.1\r\nHost: x\r\n\r\n"
    with socket.create_connection(("127.0.0.1", int(sandbox.url.rpartition(":")[2]))) as line:
        answers = []
        for _ in range(2):
            line.sendall(request)
            answers.append(line.recv(65536))
            while b"}" not in answers[-1]:
                answers[-1] += line.recv(65536)

    assert all(answer.startswith(b"HTTP/1.1 200") for answer in answers)


def test_clients_are_served_at_the_same_time(sandbox: Sandbox) -> None:
    """
    Eight clients with a latency of 0.3 s are done in far less than eight times that.
    """
    sandbox.behaviour.latency = 0.3
    headers = {"Accept": ACCEPT, "Authorization": f"Bearer {sandbox.token}"}
    statuses: Counter[int] = Counter()

    def ask() -> None:
        with httpx.Client(base_url=sandbox.url, headers=headers) as client:
            statuses[client.get("/api/numbers").status_code] += 1

    threads = [threading.Thread(target=ask) for _ in range(8)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert statuses == {200: 8}
    assert time.monotonic() - began < 2


def test_a_reset_begins_anew(sandbox: Sandbox, client: httpx.Client) -> None:
    """
    After a reset nothing is left of the faults, requests, hook and behaviour before.
    """
    sandbox.inject(Fault(kind="status", times=100))
    sandbox.before_page = lambda number: [][number]
    sandbox.behaviour.max_per_page = 1
    client.get("/api/numbers")

    sandbox.reset(Inventory.seeded(3))

    assert sandbox.requests == []
    assert len(page(client)["numbers"]) == 3


def test_leaving_ends_open_connections_and_waiting_requests() -> None:
    """
    Leaving the context returns at once, with a connection idle and a request delayed.
    """
    with Sandbox(Inventory()) as sandbox:
        address = ("127.0.0.1", int(sandbox.url.rpartition(":")[2]))
        sandbox.inject(Fault(kind="timeout", seconds=60))
        with socket.create_connection(address), socket.create_connection(address) as waiting:
            waiting.sendall(b"GET /api/numbers HTTP/1.1\r\nHost: x\r\n\r\n")
            while not sandbox.requests:
                time.sleep(0.01)
            began = time.monotonic()
            sandbox.__exit__(None, None, None)
            took = time.monotonic() - began

    assert took < 2
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)


def test_a_port_in_use_is_an_error(sandbox: Sandbox) -> None:
    """
    A second server on the same port raises OSError and does not exit the process.
    """
    port = int(sandbox.url.rpartition(":")[2])

    with pytest.raises(OSError, match="in use"):
        Sandbox(Inventory(), port=port).__enter__()


def test_the_inventory_can_change_by_itself(sandbox: Sandbox) -> None:
    """
    A changing inventory is another one after a while, with no request made.
    """
    before = json.dumps(sandbox.inventory.rows)

    sandbox.change_every(0.01, changes=2)

    deadline = time.monotonic() + 5
    while json.dumps(sandbox.inventory.listing()) == before:
        assert time.monotonic() < deadline
        time.sleep(0.01)


# Control over HTTP


def test_another_process_can_change_the_inventory(sandbox: Sandbox) -> None:
    """
    A change order steps the inventory and answers with the state.
    """
    before = json.dumps(sandbox.inventory.rows)

    state = httpx.post(f"{sandbox.url}/sandbox/change?changes=30").json()

    assert json.dumps(sandbox.inventory.rows) != before
    assert state == httpx.get(f"{sandbox.url}/sandbox").json()
    assert state == {
        "rows": len(sandbox.inventory.rows),
        "cancelled": len(sandbox.inventory.cancelled),
        "requests": 0,
    }


def test_another_process_can_inject_faults(sandbox: Sandbox, client: httpx.Client) -> None:
    """
    Faults come as a JSON list of their fields, the body as text.
    """
    orders = [{"kind": "body", "status": 200, "body": "{"}, {"kind": "status", "status": 503}]

    httpx.post(f"{sandbox.url}/sandbox/faults", json=orders).raise_for_status()

    assert client.get("/api/numbers").text == "{"
    assert client.get("/api/numbers").status_code == 503


def test_faults_still_to_come_are_listed_and_cleared(
    sandbox: Sandbox, client: httpx.Client
) -> None:
    """
    GET lists the faults with what is left of each, as POST takes them; DELETE clears them.
    """
    url = f"{sandbox.url}/sandbox/faults"
    httpx.post(url, json=[{"kind": "status", "status": 503, "times": 3}]).raise_for_status()
    client.get("/api/numbers")

    left = httpx.get(url).json()
    httpx.post(url, json=left).raise_for_status()
    twice = httpx.get(url).json()
    httpx.delete(url).raise_for_status()

    assert [(fault["kind"], fault["status"], fault["times"]) for fault in left] == [
        ("status", 503, 2)
    ]
    assert twice == left * 2
    assert httpx.get(url).json() == []
    assert client.get("/api/numbers").status_code == 200


def test_another_process_can_set_the_behaviour(sandbox: Sandbox, client: httpx.Client) -> None:
    """
    The fields named change, the others stay.
    """
    sandbox.behaviour.num_results = "absent"
    kept = sandbox.behaviour

    httpx.post(f"{sandbox.url}/sandbox/behaviour", json={"max_per_page": 3}).raise_for_status()

    assert len(page(client)["numbers"]) == 3
    assert kept == Behaviour(num_results="absent", max_per_page=3)


@pytest.mark.parametrize(
    ("path", "order"),
    [
        ("faults", [{"kind": "explode"}]),
        ("faults", 5),
        ("behaviour", {"colour": "red"}),
        ("behaviour", {"past_end": "explode"}),
    ],
)
def test_an_order_that_makes_no_sense_is_refused(
    sandbox: Sandbox, path: str, order: object
) -> None:
    """
    Unknown fields and choices are 422 and change nothing.
    """
    response = httpx.post(f"{sandbox.url}/sandbox/{path}", json=order)

    assert response.status_code == 422
    assert sandbox.behaviour == Behaviour()
