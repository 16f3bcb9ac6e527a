"""The traffic of all servers, for billing, and crediting one of them."""

from jotunheim.data.answers import PeriodList
from jotunheim.data.server.traffic import CreditRequest, UsageAnswer
from jotunheim.routes.call import Call, CheckQuery, Reply
from jotunheim.routes.operations import Operations
from jotunheim.routes.queries import PeriodListQuery
from jotunheim.routes.usage import PATH
from jotunheim.services.servers.requests import find
from jotunheim.services.traffic import read

operations = Operations("/admin", role="admin")


@operations.get("/usage", scope="servers:read", answer=PeriodList, query=PeriodListQuery)
def list_usage(call: Call[None, PeriodListQuery]) -> Reply:
    """List what servers have moved in a month, those that are gone too."""
    query = call.query
    found = read.list_periods(query.wanted_page(), query.filters(), call.context.settings)
    return Reply(PeriodList.model_validate({"usage": found.items, "meta": found.meta()}))


@operations.post(
    PATH + "/credit",
    scope="servers:write",
    answer=UsageAnswer,
    status=200,
    body=CreditRequest,
    query=CheckQuery,
)
def credit_traffic(call: Call[CreditRequest, CheckQuery]) -> Reply:
    """Hold some of a server's traffic of this month, or all so far, not against its limit."""
    server, settings = find(call.path["id"]), call.context.settings
    return Reply(UsageAnswer(usage=read.credit(server, call.body, settings, check=call.query.check)))
