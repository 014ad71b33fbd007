"""
A simulated provider over real sockets, with faults on request.

It is used in tests and demonstrations. It is written from the provider's
documentation and imports nothing of the service, so that the two can't share a
mistake.
"""

from __future__ import annotations

import gzip
import ipaddress
import json
import re
import threading
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Self

from werkzeug.exceptions import (
    BadRequest,
    Forbidden,
    HTTPException,
    NotAcceptable,
    NotFound,
    Unauthorized,
    UnprocessableEntity,
)
from werkzeug.routing import Map, Rule
from werkzeug.wrappers import Request as HttpRequest
from werkzeug.wrappers import Response

from syncsvc.sandbox.connections import LocalServer, OpenConnections
from syncsvc.sandbox.faults import JSON, Fault, Pending, faulty, problem
from syncsvc.sandbox.pages_and_access_tokens import Behaviour, Tokens, envelope

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from syncsvc.sandbox.inventory import Inventory


ACCEPT = "application/vnd.cloudlx.v1+json"
DEFAULT_PER_PAGE = 50
ROUTES = Map(
    [
        Rule("/api/numbers", methods=["GET"], endpoint="numbers"),
        Rule("/api/numbers/cancelled", methods=["GET"], endpoint="cancelled"),
        Rule(
            "/api/oauth2/access-token",
            methods=["POST"],
            endpoint="token",
            defaults={"grant": "client_credentials"},
        ),
        Rule(
            "/api/oauth2/refresh-token",
            methods=["POST"],
            endpoint="token",
            defaults={"grant": "refresh_token"},
        ),
        Rule("/sandbox", methods=["GET"], endpoint="state"),
        Rule("/sandbox/change", methods=["POST"], endpoint="change"),
        Rule("/sandbox/faults", methods=["GET", "POST", "DELETE"], endpoint="faults"),
        Rule("/sandbox/behaviour", methods=["POST"], endpoint="behaviour"),
    ],
    redirect_defaults=False,
    strict_slashes=False,
    merge_slashes=False,
)


@dataclass(frozen=True, kw_only=True)
class Request:
    """
    A request that the provider received.
    """

    method: str
    path: str
    query: dict[str, str]
    accept: str | None
    authorization: str | None


