"""Keys that users keep, in lists that cost the same however long they are."""

import logging

import pytest

from jotunheim.data.paging import Page
from jotunheim.repositories.peewee.accounts import User
from jotunheim.repositories.peewee.ssh_keys import SshKey
from jotunheim.services import ssh_keys


def test_a_page_of_keys_takes_as_many_queries_as_an_empty_one(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="peewee")

    def queries() -> int:
        caplog.clear()
        ssh_keys.list_keys(Page(per_page=50, sort="-name"), None, fingerprint=None)
        return len(caplog.records)

    without = queries()
    user = User.create(email="a@example.com", name="A", role="client")
    for number in range(60):
        SshKey.create(user=user, name=f"k{number}", public_key="ssh-ed25519 AAAA", fingerprint=str(number))
    assert queries() == without == 2
