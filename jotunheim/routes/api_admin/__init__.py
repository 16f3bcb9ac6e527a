"""The operators' API: `/api/v1/admin`. Everything, for tokens of administrators."""

from jotunheim.routes.api_admin import (
    accounts,
    audit,
    backups,
    imports,
    infrastructure,
    jobs,
    networks,
    node_state,
    orphans,
    requests,
    rulesets,
    servers,
    ssh_keys,
    templates,
    usage,
    webhooks,
)

operations = [
    *infrastructure.operations.found,
    *node_state.operations.found,
    *templates.operations.found,
    *networks.operations.found,
    *rulesets.operations.found,
    *servers.operations.found,
    *requests.operations.found,
    *backups.operations.found,
    *usage.operations.found,
    *imports.operations.found,
    *orphans.operations.found,
    *ssh_keys.operations.found,
    *jobs.operations.found,
    *webhooks.operations.found,
    *accounts.operations.found,
    *audit.operations.found,
]
