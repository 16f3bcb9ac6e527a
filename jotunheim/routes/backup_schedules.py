"""What operators and owners alike can ask about the schedules of a server's backups."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from jotunheim.data.backup.schedule import ClientScheduleChange, ClientScheduleSpec
from jotunheim.repositories.peewee.backup_schedules import BackupSchedule
from jotunheim.repositories.peewee.database import previewed
from jotunheim.repositories.peewee.servers import Server
from jotunheim.routes.call import Call, CheckQuery, NoQuery, Reply
from jotunheim.routes.operations import Operations
from jotunheim.routes.queries import BackupScheduleListQuery
from jotunheim.services.backups import schedules

PATH = "/servers/{id:uuid}/backup-schedules"
ONE = PATH + "/{schedule_id:row}"


@dataclass(frozen=True)
class ScheduleModule:
    """How one of the API's modules finds a server and shows its schedules.

    Attributes:
        find: the server in a call's path, when the caller may have it.
        spec, change: what can be said of a schedule.
        answer, answer_list: the shapes.
    """

    operations: Operations
    find: Callable[[Call[Any, Any]], Server]
    spec: type[ClientScheduleSpec]
    change: type[ClientScheduleChange]
    answer: type[BaseModel]
    answer_list: type[BaseModel]

    def shown(self, schedule: BackupSchedule, *, check: bool = False, status: int | None = None) -> Reply:
        """The answer about one."""
        body = self.answer.model_validate({"backup_schedule": schedules.view(schedule).model_dump()})
        return Reply(body, etag=None if check else schedule.version, status=status)


def add_schedules(module: ScheduleModule) -> None:
    """Register the requests with a module's operations."""
    operations = module.operations

    def found(call: Call[Any, Any]) -> BackupSchedule:
        return schedules.find(call.path["schedule_id"], module.find(call), call.if_match)

    @operations.get(PATH, scope="servers:read", answer=module.answer_list, query=BackupScheduleListQuery)
    def list_schedules(call: Call[None, BackupScheduleListQuery]) -> Reply:
        """List the schedules of a server's backups."""
        page = schedules.list_schedules(module.find(call), call.query.wanted_page(), call.query.filters())
        shown = [schedule.model_dump() for schedule in page.items]
        return Reply(module.answer_list.model_validate({"backup_schedules": shown, "meta": page.meta()}))

    @operations.post(
        PATH, scope="servers:write", body=module.spec, query=CheckQuery, answer=module.answer, status=201
    )
    def create_schedule(call: Call[ClientScheduleSpec, CheckQuery]) -> Reply:
        """Have backups of a server made again and again."""
        with previewed(call.query.check):
            made = schedules.create_schedule(module.find(call), call.body, call.actor, call.context.settings)
            return module.shown(made, check=call.query.check)

    @operations.get(ONE, scope="servers:read", answer=module.answer)
    def read_schedule(call: Call[None, NoQuery]) -> Reply:
        """Show a schedule."""
        return module.shown(found(call))

    @operations.patch(ONE, scope="servers:write", body=module.change, query=CheckQuery, answer=module.answer)
    def change_schedule(call: Call[ClientScheduleChange, CheckQuery]) -> Reply:
        """Change a schedule."""
        schedule = found(call)
        with previewed(call.query.check):
            schedules.change_schedule(schedule, call.body, call.actor, call.context.settings)
            return module.shown(schedule, check=call.query.check)

    @operations.delete(ONE, scope="servers:write", query=CheckQuery, answer=module.answer)
    def delete_schedule(call: Call[None, CheckQuery]) -> Reply:
        """Forget a schedule; its backups stay."""
        schedule = found(call)
        with previewed(call.query.check):
            reply = module.shown(schedule, check=True)
            schedules.delete_schedule(schedule)
            return reply
