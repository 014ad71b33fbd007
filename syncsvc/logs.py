"""
Logs: one pipeline for the records of the service and of its libraries.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

import stamina
import structlog

if TYPE_CHECKING:
    from stamina.instrumentation import RetryDetails
    from structlog.typing import Processor

SHARED: tuple[Processor, ...] = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.StackInfoRenderer(),
)
QUIET = ("httpx", "httpcore", "alembic", "apscheduler", "werkzeug", "sqlalchemy", "asyncio")
# The task engine and its pool tell of a lost database with a traceback for each thing that they
# could not do. The worker's own records say that it is lost, and when it is back.
SILENT = ("procrastinate", "psycopg.pool")


def set_up_logging(level: str = "info", log_format: str = "auto") -> None:
    """
    Send every record to stderr: text for a terminal, otherwise JSON.

    Args:
        level: The lowest level logged, in lower case.
        log_format: `console`, `json`, or `auto` to choose by whether stderr is a terminal.
    """
    console = log_format == "console" or (log_format == "auto" and sys.stderr.isatty())
    structlog.configure(
        processors=[*SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=SHARED, processors=[_strip_meta, *_renderers(console=console)]
        )
    )
    stamina.instrumentation.set_on_retry_hooks([_log_retry])
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for name in QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    for name in SILENT:
        logging.getLogger(name).setLevel(root.level if level == "debug" else logging.CRITICAL)


_strip_meta = structlog.stdlib.ProcessorFormatter.remove_processors_meta


def _renderers(*, console: bool) -> list[Processor]:
    if console:
        plain = (
            structlog.dev.plain_traceback
        )  # the other formatters show variables, which may be secrets
        return [
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), exception_formatter=plain, pad_event_to=0
            )
        ]
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]


def _log_retry(details: RetryDetails) -> None:
    """
    Log why and when a request is retried.
    """
    structlog.get_logger(__name__).warning(
        "provider.retry",
        attempt=details.retry_num,
        wait_seconds=round(details.wait_for, 2),
        error=str(details.caused_by),
    )
