"""One's own tokens."""

from jotunheim.data.account import TokenSpec
from jotunheim.data.account_answers import NewTokenAnswer, TokenAnswer, TokenList
from jotunheim.repositories.peewee.database import now
from jotunheim.routes.call import Call, NoQuery, Reply
from jotunheim.routes.operations import Operations
from jotunheim.routes.queries import TokenListQuery
from jotunheim.services.accounts import tokens, users
from jotunheim.services.resources import assert_no_version

operations = Operations("/auth", role=None)


@operations.get("/tokens", scope="tokens:read", answer=TokenList, query=TokenListQuery)
def list_tokens(call: Call[None, TokenListQuery]) -> Reply:
    """List one's own tokens; also expired and revoked ones."""
    found = tokens.list_tokens(call.query.wanted_page(), call.actor.user_id)
    return Reply(TokenList.model_validate({"tokens": found.items, "meta": found.meta()}))


@operations.post("/tokens", scope="tokens:write", body=TokenSpec, answer=NewTokenAnswer, status=201)
def create_token(call: Call[TokenSpec, NoQuery]) -> Reply:
    """Make a token for oneself, no stronger than what it is asked for with. It is shown once."""
    user = users.find(call.actor.user_id)
    token, secret = tokens.create_token(user, call.body, call.actor)
    return Reply(NewTokenAnswer(token=tokens.view(token), secret=secret))


@operations.get("/tokens/{id:row}", scope="tokens:read", answer=TokenAnswer)
def read_token(call: Call[None, NoQuery]) -> Reply:
    """Show one of one's own tokens."""
    return Reply(TokenAnswer(token=tokens.view(tokens.find(call.path["id"], call.actor.user_id))))


@operations.delete("/tokens/{id:row}", scope="tokens:write", answer=TokenAnswer)
def revoke_token(call: Call[None, NoQuery]) -> Reply:
    """Revoke one of one's own tokens: it is invalid at once."""
    token = tokens.find(call.path["id"], call.actor.user_id)
    assert_no_version("token", call.if_match)
    token.revoke(now())
    return Reply(TokenAnswer(token=tokens.view(token)))
