"""The sandbox's guests: each begins with its VM's start, and ends when the VM does, or the other way round.

A guest's boot takes the time that the settings give it, in the order of a real one: first sshd, then the agent,
last the end of cloud-init with the password. Nothing here waits inside a request of the PVE API: a start
begins a task, and a stop pulls the plug.
"""

import asyncio
import dataclasses
import logging
import socket
import time
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING, Any

from jotunheim.sandbox.guests import network, ssh
from jotunheim.sandbox.guests.disks import DiskFiles
from jotunheim.sandbox.guests.link import GuestGoneError, GuestLink, GuestsUnavailableError, SupervisorLink
from jotunheim.sandbox.guests.messages import AgentError
from jotunheim.sandbox.guests.parameters import (
    boot_volume,
    cloud_init_data,
    loopback_address,
    network_devices,
    password_hash,
)
from jotunheim.sandbox.state import Run, Vm, Volume

if TYPE_CHECKING:
    from jotunheim.sandbox.world import World

log = logging.getLogger("jotunheim.sandbox")

EMPTY_DISK = 1024**2
SSHD_SHARE = 0.8
"""The part of the boot time after which sshd answers."""
SHORTEST_GRACE, LONGEST_GRACE = 0.5, 5.0
"""Seconds that a guest's processes have to end when it shuts down."""
LONGEST_BOOT = 120.0
"""Seconds for a step of the boot, with many guests at once on a slow machine."""
TRIAL = 0
"""The number of the guest that only shows that guests can be had here."""


class Guest:
    """One guest, from the start of its VM until it is gone."""

    def __init__(self, number: int, vm: Vm, run: Run) -> None:
        self.number = number
        self.vm = vm
        self.run = run
        self.link = GuestLink()
        self.door: ssh.Door | None = None
        self.refused: set[str] = set()
        """Addresses at which somebody else listens."""
        self.files: str | None = None
        self.phase = "booting"
        self.has_devices = False
        """Whether it has the VM's network devices, as far as the kernel knows such."""
        self.gone = asyncio.Event()
        self.awake = asyncio.Event()
        self.awake.set()
        self.task: asyncio.Task[None] | None = None

    async def connect(self) -> socket.socket:
        """A connection to the guest's sshd; a paused guest takes it when it goes on."""
        await self.awake.wait()
        return await self.link.connect()

    def cut(self) -> None:
        """Pull the plug."""
        self.phase = "ending"
        if self.task:
            self.task.cancel()
        if self.door:
            self.door.close()
        self.link.close()

    def described(self) -> dict[str, Any]:
        """The guest as the control endpoint shows it."""
        return {"phase": self.phase, "ssh": ssh.described(self.door)}


