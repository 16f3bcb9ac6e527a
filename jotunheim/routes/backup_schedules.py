"""What operators and owners alike can ask about the schedules of a server's backups."""

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from jotunheim.data.backup.schedule import ClientScheduleChange, ClientScheduleSpec
from jotunheim.repositories.peewee.backup_schedules import BackupSchedule
from jotunheim.routes.call import Call, CheckQuery, NoQuery, Reply
from jotunheim.routes.queries import BackupScheduleListQuery
from jotunheim.routes.requests import Module
from jotunheim.services.backups import schedules

PATH = "/servers/{id:uuid}/backup-schedules"
ONE = PATH + "/{schedule_id:row}"


@dataclass(frozen=True)
class ScheduleShapes:
    """What one of the API's modules shows of schedules.

    Attributes:
        spec, change: what can be said of one.
        answer, answer_list: the shapes of answers.
    """

    spec: type[ClientScheduleSpec]
    change: type[ClientScheduleChange]
    answer: type[BaseModel]
    answer_list: type[BaseModel]


def add_schedules(module: Module, shapes: ScheduleShapes) -> None:
    """Register the requests with a module's operations."""
    operations = module.operations

    def shown(schedule: BackupSchedule, *, check: bool = False) -> Reply:
        body = shapes.answer.model_validate({"backup_schedule": schedules.view(schedule).model_dump()})
        return Reply(body, etag=None if check else schedule.version)

    def found(call: Call[Any, Any]) -> BackupSchedule:
        return schedules.find(call.path["schedule_id"], module.find(call), call.if_match)

    @operations.get(PATH, scope="servers:read", answer=shapes.answer_list, query=BackupScheduleListQuery)
    def list_schedules(call: Call[None, BackupScheduleListQuery]) -> Reply:
        """List the schedules of a server's backups."""
        page = schedules.list_schedules(module.find(call), call.query.wanted_page(), call.query.filters())
        listed = [schedule.model_dump() for schedule in page.items]
        return Reply(shapes.answer_list.model_validate({"backup_schedules": listed, "meta": page.meta()}))

    @operations.post(
        PATH, scope="servers:write", body=shapes.spec, query=CheckQuery, answer=shapes.answer, status=201
    )
    def create_schedule(call: Call[ClientScheduleSpec, CheckQuery]) -> Reply:
        """Have backups of a server made again and again."""
        check, server = call.query.check, module.find(call)
        made = schedules.create_schedule(server, call.body, call.actor, call.context.settings, check=check)
        return shown(made, check=check)

    @operations.get(ONE, scope="servers:read", answer=shapes.answer)
    def read_schedule(call: Call[None, NoQuery]) -> Reply:
        """Show a schedule."""
        return shown(found(call))

    @operations.patch(ONE, scope="servers:write", body=shapes.change, query=CheckQuery, answer=shapes.answer)
    def change_schedule(call: Call[ClientScheduleChange, CheckQuery]) -> Reply:
        """Change a schedule."""
        check, schedule = call.query.check, found(call)
        schedules.change_schedule(schedule, call.body, call.actor, call.context.settings, check=check)
        return shown(schedule, check=check)

    @operations.delete(ONE, scope="servers:write", query=CheckQuery, answer=shapes.answer)
    def delete_schedule(call: Call[None, CheckQuery]) -> Reply:
        """Forget a schedule; its backups stay."""
        schedule = found(call)
        schedules.delete_schedule(schedule, check=call.query.check)
        return shown(schedule, check=True)
