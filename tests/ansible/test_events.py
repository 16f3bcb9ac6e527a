"""Events of ansible-runner, and secrets that a careless plugin lets slip into them."""

from typing import Any

from jotunheim.ansible.events import Kind, translate


def _event(name: str, **data: Any) -> dict[str, Any]:
    return {"event": name, "event_data": {"host": "web-1", "task": "Do it", "task_action": "a.b.c", **data}}


def test_a_task_begins_and_ends() -> None:
    begun = translate(_event("runner_on_start"), [])
    assert begun is not None
    assert (begun.kind, begun.host, begun.task) == (Kind.STARTED, "web-1", "Do it")
    ended = translate(_event("runner_on_ok", res={"changed": True, "diff": {"before": 1, "after": 2}}), [])
    assert ended is not None
    assert (ended.kind, ended.changed, ended.diff) == (Kind.OK, True, [{"before": 1, "after": 2}])


def test_other_events_are_nothing_to_us() -> None:
    assert translate({"event": "playbook_on_stats", "event_data": {}}, []) is None
    assert translate({"event": "verbose", "stdout": "x"}, []) is None


def test_secrets_are_masked_wherever_they_stand() -> None:
    result = {
        "msg": "bad hunter2!",
        "list": [{"x": "hunter2"}, ("hunter2",)],
        "diff": {"after": "is hunter2"},
    }
    event = translate(_event("runner_on_failed", res=result), ["hunter2"])
    assert event is not None
    assert "hunter2" not in repr(event)
    assert event.result["msg"] == "bad ********!"


def test_the_argument_check_of_a_role_is_no_step() -> None:
    event = translate(_event("runner_on_ok", task_action="ansible.builtin.validate_argument_spec"), [])
    assert event is not None
    assert event.hidden