class Guests:
    """All guests of a sandbox."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._numbers = count(TRIAL + 1)
        self._current: dict[int, Guest] = {}
        """The guest of each VM that runs."""
        self._alive: dict[int, Guest] = {}
        """All guests whose processes may still be there, by number."""
        self._endings: set[asyncio.Task[None]] = set()
        self._port = ssh.usable_port()

    async def start(self) -> None:
        """Start the supervisor, and try whether it can have a guest.

        Raises:
            GuestsUnavailableError: no guests can be had here; the message says what is missing.
        """
        if not network.has_sshd():
            raise GuestsUnavailableError(f"{network.SSHD} is missing (Debian: openssh-server)")
        self._supervisor = await SupervisorLink.start(self._on_end, self._on_loss)
        self.disks = DiskFiles(self._world, self._supervisor)
        try:
            await self._try_out()
        except (OSError, GuestGoneError, AgentError, TimeoutError) as error:
            await self._supervisor.close()
            raise GuestsUnavailableError(f"a guest does not start: {error or 'no answer'}") from error
        self._sweeper = asyncio.create_task(self.disks.sweep())

    async def _try_out(self) -> None:
        await self._supervisor.request("create", files="trial")
        link = GuestLink()
        try:
            descriptors = (link.their_channel.fileno(), link.their_dial.fileno())
            await self._supervisor.request("start", descriptors, files="trial", guest=TRIAL)
            await link.open()
            await asyncio.wait_for(link.ask("get-host-name"), 10)
        finally:
            link.close()
        await self._supervisor.request("remove", files="trial")

    async def close(self) -> None:
        """End all guests."""
        self._sweeper.cancel()
        self.cut_all()
        await self._supervisor.close()

    def of(self, vm: Vm) -> Guest | None:
        """The guest of a running VM."""
        return self._current.get(vm.vmid)

    def ready(self, vm: Vm) -> bool:
        """Whether a VM's guest has booted, so that its agent answers."""
        guest = self.of(vm)
        return guest is not None and guest.phase in ("up", "ready") and guest.awake.is_set()

    def boot(self, vm: Vm) -> None:
        """Begin to boot the guest of a VM that has begun to run, or was reset."""
        assert vm.run is not None
        self.cut(vm)
        guest = Guest(next(self._numbers), vm, vm.run)
        self._current[vm.vmid] = guest
        guest.task = asyncio.create_task(self._boot(guest))

    def cut(self, vm: Vm) -> None:
        """The guest of a VM that does not run any more is gone at once."""
        guest = self._current.pop(vm.vmid, None)
        if guest:
            guest.cut()
            ending = asyncio.create_task(self._kill(guest))
            self._endings.add(ending)
            ending.add_done_callback(self._endings.discard)

    async def _kill(self, guest: Guest) -> None:
        """A guest's init ends when its channel is closed, unless it hangs; this ends it anyhow."""
        with suppress(OSError, GuestGoneError):
            await self._supervisor.request("kill", guest=guest.number)

    def cut_all(self) -> None:
        """No VM runs any more."""
        for guest in list(self._current.values()):
            self.cut(guest.vm)

    async def _boot(self, guest: Guest) -> None:
        vm = guest.vm
        try:
            volume = boot_volume(self._world.volumes, vm, EMPTY_DISK)
            if volume is None:
                guest.phase = "no operating system"
                return
            await self._wait_for_disk(guest, volume)
            self._claim_door(guest)
            await asyncio.shield(asyncio.create_task(self._create(guest, volume)))
            await self._bring_up(guest)
        except (OSError, ValueError, KeyError, GuestGoneError, AgentError) as error:
            if self._current.get(vm.vmid) is guest and not guest.gone.is_set():
                guest.phase = "broken"
                log.warning("VM %s: its guest does not boot: %s", vm.vmid, error)

    async def _wait_for_disk(self, guest: Guest, volume: Volume) -> None:
        """A guest that was cut off a moment ago may still be using the disk."""
        for other in list(self._alive.values()):
            if other.vm.vmid == guest.vm.vmid or (volume.files and other.files == volume.files):
                await other.gone.wait()

    async def _create(self, guest: Guest, volume: Volume) -> None:
        """Have the guest's disk and processes made. Once begun this is not broken off, so that its end is known."""
        self._alive[guest.number] = guest
        try:
            guest.files = await self.disks.own(volume)
            if guest.phase != "ending":
                ends = (guest.link.their_channel.fileno(), guest.link.their_dial.fileno())
                await self._supervisor.request("start", ends, files=guest.files, guest=guest.number)
                await guest.link.open()
                return
        except (OSError, GuestGoneError):
            if guest.phase != "ending":
                self._forget(guest)
                raise
        self._forget(guest)

    async def _bring_up(self, guest: Guest) -> None:
        vm, run, settings = guest.vm, guest.run, self._world.settings
        began = time.time()
        booting = min(max(0.0, run.agent_at - began), settings.seconds("boot"))
        data, hashed = cloud_init_data(vm), await asyncio.to_thread(password_hash, vm)
        wanted = network_devices(vm, guest.door.host if guest.door else None)
        booted, _ = await guest.link.ask(
            "boot", within=LONGEST_BOOT, devices=wanted, **dataclasses.asdict(data)
        )
        guest.has_devices = booted["devices"]
        await self._until(guest, began + booting * SSHD_SHARE)
        await self._open_door(guest)
        await self._until(guest, began + booting)
        guest.phase = "up"
        await self._until(guest, time.time() + settings.seconds("cloud_init"))
        await guest.link.ask("finish", within=LONGEST_BOOT, user=data.user, password=hashed)
        guest.phase = "ready"

    def _claim_door(self, guest: Guest) -> None:
        taken = {other.door.host for other in self._current.values() if other.door} | guest.refused
        guest.door = ssh.Door.claim(guest.vm.vmid, loopback_address(guest.vm), taken, self._port)

    async def _open_door(self, guest: Guest) -> None:
        """Let clients in; at another address if a second sandbox was quicker to listen at this one."""
        while guest.door:
            try:
                await guest.door.open(guest.connect)
            except OSError:
                guest.door.close()
                guest.refused.add(guest.door.host)
                self._claim_door(guest)
            else:
                return

    async def _until(self, guest: Guest, moment: float) -> None:
        await asyncio.sleep(max(0.0, moment - time.time()))
        await guest.awake.wait()

    def _forget(self, guest: Guest) -> None:
        self._alive.pop(guest.number, None)
        if guest.files is not None and not guest.gone.is_set():
            self.disks.in_use[guest.files] -= 1
        guest.gone.set()

    def _on_end(self, number: int, how: str) -> None:
        """A guest's processes are gone: because we wanted it, or because the guest did."""
        guest = self._alive.get(number)
        if guest is None:
            return
        self._forget(guest)
        if self._current.get(guest.vm.vmid) is not guest:
            return
        self.cut(guest.vm)
        if guest.vm.run is not guest.run:
            return
        if how == "reboot":
            guest.run.agent_at = time.time() + self._world.settings.seconds("boot")
            self.boot(guest.vm)
        else:
            guest.vm.run = None

    def _on_loss(self) -> None:
        """Somebody has killed the supervisor."""
        if self._alive:
            log.warning("the supervisor of the guests has died, and all guests with it")
        for number in list(self._alive):
            self._on_end(number, "poweroff")

    async def pause(self, vm: Vm) -> None:
        """Stop a guest in its tracks."""
        guest = self.of(vm)
        if guest:
            guest.awake.clear()
            with suppress(GuestGoneError, AgentError, TimeoutError):
                await guest.link.ask("pause")

    async def resume(self, vm: Vm) -> None:
        """Let a paused guest go on."""
        guest = self.of(vm)
        if guest:
            with suppress(GuestGoneError, AgentError, TimeoutError):
                await guest.link.ask("resume")
            guest.awake.set()

    async def shut_down(self, vm: Vm) -> None:
        """Have a guest's processes end in order; it is gone afterwards, or will be when it is cut."""
        guest = self.of(vm)
        if guest is None:
            return
        grace = min(LONGEST_GRACE, max(SHORTEST_GRACE, self._world.settings.seconds("shutdown")))
        try:
            await guest.link.ask("shutdown", within=grace, seconds=grace)
            await asyncio.wait_for(guest.gone.wait(), grace + 1)
        except (GuestGoneError, AgentError, TimeoutError):
            return
