"""Nothing that shows an object, refuses a setting or logs a request shows a secret with it."""

import json
import os
import pickle
import subprocess
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from jotunheim import settings
from jotunheim.data.answers import ClientServerJobPassword, ServerCreated, ServerJobPassword
from jotunheim.data.node.spec import NodeSpec
from jotunheim.data.webhook.requests import ClientWebhookChange, WebhookSpec
from jotunheim.data.webhook.url import Receiver
from jotunheim.data.webhook.view import (
    ClientWebhookSecretAnswer,
    ClientWebhookView,
    WebhookSecretAnswer,
    WebhookView,
)
from jotunheim.exceptions.model import DataValidationError
from jotunheim.jobs.queue import Queue
from jotunheim.repositories.peewee.accounts import Token, User
from jotunheim.repositories.peewee.secrets import Keyring, Secret
from jotunheim.repositories.proxmox.endpoint import Endpoint
from jotunheim.routes.call import Context
from jotunheim.services.servers.create import Created
from jotunheim.services.servers.requests import Asked
from jotunheim.services.throttle import Throttle
from jotunheim.services.webhooks.outgoing import Parcel
from tests.support import plain_http
from tests.support.processes import JOTUNHEIM
from tests.support.service import Service

CANARY = "canary7Pa55word"
KEY = "Y2FuYXJ5Y2FuYXJ5Y2FuYXJ5Y2FuYXJ5Y2FuYXJ5Y2E="


def _loaded() -> settings.Settings:
    return settings.load(
        {
            "JOTUNHEIM_DATABASE_URL": f"postgresql://jotunheim:{CANARY}@db/jotunheim",
            "JOTUNHEIM_QUEUE_URL": f"redis://:{CANARY}@queue/0",
            "JOTUNHEIM_SECRET_KEY": KEY,
        }
    )


def _objects() -> Iterator[object]:
    loaded, keyring = _loaded(), Keyring([KEY])
    throttle = Throttle(loaded)
    throttle.count("login_account", CANARY)
    yield loaded
    yield keyring
    yield throttle
    queue = Queue(loaded.queue)
    yield Context(loaded, keyring, wake=queue.wake, close_queue=queue.close, throttle=throttle)
    yield queue.huey
    yield Endpoint("pve1", "root@pam!jotunheim", CANARY)
    yield User(id=1, email="a@example.com", password_hash=CANARY)
    yield Token(id=1, name="t", sha256=CANARY)
    yield Secret(name="node/1/token", ciphertext=CANARY)
    yield Asked(None, None, CANARY)  # type: ignore[arg-type]
    yield Created(None, None, CANARY)  # type: ignore[arg-type]
    receiver = Receiver.parse(f"https://hooks.example/{CANARY}")
    yield Parcel(receiver, (), uuid.UUID(int=1), b"{}", (CANARY.encode(),), datetime.now(UTC))
    for answer in (WebhookSecretAnswer, ClientWebhookSecretAnswer):
        yield answer.model_construct(secret=CANARY)
    for webhook in (WebhookView, ClientWebhookView, WebhookSpec, ClientWebhookChange):
        yield webhook.model_construct(url=CANARY, secret=SecretStr(CANARY))
    for shape in (ServerCreated, ServerJobPassword, ClientServerJobPassword):
        yield shape.model_construct(root_password=CANARY)


@pytest.mark.parametrize("shown", list(_objects()), ids=lambda shown: type(shown).__name__)
def test_no_object_shows_a_secret(shown: object) -> None:
    for text in (repr(shown), str(shown), f"{shown}", repr([shown])):
        assert CANARY not in text
        assert KEY not in text


def test_no_dump_of_the_settings_shows_a_secret() -> None:
    loaded = _loaded()
    assert CANARY in loaded.database
    assert CANARY in loaded.queue
    for dump in (loaded.model_dump_json(), str(loaded.model_dump()), str(loaded.model_dump(mode="json"))):
        assert CANARY not in dump
        assert KEY not in dump
    with pytest.raises(TypeError):
        pickle.dumps(Keyring([KEY]))


