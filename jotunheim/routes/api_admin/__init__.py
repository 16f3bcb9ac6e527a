"""The operators' API: `/api/v1/admin`. Everything, for tokens of administrators."""

from jotunheim.routes.api_admin import infrastructure, jobs, requests, servers

operations = [
    *infrastructure.operations.found,
    *servers.operations.found,
    *requests.operations.found,
    *jobs.operations.found,
]
