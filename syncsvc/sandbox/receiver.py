"""
A receiver of webhooks, for trials: it verifies what it gets, and reports each request.

It verifies as any other receiver would, by the library `standardwebhooks`.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING, Any, Self

from standardwebhooks import Webhook, WebhookVerificationError
from standardwebhooks.webhooks import EmptyWebhookSecretError
from werkzeug.wrappers import Request, Response

from syncsvc.sandbox.connections import LocalServer, OpenConnections
from syncsvc.sandbox.inventory import utc_now

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

ACCEPTED, UNAUTHORIZED, METHOD_NOT_ALLOWED = 204, 401, 405


@dataclass(frozen=True, kw_only=True)
class Received:
    """
    One request with an event, or with something else.

    Attributes:
        about: The account, and the number or run; of a test event the endpoint.
        refusal: Why it could not be verified; None if it was, or if there is no secret.
        is_verified: Its signature is one of a secret.
        is_repeated: A request before it had the same webhook-id.
        status: What was responded.
    """

    at: datetime
    id: str
    type: str
    about: str
    refusal: str | None
    is_verified: bool
    is_repeated: bool
    status: int

    def __str__(self) -> str:
        """
        Return it as one line.
        """
        verdict = "verified" if self.is_verified else "unverified: no secret was given"
        if self.refusal is not None:
            verdict = f"NOT VERIFIED: {self.refusal}"
        line = "  ".join(
            (
                f"{self.at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
                self.id or "(no webhook-id)",
                self.type or "(no type)",
                self.about or "(of nothing)",
                verdict,
                "repeated" if self.is_repeated else "new",
                str(self.status),
            )
        )
        return "".join(each if each.isprintable() else "�" for each in line)


class Receiver:
    """
    An endpoint on loopback, served from entering the context until leaving it.

    It responds 204, or 401 to what it can't verify.

    Args:
        secrets: A signature by any of them is accepted; none: nothing is verified.
        show: Called with each request, one at a time.
        status: Respond this to every request instead.

    Raises:
        ValueError: A secret is none.
    """

    def __init__(
        self,
        secrets: Sequence[str] = (),
        show: Callable[[Received], None] = lambda _received: None,
        *,
        status: int | None = None,
        port: int = 0,
    ) -> None:
        self.url = ""
        self._webhooks = [_webhook(secret) for secret in secrets]
        self._show = show
        self._status = status
        self._seen: set[str] = set()
        self._lock = threading.Lock()
        application = Request.application(self._respond)
        self._server = LocalServer(application, "127.0.0.1", port, OpenConnections())

    def __enter__(self) -> Self:
        self.url = self._server.start() + "/"
        return self

    def __exit__(self, *_details: object) -> None:
        self._server.stop()

    def _respond(self, request: Request) -> Response:
        if request.method != "POST":
            return Response(status=METHOD_NOT_ALLOWED, headers={"Allow": "POST"})
        body = request.get_data()
        refusal = self._refusal(body, request) if self._webhooks else None
        status = self._status or (ACCEPTED if refusal is None else UNAUTHORIZED)
        self._report(body, request.headers.get("webhook-id", ""), refusal, status)
        return Response(status=status)

    def _refusal(self, body: bytes, request: Request) -> str | None:
        """
        Return why no secret verifies a request; None if one does.
        """
        reason = None
        for webhook in self._webhooks:
            try:
                webhook.verify(body, dict(request.headers), json_parse=False)
            except WebhookVerificationError as error:
                reason = str(error)
            except ValueError:  # of a header or body that the library can't take apart
                reason = "The signature or the body is malformed"
            else:
                return None
        return reason

    def _report(self, body: bytes, identity: str, refusal: str | None, status: int) -> None:
        kind, about = _described(body)
        with self._lock:
            is_repeated = identity in self._seen
            if identity:
                self._seen.add(identity)
            self._show(
                Received(
                    at=utc_now(),
                    id=identity,
                    type=kind,
                    about=about,
                    refusal=refusal,
                    is_verified=bool(self._webhooks) and refusal is None,
                    is_repeated=is_repeated,
                    status=status,
                )
            )


def _webhook(secret: str) -> Webhook:
    try:
        return Webhook(secret)
    except (ValueError, EmptyWebhookSecretError) as error:
        raise ValueError("a secret is whsec_ and base64") from error


def _described(body: bytes) -> tuple[str, str]:
    """
    Return the type of an event and whom it is about; empty texts if it says neither.
    """
    try:
        event = json.loads(body)
    except ValueError:
        return "", ""
    fields: dict[str, Any] = event if isinstance(event, dict) else {}
    data = fields.get("data")
    return str(fields.get("type") or ""), _about(data if isinstance(data, dict) else {})


def _about(data: dict[str, Any]) -> str:
    if "account" not in data:
        return f"endpoint {data['endpoint']}" if "endpoint" in data else ""
    number = data.get("number_e164") or data.get("uuid")
    return f"{data['account']} {number or 'run ' + str(data.get('run_id'))}"