def test_a_refused_shape_does_not_repeat_what_it_was_given() -> None:
    """Not even where nobody expected it to be refused, and the log gets all of it."""
    given = {"token_secret": [CANARY], "tls": CANARY, "name": {"password": CANARY}}
    with pytest.raises(ValidationError) as raised:
        NodeSpec.model_validate(given)
    assert "token_secret" in str(raised.value)
    assert CANARY not in str(raised.value)
    with pytest.raises(ValidationError) as raised:
        settings.Settings.model_validate({"secret_key": [CANARY], "listen": CANARY})
    assert CANARY not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("DATABASE_URL", "postgresql://u:can#ary7Pa55word@h/db"),
        ("DATABASE_URL", "mysql://u:canary7Pa55word@h/db"),
        ("QUEUE_URL", "postgresql://u:can%ary7Pa55word@h/db"),
        ("QUEUE_URL", "redis://:can#ary7Pa55word@h:1/0"),
    ],
)
def test_a_url_that_is_refused_is_named_and_not_repeated(fresh_service: Service, name: str, url: str) -> None:
    done = subprocess.run(
        [JOTUNHEIM, "serve"],
        env={
            **os.environ,
            **fresh_service.environment,
            "JOTUNHEIM_LISTEN": "127.0.0.1:0",
            f"JOTUNHEIM_{name}": url,
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 1
    assert f"JOTUNHEIM_{name}: must be sqlite:///PATH" in said
    for part in ("ary7Pa55word", "'can'"):
        assert part not in said, said


def test_bad_urls_of_queues_are_named() -> None:
    for url in (
        "postgresql://u:can%ary@h/db",
        "postgresql://u:canary@h:port/db",
        "postgresql://u:can[ary@h/db",
        "redis://:can#ary@h:1/0",
        "redis://:can/ary@h:1/0",
        "rediss://:canary@h:port/0",
        "canary",
    ):
        with pytest.raises(DataValidationError) as raised:
            Queue(url)
        [problem] = raised.value.problems
        assert problem.field == "JOTUNHEIM_QUEUE_URL"
        assert "ary" not in problem.message


def test_logs_at_their_loudest_hold_no_secret(tmp_path: Path) -> None:
    wrong = "jtn_" + CANARY.ljust(49, "0")
    settings_ = {"JOTUNHEIM_LOG_LEVEL": "DEBUG", "JOTUNHEIM_SECRET_KEY": KEY}
    with Service.start(tmp_path / "state", settings=settings_) as service:
        url = f"{service.http.base_url}admin/locations"
        answers = [
            plain_http.get(url, headers={"Authorization": f"Bearer {wrong}"}),
            plain_http.get(url, headers={"Authorization": f"Basic {CANARY}", "Cookie": f"session={CANARY}"}),
            service.http.get("/admin/locations", params={"token": CANARY}),
            service.http.post("/admin/nodes", json={"token_secret": CANARY, CANARY: 1}),
            service.http.post("/admin/servers", json={"name": "x", "template_id": 1, "password": CANARY}),
            service.http.post("/admin/servers", content=f'{{"password": "{CANARY}'.encode()),
            service.http.post("/client/ssh-keys", json={"name": "k", "public_key": CANARY}),
        ]
        assert [answer.status_code for answer in answers] == [401, 401, 422, 422, 422, 422, 422]
        named = answers.pop(3).json()["error"]["details"]
        assert {"field": CANARY, "message": "Extra inputs are not permitted"} in named  # a name, not a value
        assert not [answer.text for answer in answers if CANARY in answer.text]
    for log in ("serve.log", "worker.log"):
        text = (tmp_path / "state" / log).read_text()
        assert "DEBUG" in text or log == "worker.log"
        for secret in (CANARY, service.token, KEY, json.dumps(CANARY)):
            assert secret not in text
