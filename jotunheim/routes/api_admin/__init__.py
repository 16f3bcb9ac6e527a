"""The operators' API: `/api/v1/admin`. Everything, for tokens of administrators."""

from jotunheim.routes.api_admin import imports, infrastructure, jobs, networks, requests, servers, ssh_keys

operations = [
    *infrastructure.operations.found,
    *networks.operations.found,
    *servers.operations.found,
    *requests.operations.found,
    *imports.operations.found,
    *ssh_keys.operations.found,
    *jobs.operations.found,
]
