"""What everybody asks for themselves: `/api/v1/auth`. Logging in, the own account, tokens, the second factor."""

from jotunheim.routes.api_auth import account, login, second_factor, tokens

operations = [
    *login.operations.found,
    *account.operations.found,
    *tokens.operations.found,
    *second_factor.operations.found,
]