class Sandbox:
    """
    A simulated provider, served from entering the context until leaving it.
    """

    token = "sandbox-token"  # noqa: S105 - no secret, it opens nothing but this
    client_id = "sandbox"
    client_secret = "sandbox-secret"  # noqa: S105

    def __init__(
        self,
        inventory: Inventory,
        behaviour: Behaviour | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.url = ""
        self.failures: list[Exception] = []
        self._address = (host, port)
        self._lines = OpenConnections()
        self._threads: list[threading.Thread] = []
        self.reset(inventory, behaviour)

    def reset(self, inventory: Inventory, behaviour: Behaviour | None = None) -> None:
        """
        Start again with this inventory: no faults, no requests, no issued tokens.
        """
        self.inventory = inventory
        self.behaviour = behaviour or Behaviour()
        self.requests: list[Request] = []
        self.before_page: Callable[[int], None] | None = None
        self._pending = Pending()
        self._tokens = Tokens(self.token)

    def __enter__(self) -> Self:
        application = HttpRequest.application(self._answer)
        self._server = LocalServer(application, *self._address, self._lines)
        self.url = self._server.start()
        return self

    def __exit__(self, *_details: object) -> None:
        self._server.stop()
        for thread in self._threads:
            thread.join()

    def inject(self, *faults: Fault) -> None:
        """
        Inject these faults from now on.
        """
        self._pending.add(*faults)

    def faults(self) -> list[dict[str, Any]]:
        """
        Return the faults still to come, as they are written in JSON.
        """
        return [fault.as_order() for fault in self._pending.left()]

    def expire_tokens(self, *, refresh: bool = False) -> None:
        """
        Make every issued access token invalid, and refresh tokens if requested.
        """
        self._tokens.expire(refresh=refresh, fixed=False)

    def revoke(self) -> None:
        """
        Make every token invalid, the fixed one too.
        """
        self._tokens.expire(refresh=True, fixed=True)

    def change_every(self, seconds: float, changes: int = 5) -> None:
        """
        Change the inventory periodically until the sandbox closes.
        """

        def changing() -> None:
            while not self._lines.end.wait(seconds):
                self.inventory.step(changes)

        self._start(changing)

    def _start(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        self._threads.append(thread)

    def _answer(self, http: HttpRequest) -> Response:
        if http.path.startswith("/api"):
            self._note(http)
        try:
            return self._dispatch(http)
        except HTTPException as error:
            return problem(error.code or 500, error.description or error.name)
        except ConnectionError:
            raise
        except Exception as error:  # noqa: BLE001 - the test reads `failures`
            self.failures.append(error)
            return problem(500, repr(error))

    def _note(self, http: HttpRequest) -> None:
        self.requests.append(
            Request(
                method=http.method,
                path=http.path,
                query=http.args.to_dict(),
                accept=http.headers.get("Accept"),
                authorization=http.headers.get("Authorization"),
            )
        )

    def _dispatch(self, http: HttpRequest) -> Response:
        endpoint, values = ROUTES.bind_to_environ(http.environ).match()
        if http.path.startswith("/sandbox"):
            return self._control(endpoint, http)
        if endpoint == "numbers" and "search" in http.args:
            endpoint = "search"
        fault = self._pending.due(endpoint)
        if fault is None:
            return self._proper(endpoint, http, values)
        connection = http.environ["werkzeug.socket"]
        return faulty(
            fault, lambda: self._proper(endpoint, http, values), connection, self._lines.end
        )

    def _proper(self, endpoint: str, http: HttpRequest, values: Mapping[str, Any]) -> Response:
        try:
            content = self._content(endpoint, http, values)
        except HTTPException as error:
            return problem(error.code or 500, error.description or error.name)
        body = json.dumps(content, allow_nan=False).encode()
        response = Response(body, content_type=JSON)
        if self.behaviour.gzip and http.accept_encodings.quality("gzip") > 0:
            response.set_data(gzip.compress(body, compresslevel=1, mtime=0))
            response.headers["Content-Encoding"] = "gzip"
        return response

    def _content(
        self, endpoint: str, http: HttpRequest, values: Mapping[str, Any]
    ) -> dict[str, Any]:
        if endpoint == "token":
            return self._grant(http, values["grant"])
        self._admit(http)
        return self._listing(endpoint, http)

    def _admit(self, http: HttpRequest) -> None:
        scheme, _, token = http.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not self._tokens.accepts(token):
            raise Unauthorized("The access token is missing, unknown or expired.")
        if http.headers.get("Accept", "").strip().lower() != ACCEPT:
            raise NotAcceptable(f"Accept has to be {ACCEPT}.")

    def _grant(self, http: HttpRequest, grant: str) -> dict[str, Any]:
        form = http.get_json() if http.is_json else http.form.to_dict()
        if not isinstance(form, dict) or form.get("grant_type") != grant:
            raise BadRequest("unsupported_grant_type")
        if (form.get("client_id"), form.get("client_secret")) != (
            self.client_id,
            self.client_secret,
        ):
            raise Unauthorized("invalid_client")
        if grant == "refresh_token" and not self._tokens.use_refresh(str(form.get(grant))):
            raise BadRequest("invalid_grant")
        return self._tokens.issue(self.behaviour.token_lifetime)

    def _listing(self, endpoint: str, http: HttpRequest) -> dict[str, Any]:
        page = whole(http, "page", 1)
        asked = whole(http, "max_per_page", DEFAULT_PER_PAGE)
        digits = http.args.get("search")
        if digits is not None and not re.fullmatch("[0-9]+", digits):
            raise UnprocessableEntity("search has to be digits.")
        self._lines.end.wait(self.behaviour.latency)
        if endpoint == "cancelled":
            self._open_cancelled()
        elif endpoint == "numbers" and self.before_page is not None:
            self.before_page(page)
        rows = self.inventory.listing(
            cancelled=endpoint == "cancelled", digits=digits, shuffled=self.behaviour.shuffled
        )
        return envelope(rows, page, asked, self.behaviour)

    def _open_cancelled(self) -> None:
        if self.behaviour.cancelled_listing == "forbidden":
            raise Forbidden("This user may not see cancelled numbers.")
        if self.behaviour.cancelled_listing == "not_found":
            raise NotFound("There is no such listing.")

    def _control(self, endpoint: str, http: HttpRequest) -> Response:
        if not ipaddress.ip_address(http.remote_addr or "").is_loopback:
            raise Forbidden("Only this host may control the sandbox.")
        if endpoint == "faults" and http.method == "GET":
            return Response(json.dumps(self.faults()), content_type=JSON)
        if endpoint == "faults" and http.method == "DELETE":
            self._pending.clear()
        elif endpoint == "change":
            self.inventory.step(whole(http, "changes", 5))
        elif endpoint != "state":
            self._take_orders(endpoint, http)
        state = {
            "rows": len(self.inventory.rows),
            "cancelled": len(self.inventory.cancelled),
            "requests": len(self.requests),
        }
        return Response(json.dumps(state), content_type=JSON)

    def _take_orders(self, endpoint: str, http: HttpRequest) -> None:
        orders = http.get_json(force=True)
        try:
            if endpoint == "faults":
                self.inject(*[Fault.from_order(order) for order in orders])
                return
            wanted = replace(self.behaviour, **orders)
        except (TypeError, ValueError) as error:
            raise UnprocessableEntity(str(error)) from error
        for field in fields(wanted):
            setattr(self.behaviour, field.name, getattr(wanted, field.name))


def whole(http: HttpRequest, name: str, default: int) -> int:
    """
    Return a parameter that counts from 1.

    Raises:
        UnprocessableEntity: It is something else.
    """
    text = http.args.get(name, str(default))
    if not re.fullmatch("[0-9]{1,9}", text) or int(text) < 1:
        raise UnprocessableEntity(f"{name} has to be an integer from 1.")
    return int(text)
