"""Sets a server's password: in the guest at once when its agent answers, and for cloud-init's next run."""

from jotunheim.actions.context import ActionContext
from jotunheim.actions.server.playbook import PASSWORD, load, password_of, read_back, run_playbook, succeed
from jotunheim.ansible import variables
from jotunheim.exceptions.service import ServerDeploymentError
from jotunheim.repositories.peewee.jobs import Job
from jotunheim.repositories.peewee.secrets import Secret

PLAYBOOK = "server_password.yml"


def set_password(job: Job, context: ActionContext) -> None:
    """Hand a new password over and forget it. The job's result says when it takes effect.

    Result: `{"account": "debian", "applied": "now" | "at_next_boot"}`.

    Raises:
        ServerDeploymentError: the run failed, or the password was erased already.
        LeaseLostError: the job belongs to another worker now.
    """
    server = load(job)
    password = password_of(job, server)
    if password is None:
        raise ServerDeploymentError("password_erased", "The password is gone.", hint="Ask for a new one.")
    given = {
        **variables.pve_password(server, password, context.settings),
        **variables.pve_info(context.settings),
    }
    result = run_playbook(PLAYBOOK, job, server, context, given)

    def record() -> None:
        read_back(server, result)
        Secret.erase(server.password_reference)

    succeed(job, record, {"account": server.account, "applied": result.results[PASSWORD]["applied"]})
