"""The operators' API: `/api/v1/admin`. Everything, for tokens of administrators."""

from jotunheim.routes.api_admin import infrastructure, jobs, networks, requests, rulesets, servers

operations = [
    *infrastructure.operations.found,
    *networks.operations.found,
    *rulesets.operations.found,
    *servers.operations.found,
    *requests.operations.found,
    *jobs.operations.found,
]
