"""Secrets that bodies are signed with, as the Standard Webhooks specification writes them: `whsec_` and base64."""

import base64
import binascii
import secrets
from typing import Annotated

from pydantic import AfterValidator, SecretStr

PREFIX = "whsec_"
LEAST_BYTES, MOST_BYTES = 24, 64
"""By the specification."""
_GENERATED_BYTES = 32


def generate() -> str:
    """A new random secret."""
    return PREFIX + base64.b64encode(secrets.token_bytes(_GENERATED_BYTES)).decode()


def key_of(secret: str) -> bytes:
    """The bytes that a secret stands for. Raises ValueError."""
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(PREFIX) or not LEAST_BYTES <= len(key) <= MOST_BYTES:
        raise ValueError(f"must be {PREFIX} and {LEAST_BYTES} to {MOST_BYTES} bytes in base64")
    return key


def _checked(value: SecretStr) -> SecretStr:
    key_of(value.get_secret_value())
    return value


SigningSecret = Annotated[SecretStr, AfterValidator(_checked)]
