"""The owners' API: `/api/v1/client`. Their own servers, and nothing that is the operator's."""

from jotunheim.routes.api_client import jobs, rulesets, servers, ssh_keys, webhooks

operations = [
    *servers.operations.found,
    *rulesets.operations.found,
    *ssh_keys.operations.found,
    *jobs.operations.found,
    *webhooks.operations.found,
]
