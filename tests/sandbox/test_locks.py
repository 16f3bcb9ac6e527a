"""Lock files by themselves."""

import asyncio

import pytest

from jotunheim.sandbox.errors import ApiError
from jotunheim.sandbox.locks import Locks

PATH = "/var/lock/qemu-server/lock-100.conf"


async def taken(locks: Locks, *, shared: bool = False) -> bool:
    """Whether somebody else holds the lock so that it cannot be taken at once."""
    try:
        async with locks.hold(PATH, 0, shared=shared):
            return False
    except ApiError:
        return True


def test_a_lock_that_is_handed_on_is_still_held() -> None:
    async def run() -> tuple[bool, bool]:
        locks, release = Locks(), asyncio.Event()

        async def second() -> None:
            async with locks.hold(PATH, 5):
                await release.wait()

        async with locks.hold(PATH, 0):
            waiting = asyncio.create_task(second())
            await asyncio.sleep(0)
        await asyncio.sleep(0.01)
        while_held = await taken(locks)
        release.set()
        await waiting
        return while_held, await taken(locks)

    assert asyncio.run(run()) == (True, False)


def test_shared_holders_keep_an_exclusive_one_out_and_let_others_in() -> None:
    async def run() -> tuple[bool, bool]:
        locks = Locks()
        async with locks.hold(PATH, 0, shared=True):
            return await taken(locks, shared=True), await taken(locks)

    assert asyncio.run(run()) == (False, True)


def test_what_is_said_while_waiting() -> None:
    async def run(timeout: float) -> list[str]:
        locks, said = Locks(), list[str]()

        async def first() -> None:
            async with locks.hold(PATH, 0):
                await asyncio.sleep(0.02)

        holder = asyncio.create_task(first())
        await asyncio.sleep(0)
        try:
            async with locks.hold(PATH, timeout, say=said.append):
                return said
        finally:
            await holder

    assert asyncio.run(run(5)) == ["trying to acquire lock...", " OK"]
    with pytest.raises(ApiError, match="got timeout"):
        asyncio.run(run(0))
