"""SSH keys of users: what is sent, and what the API answers."""

from datetime import datetime

from jotunheim.data.fields import Change, Id, Shape, ShortText, SshPublicKey, View


class SshKeySpec(Shape):
    """A public key to be kept for oneself."""

    name: ShortText
    """Unique among the user's keys."""
    public_key: SshPublicKey
    """One line, as in `authorized_keys`, without options."""


class UserSshKeySpec(SshKeySpec):
    """A public key to be kept for a user."""

    user_id: Id | None = None
    """By default whoever asks."""


class SshKeyChange(Change):
    """A change of a key that is kept; another key is another one."""

    name: ShortText | None = None


class SshKeyView(View):
    """A public key of a user."""

    id: int
    name: str
    public_key: str
    fingerprint: str
    """`SHA256:…`, as `ssh-keygen -l` shows it."""
    created_at: datetime
    updated_at: datetime


class UserSshKeyView(SshKeyView):
    """A public key, and whose it is."""

    user_id: int
