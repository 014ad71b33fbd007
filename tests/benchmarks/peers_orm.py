"""
A plain script, as many an operator has one: SQLAlchemy's ORM, merging row by row.

    python tests/benchmarks/peers_orm.py API_URL DATABASE_URL

It commits after each page, keeps no history and does not notice what is gone.
"""

from __future__ import annotations

import json
import sys
from datetime import datetime
from decimal import Decimal
from typing import Any

from bench_tasks import fetch, measured
from sqlalchemy import ForeignKey, create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column


class Base(DeclarativeBase):
    """
    The script's tables.
    """


class Address(Base):
    """
    An address.
    """

    __tablename__ = "orm_addresses"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    name: Mapped[str]
    use_for_proof_of_address: Mapped[bool]
    use_for_emergency_address: Mapped[bool]
    address_line1: Mapped[str]
    address_line2: Mapped[str]
    address_city: Mapped[str]
    address_region: Mapped[str]
    address_postal_code: Mapped[str]
    country_name: Mapped[str]
    country_iso: Mapped[str]


class Number(Base):
    """
    A number.
    """

    __tablename__ = "orm_numbers"

    uuid: Mapped[str] = mapped_column(primary_key=True)
    number_e164: Mapped[str]
    number: Mapped[str]
    range_code: Mapped[str]
    range_name: Mapped[str]
    country_code: Mapped[str]
    country_name: Mapped[str]
    country_iso: Mapped[str]
    monthly_charge: Mapped[Decimal]
    setup_charge: Mapped[Decimal]
    status: Mapped[str]
    provisioned: Mapped[datetime]
    details_status: Mapped[str]
    details_provisioned: Mapped[datetime]
    number_address_id: Mapped[int] = mapped_column(ForeignKey(Address.id))
    emergency_number_address_id: Mapped[int] = mapped_column(ForeignKey(Address.id))


AS_SENT = (
    "uuid number_e164 number range_code range_name country_code country_name country_iso status"
)


def address(sent: dict[str, Any]) -> Address:
    """
    An address, as it was sent.
    """
    return Address(
        id=sent["id"],
        name=sent["name"],
        use_for_proof_of_address=sent["useForProofOfAddress"],
        use_for_emergency_address=sent["useForEmergencyAddress"],
        address_line1=sent["addressLine1"],
        address_line2=sent["addressLine2"],
        address_city=sent["addressCity"],
        address_region=sent["addressRegion"],
        address_postal_code=sent["addressPostalCode"],
        country_name=sent["addressCountry"]["name"],
        country_iso=sent["addressCountry"]["iso"],
    )


def number(sent: dict[str, Any]) -> Number:
    """
    A number, as it was sent.
    """
    details = sent["details"]
    return Number(
        **{name: sent[name] for name in AS_SENT.split()},
        monthly_charge=Decimal(str(sent["monthly_charge"])),
        setup_charge=Decimal(str(sent["setup_charge"])),
        provisioned=datetime.fromisoformat(sent["provisioned"]),
        details_status=details["status"],
        details_provisioned=datetime.fromisoformat(details["provisioned"]),
        number_address_id=details["number_address"]["id"],
        emergency_number_address_id=details["emergency_number_address"]["id"],
    )


def load(url: str, database: str) -> int:
    """
    Merge each number, and each address once, and commit after each page.
    """
    seen: set[int] = set()
    count = 0
    engine = create_engine(database)
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        for body in fetch(url):
            for sent in json.loads(body)["numbers"]:
                merge_addresses(session, sent["details"], seen)
                session.merge(number(sent))
                count += 1
            session.commit()
    return count


def merge_addresses(session: Session, details: dict[str, Any], seen: set[int]) -> None:
    """
    Merge both addresses of a number, unless this run has seen them.
    """
    for each in (details["number_address"], details["emergency_number_address"]):
        if each["id"] not in seen:
            session.merge(address(each))
            seen.add(each["id"])


if __name__ == "__main__":
    api, to = sys.argv[1:]
    sys.stdout.write(json.dumps(measured(lambda: load(api, to))) + "\n")
