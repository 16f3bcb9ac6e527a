"""From where to where address pools go, and how much of them is free."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from peewee import Case, fn

from jotunheim.data.node.view import AddressState
from jotunheim.repositories.peewee.addresses import Address, AddressPool
from jotunheim.repositories.peewee.sort_keys import from_sort_key


@dataclass(frozen=True)
class PoolSummary:
    """From which to which address a pool goes, how many it has, and how many are in each state that no server has."""

    first: str
    last: str
    total: int
    free: int
    reserved: int
    quarantined: int


def summaries(pools: Iterable[AddressPool]) -> dict[int, PoolSummary]:
    """Extent and use of pools, by pool id; one query for all."""

    def count(state: AddressState) -> Any:
        return fn.SUM(Case(None, [(Address.in_state(state), 1)], 0))

    query: Any = (
        Address.select(
            Address.pool,
            fn.MIN(Address.sort_key),
            fn.MAX(Address.sort_key),
            fn.COUNT(Address.id),
            count(AddressState.FREE),
            count(AddressState.RESERVED),
            count(AddressState.QUARANTINED),
        )
        .where(Address.pool.in_([pool.id for pool in pools]))
        .group_by(Address.pool)
        .tuples()
    )
    return {
        pool: PoolSummary(from_sort_key(first), from_sort_key(last), *map(int, counts))
        for pool, first, last, *counts in query
    }


def summary(pool: AddressPool) -> PoolSummary:
    """Extent and use of one pool."""
    return summaries([pool])[pool.id]
