"""
Report the cancellations that wait for a decision, for those who have to take it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, case, func, select

from syncsvc.reports.definition.expressions import account_filter, portable_order
from syncsvc.reports.definition.report import (
    CHARGE,
    COUNTRY,
    NUMBER,
    RANGE,
    STATUS,
    UUID,
    Column,
    Kind,
    Report,
)
from syncsvc.schema.tables import numbers, sync_runs, withheld_cancellations
from syncsvc.vocabulary import Evidence, RunState

if TYPE_CHECKING:
    from sqlalchemy import ScalarSelect, Select

    from syncsvc.reports.definition.report import Arguments


def _withheld(arguments: Arguments) -> Select[Any]:
    waiting = withheld_cancellations.c
    return (
        select(
            numbers.c.number_e164,
            numbers.c.uuid,
            numbers.c.country_alpha2,
            numbers.c.range_name,
            numbers.c.status,
            numbers.c.monthly_charge,
            _last_seen().label("last_seen_at"),
            waiting.evidence,
            waiting.reason,
            waiting.run_id,
        )
        .join_from(
            withheld_cancellations,
            numbers,
            and_(numbers.c.account == waiting.account, numbers.c.uuid == waiting.uuid),
        )
        .join(
            sync_runs,
            and_(sync_runs.c.account == waiting.account, sync_runs.c.id == waiting.run_id),
        )
        .where(account_filter(numbers, arguments))
        .order_by(
            waiting.reason,
            *portable_order(numbers.c.country_alpha2, numbers.c.number_e164, numbers.c.uuid),
        )
    )


def _last_seen() -> Any:  # noqa: ANN401 - an SQL expression, whose type is that of its branches
    """
    The start of the last run that is known to have listed the number.

    A run does not store which numbers it listed. It listed every live number if it read a complete
    listing, rejected no row and withheld nothing; and the number if it changed it.
    """
    whole = _last_whole_listing()
    return case(
        (withheld_cancellations.c.evidence == Evidence.LISTING, sync_runs.c.started_at),
        (whole > numbers.c.changed_at, whole),
        else_=numbers.c.changed_at,
    )


def _last_whole_listing() -> ScalarSelect[Any]:
    earlier = sync_runs.alias()
    return (
        select(func.max(earlier.c.started_at))
        .where(
            earlier.c.account == sync_runs.c.account,
            earlier.c.started_at < sync_runs.c.started_at,
            earlier.c.state == RunState.SUCCEEDED,
            earlier.c.rejected == 0,
            earlier.c.withheld == 0,
            earlier.c.detail["complete"].as_boolean(),
        )
        .correlate(sync_runs)
        .scalar_subquery()
    )


REPORTS = (
    Report(
        name="withheld",
        meaning="Cancellations that the last run withheld, each with its evidence and the reason.",
        why="These numbers stay live until somebody decides. Compare them with the carrier's "
        "portal: if they really are cancelled, `syncsvc sync --allow-mass-cancel` accepts them "
        "all; if not, ask the carrier, and the report is empty again once they are listed.",
        takes={"country": None, "limit": None},
        columns=(
            NUMBER,
            UUID,
            COUNTRY,
            RANGE,
            STATUS,
            CHARGE,
            Column(
                "last_seen_at",
                Kind.MOMENT,
                "Start of the last run that is known to have listed it.",
            ),
            Column(
                "evidence",
                Kind.TEXT,
                "What suggests the cancellation: listing, cancelled_listing or absence.",
            ),
            Column(
                "reason",
                Kind.TEXT,
                "guard: too many at once on weak evidence; search_failed: a search for it failed; "
                "search_limit: the run made too many searches; contradicted: a search found it, or "
                "others that the listing lacks.",
            ),
            Column("run_id", Kind.ID, "The run that withheld it."),
        ),
        query=_withheld,
    ),
)
