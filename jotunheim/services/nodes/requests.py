"""Queues jobs about a node and no server: nothing is locked by them, so whoever asks sees to it that one is enough."""

from collections.abc import Mapping
from typing import Any

from jotunheim.data.actor import Actor
from jotunheim.data.job import JobType
from jotunheim.repositories.peewee.infrastructure import Node
from jotunheim.repositories.peewee.jobs import Job
from jotunheim.services.servers import plans
from jotunheim.services.servers.plans import AT_ONCE, Manner
from jotunheim.services.servers.requests import MAX_ATTEMPTS

LOOK_ATTEMPTS = 3
"""How often a look at a node is attempted; another one follows anyway."""


def enqueue(
    node: Node,
    type_: JobType,
    actor: Actor,
    parameters: Mapping[str, Any] | None = None,
    manner: Manner = AT_ONCE,
    *,
    max_attempts: int = MAX_ATTEMPTS,
) -> Job:
    """Queue a job about a node."""
    return Job.enqueue(
        type=type_,
        node=node,
        max_attempts=max_attempts,
        requested_by=actor.email,
        request_id=actor.request_id,
        parameters=dict(parameters or {}),
        check_only=manner.check,
    )


def enqueue_one(node: Node, type_: JobType, actor: Actor) -> Job:
    """Queue a job about a node; one of the same type that is queued or running already will do."""
    return Job.live_on(node, type_) or enqueue(node, type_, actor, max_attempts=LOOK_ATTEMPTS)


def enqueue_planned(
    node: Node,
    type_: JobType,
    actor: Actor,
    manner: Manner,
    parameters: Mapping[str, Any],
    what: str,
    **watched: Any,
) -> Job:
    """Queue a job about one thing on a node, as a preview, by a plan, or at once.

    Args:
        what: what the thing is called in errors.
        watched: what of the node a preview rests on, as for `plans.settle`.

    Raises:
        ConflictError: it is not what the plan was made for.
    """
    if manner.planned is not None:
        plans.assert_same(manner.planned, parameters, dict.fromkeys(parameters, what))
    job = enqueue(node, type_, actor, parameters, manner)
    plans.settle(manner, job, None, **watched)
    return job
