"""All tables, for what concerns the schema as a whole."""

from jotunheim.repositories.peewee.accounts import Token, User
from jotunheim.repositories.peewee.addresses import Address, AddressPool, PoolNode
from jotunheim.repositories.peewee.idempotency import StoredAnswer
from jotunheim.repositories.peewee.infrastructure import Location, Node, Template
from jotunheim.repositories.peewee.jobs import Job, JobEvent, JobStep, PveTask
from jotunheim.repositories.peewee.secrets import Secret
from jotunheim.repositories.peewee.servers import ForeignVmid, Label, Server

TABLES = (
    User,
    Token,
    Location,
    Node,
    Template,
    Server,
    Label,
    ForeignVmid,
    AddressPool,
    PoolNode,
    Address,
    Job,
    JobStep,
    JobEvent,
    PveTask,
    Secret,
    StoredAnswer,
)
