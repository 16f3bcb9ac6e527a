"""Idempotency keys: a request that comes again gets the answer that it got before."""

from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse

from jotunheim.data.actor import Actor
from jotunheim.exceptions.model import FieldProblem
from jotunheim.exceptions.service import ConflictError
from jotunheim.repositories.peewee.idempotency import StoredAnswer
from jotunheim.repositories.peewee.secrets import Keyring
from jotunheim.routes.parsing import digest_of


@dataclass(frozen=True)
class Once:
    """One request under its caller's key."""

    keyring: Keyring
    user_id: int
    key: str
    digest: str

    @classmethod
    def of(cls, request: Request, body: bytes, key: str, actor: Actor, keyring: Keyring) -> "Once":
        """The key of this request."""
        return cls(keyring, actor.user_id, key, digest_of(request, body, actor))

    def find(self) -> JSONResponse | None:
        """The answer that is stored under the key, if there is one.

        Raises:
            ConflictError: another request was made under it.
        """
        return self._replay(StoredAnswer.find(self.user_id, self.key))

    def claim(self) -> JSONResponse | None:
        """Take the key for the transaction that is open, or find its answer; others wait until that ends.

        Raises:
            ConflictError: another request was made under it.
        """
        return self._replay(StoredAnswer.claim(self.user_id, self.key, self.digest))

    def keep(self, status: int, body: dict[str, Any], headers: dict[str, str]) -> None:
        """Store the answer under the claimed key."""
        answer = {"body": body, "headers": headers}
        StoredAnswer.fill(self.keyring, self.user_id, self.key, status, answer)

    def _replay(self, stored: StoredAnswer | None) -> JSONResponse | None:
        if stored is None:
            return None
        if stored.request_sha256 != self.digest:
            raise ConflictError(
                "This Idempotency-Key was used for another request.",
                details=[FieldProblem("Idempotency-Key", "was used for another request")],
            )
        answer = stored.read(self.keyring)
        headers = {**answer["headers"], "Idempotency-Replayed": "true"}
        return JSONResponse(answer["body"], status_code=stored.status, headers=headers)
