"""Signs what webhooks are sent, as the Standard Webhooks specification 1.0 says."""

import base64
import hmac
import uuid
from collections.abc import Iterable
from datetime import datetime


def headers(
    event_id: uuid.UUID, at: datetime, body: bytes, keys: Iterable[bytes]
) -> dict[bytes | str, bytes | str]:
    """The headers of one attempt.

    Args:
        at: when it is made; receivers refuse what is old.
        keys: while a secret is changed, those of both: there is a signature for each.
    """
    timestamp = str(int(at.timestamp()))
    signed = f"{event_id}.{timestamp}.".encode() + body
    signatures = (base64.b64encode(hmac.digest(key, signed, "sha256")).decode() for key in keys)
    return {
        "webhook-id": str(event_id),
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }
