"""The terminal that Ansible runs on, for ansible-runner."""

import pexpect


class Terminal(pexpect.spawn):  # type: ignore[misc]  # pexpect publishes no types
    """A terminal that closes at once when its process has ended.

    ptyprocess pauses for a tenth of a second before it looks whether there is a process to be killed. Here that was
    looked for before.
    """

    def close(self, force: bool = True) -> None:
        """Close it; a process that still runs is ended."""
        if self.terminated:
            self.ptyproc.delayafterclose = 0
        super().close(force)


def install() -> None:
    """Have ansible-runner use it."""
    pexpect.spawn = Terminal
