"""What the client sends, repeats, waits for, and never does."""

import itertools
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from jotunheim.exceptions.repository import (
    LeaseLostError,
    ProxmoxCertificateError,
    ProxmoxLockedError,
    ProxmoxPermissionError,
    ProxmoxRequestError,
    ProxmoxTaskFailedError,
    ProxmoxTimeoutError,
    ProxmoxUnauthorizedError,
    ProxmoxUnavailableError,
)
from jotunheim.repositories.proxmox import Endpoint, ProxmoxClient, TlsPolicy, api_path, client, reads, tasks
from jotunheim.repositories.proxmox.tasks import Note
from tests.repositories.proxmox.scripted_pve import TOKEN_SECRET, Say, ScriptedServer

UPID = "UPID:pve1:00000A5C:0001E240:67000000:qmclone:9000:root@pam!test:"
RUNNING = Say({"status": "running", "type": "qmclone"})
DONE = Say({"status": "stopped", "exitstatus": "OK"})


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_RETRY_PAUSES_SECONDS", (0, 0))
    monkeypatch.setattr(client, "pauses", lambda: itertools.repeat(0.001))


class Journal:
    """A journal that keeps its notes in a list."""

    def __init__(self, lost: bool = False) -> None:
        self.lost = lost
        self.notes: list[tuple[str, str]] = []

    @contextmanager
    def changing(self) -> Iterator[None]:
        if self.lost:
            raise LeaseLostError("moved")
        yield

    def remember(self, operation: str, upid: str) -> None:
        self.notes.append((operation, upid))

    def recall(self, operation: str) -> str | None:
        return dict(self.notes).get(operation)

    def note(self, about: str, things: Sequence[str]) -> None:
        raise NotImplementedError

    def noted(self, about: str) -> list[Note]:
        raise NotImplementedError


class TestRequests:
    def test_a_token_a_path_and_the_data_of_the_answer(self, server: ScriptedServer) -> None:
        server.script = [Say({"version": "8.4.21"})]
        with ProxmoxClient(server.endpoint()) as pve:
            assert reads.version(pve) == "8.4.21"
        (seen,) = server.seen
        assert (seen.method, seen.path) == ("GET", "/api2/json/version")
        assert seen.authorization == f"PVEAPIToken=root@pam!test={TOKEN_SECRET}"

    def test_booleans_are_digits_lists_are_repeated_and_none_is_left_out(
        self, server: ScriptedServer
    ) -> None:
        server.script = [Say()]
        with ProxmoxClient(server.endpoint()) as pve:
            pve.post(
                "nodes/pve1/qemu/100/agent/exec", command=["/bin/ls", "-l"], on=True, off=False, none=None
            )
        assert server.seen[0].fields == {"command": ["/bin/ls", "-l"], "on": ["1"], "off": ["0"]}

    def test_all_requests_share_one_connection(self, server: ScriptedServer) -> None:
        server.script = [Say({})]
        with ProxmoxClient(server.endpoint()) as pve:
            for _ in range(5):
                pve.get("version")
        assert len({seen.connection for seen in server.seen}) == 1

    def test_parts_of_a_path_stay_in_their_place(self) -> None:
        assert api_path("nodes", "pve1", "tasks", UPID) == f"nodes/pve1/tasks/{UPID}"
        assert api_path("nodes", "a/b c") == "nodes/a%2Fb%20c"
        for part in ("", ".", ".."):
            with pytest.raises(ValueError, match="cannot be part"):
                api_path("nodes", part, "qemu")

    def test_proxy_and_netrc_of_the_environment_are_ignored(
        self, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nonexistent")
        monkeypatch.setenv("NO_PROXY", "")
        server.script = [Say({})]
        with ProxmoxClient(server.endpoint()) as pve:
            assert pve.get("version") == {}

    @pytest.mark.parametrize("server", ["::1"], indirect=True)
    def test_ipv6(self, server: ScriptedServer) -> None:
        server.script = [Say({})]
        with ProxmoxClient(server.endpoint()) as pve:
            assert pve.get("version") == {}

    def test_a_redirect_is_not_followed(self, server: ScriptedServer) -> None:
        server.script = [Say(status=302, headers={"Location": "http://127.0.0.1:9/"})]
        with (
            ProxmoxClient(server.endpoint()) as pve,
            pytest.raises(ProxmoxRequestError, match="is not Proxmox VE"),
        ):
            pve.get("version")

    def test_a_page_that_is_no_answer_of_pve(self, server: ScriptedServer) -> None:
        server.script = [Say(body=b"<html>Please log in</html>")]
        with (
            ProxmoxClient(server.endpoint()) as pve,
            pytest.raises(ProxmoxRequestError, match="is not Proxmox VE"),
        ):
            pve.get("version")


class TestTls:
    def test_the_pinned_certificate(self, server: ScriptedServer) -> None:
        server.script = [Say({})]
        colons = ":".join(server.fingerprint[i : i + 2] for i in range(0, 64, 2)).upper()
        with ProxmoxClient(server.endpoint(tls=TlsPolicy(fingerprint=colons))) as pve:
            assert pve.get("version") == {}

    def test_its_authority(self, server: ScriptedServer) -> None:
        server.script = [Say({})]
        with ProxmoxClient(server.endpoint(tls=TlsPolicy(ca_pem=server.ca_pem))) as pve:
            assert pve.get("version") == {}

    @pytest.mark.parametrize("tls", [TlsPolicy(), TlsPolicy(fingerprint="ab" * 32)])
    def test_another_certificate_gets_no_request(self, server: ScriptedServer, tls: TlsPolicy) -> None:
        server.script = [Say({})]
        with ProxmoxClient(server.endpoint(tls=tls)) as pve, pytest.raises(ProxmoxCertificateError) as caught:
            pve.get("version")
        assert server.seen == []
        assert caught.value.code == "certificate_mismatch"
        assert caught.value.hint

    def test_another_host_name_is_another_certificate(self, server: ScriptedServer) -> None:
        tls = TlsPolicy(ca_pem=server.ca_pem)
        endpoint = server.endpoint(host="localhost", tls=tls)
        with ProxmoxClient(endpoint) as pve, pytest.raises(ProxmoxCertificateError, match="localhost"):
            pve.get("version")

    def test_unusable_settings_are_refused_at_once(self, server: ScriptedServer) -> None:
        with pytest.raises(ProxmoxCertificateError, match="SHA-256"):
            TlsPolicy(fingerprint="ab")
        with pytest.raises(ProxmoxCertificateError, match="PEM"):
            ProxmoxClient(server.endpoint(tls=TlsPolicy(ca_pem="no certificate")))
        with pytest.raises(ProxmoxUnauthorizedError, match="user@realm!name"):
            Endpoint("h", "root@pam", TOKEN_SECRET)


class TestRetries:
    def test_a_read_is_repeated_after_a_lost_connection_and_595(self, server: ScriptedServer) -> None:
        server.script = [
            Say(reset=True),
            Say(status=595, reason="Connection refused", body=b""),
            Say({"a": 1}),
        ]
        with ProxmoxClient(server.endpoint()) as pve:
            assert pve.get("version") == {"a": 1}
        assert len(server.seen) == 3

    def test_but_not_for_ever(self, server: ScriptedServer) -> None:
        server.script = [Say(status=596, reason="", body=b"")]
        with ProxmoxClient(server.endpoint()) as pve, pytest.raises(ProxmoxUnavailableError):
            pve.get("version")
        assert len(server.seen) == 3

    @pytest.mark.parametrize(
        "answer", [Say(reset=True), Say(status=595, body=b""), Say(status=500, reason="no")]
    )
    @pytest.mark.parametrize("method", ["post", "put", "delete"])
    def test_a_change_is_never_sent_twice(self, server: ScriptedServer, method: str, answer: Say) -> None:
        server.script = [answer]
        with ProxmoxClient(server.endpoint()) as pve, pytest.raises(ProxmoxRequestError):
            getattr(pve, method)("nodes/pve1/qemu/100/config")
        assert len(server.seen) == 1

    def test_a_refused_connection_is_tried_again_and_then_named(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            port = unused.getsockname()[1]
        naps: list[float] = []
        monkeypatch.setattr(client.time, "sleep", naps.append)
        endpoint = Endpoint("127.0.0.1", "root@pam!test", TOKEN_SECRET, port=port)
        with (
            ProxmoxClient(endpoint) as pve,
            pytest.raises(ProxmoxUnavailableError, match="Connection refused") as caught,
        ):
            pve.post("nodes/pve1/qemu/9000/clone", newid=1)
        assert len(naps) == 2
        assert caught.value.retryable

    def test_silence_ends_with_the_read_timeout(self, server: ScriptedServer) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            endpoint = server.endpoint(
                port=silent.getsockname()[1], connect_timeout_seconds=0.1, read_timeout_seconds=0.1
            )
            with ProxmoxClient(endpoint) as pve, pytest.raises(ProxmoxUnavailableError, match="timed out"):
                pve.get("version")


class TestTasks:
    def test_a_task_is_noted_before_it_is_waited_for(self, server: ScriptedServer) -> None:
        journal = Journal()
        server.script = [Say(UPID), RUNNING, RUNNING, DONE]
        with ProxmoxClient(server.endpoint(), journal) as pve:
            upid = pve.run("clone", "POST", "nodes/pve1/qemu/9000/clone", timeout_seconds=5, newid=100)
        assert upid == UPID
        assert journal.notes == [("clone", UPID)]
        assert pve.upids == [UPID]
        assert [seen.method for seen in server.seen] == ["POST", "GET", "GET", "GET"]

    def test_work_that_pve_did_at_once_has_no_task(self, server: ScriptedServer) -> None:
        server.script = [Say(None)]
        with ProxmoxClient(server.endpoint()) as pve:
            assert pve.run("resize", "PUT", "nodes/pve1/qemu/100/resize", timeout_seconds=5) is None

    def test_who_lost_the_lease_changes_nothing(self, server: ScriptedServer) -> None:
        server.script = [Say({})]
        with ProxmoxClient(server.endpoint(), Journal(lost=True)) as pve:
            for change in (pve.post, pve.put, pve.delete):
                with pytest.raises(LeaseLostError):
                    change("nodes/pve1/qemu/100/config")
            pve.get("version")
        assert [seen.method for seen in server.seen] == ["GET"]

    def test_a_failed_task_says_what_its_log_says(self, server: ScriptedServer) -> None:
        log = [{"n": n, "t": f"line {n}"} for n in range(1, 20)] + [{"n": 20, "t": "TASK ERROR: disk full"}]
        server.script = [Say({"status": "stopped", "exitstatus": "disk full"}), Say(log)]
        with ProxmoxClient(server.endpoint()) as pve, pytest.raises(ProxmoxTaskFailedError) as caught:
            pve.wait(UPID, 5)
        assert caught.value.upid == UPID
        assert caught.value.message == "disk full\nline 16\nline 17\nline 18\nline 19"

    def test_warnings_are_success(self, server: ScriptedServer) -> None:
        server.script = [Say({"status": "stopped", "exitstatus": "WARNINGS: 2"})]
        with ProxmoxClient(server.endpoint()) as pve:
            pve.wait(UPID, 5)

    def test_a_lock_that_could_not_be_had_is_retryable(self, server: ScriptedServer) -> None:
        exit_status = "can't lock file '/var/lock/qemu-server/lock-1191.conf' - got timeout"
        server.script = [Say({"status": "stopped", "exitstatus": exit_status}), Say([])]
        with ProxmoxClient(server.endpoint()) as pve, pytest.raises(ProxmoxLockedError) as caught:
            pve.wait(UPID, 5)
        assert caught.value.retryable

    def test_waiting_has_a_bound_and_reports_progress(self, server: ScriptedServer) -> None:
        server.script = [RUNNING]
        looks: list[object] = []
        with (
            ProxmoxClient(server.endpoint()) as pve,
            pytest.raises(ProxmoxTimeoutError, match=r"within 0\.05 s"),
        ):
            pve.wait(UPID, 0.05, on_progress=looks.append)
        assert looks

    def test_waiting_survives_a_restart_of_the_node_s_services(self, server: ScriptedServer) -> None:
        server.script = [RUNNING, *[Say(status=595, body=b"")] * 7, DONE]
        with ProxmoxClient(server.endpoint()) as pve:
            pve.wait(UPID, 5)

    def test_an_earlier_attempt_s_task_is_settled_whatever_became_of_it(self, server: ScriptedServer) -> None:
        journal = Journal()
        with ProxmoxClient(server.endpoint(), journal) as pve:
            assert pve.settle("clone", 5) is None
            journal.remember("clone", UPID)
            forgotten = (
                b'{"data":null,"message":"Parameter verification failed.","errors":{"upid":"no such task"}}'
            )
            for ending in (
                DONE,
                Say({"status": "stopped", "exitstatus": "gone"}),
                Say(status=400, body=forgotten),
            ):
                server.script = [ending, Say([])]
                assert pve.settle("clone", 5) == UPID

    def test_pauses_grow_from_50_ms_to_one_second(self) -> None:
        pauses = list(itertools.islice(tasks.pauses(), 20))
        assert pauses[0] == 0.05
        assert pauses == sorted(pauses)
        assert pauses[-1] == 1.0


class TestSecrets:
    def test_no_secret_in_any_representation(self, server: ScriptedServer) -> None:
        pve = ProxmoxClient(server.endpoint())
        with pve:
            assert TOKEN_SECRET not in repr(pve) + repr(server.endpoint()) + str(vars(pve))

    def test_pve_s_echo_of_a_secret_is_masked(self, server: ScriptedServer) -> None:
        body = b'{"data":null,"errors":{"cipassword":"bad value \'canary-pw\'"}}'
        server.script = [Say(status=400, reason="Parameter verification failed.", body=body)]
        with ProxmoxClient(server.endpoint()) as pve, pytest.raises(ProxmoxRequestError) as caught:
            pve.put("nodes/pve1/qemu/100/config", cipassword="canary-pw")
        assert "canary-pw" not in str(caught.value) + caught.value.message + repr(caught.value.parameters)
        assert "cipassword: bad value '********'" in caught.value.message
        assert caught.value.__cause__ is None

    def test_denied(self, server: ScriptedServer) -> None:
        server.script = [Say(status=403, reason="Permission check failed (/vms/100, VM.Config.CPU)")]
        with (
            ProxmoxClient(server.endpoint()) as pve,
            pytest.raises(ProxmoxPermissionError, match=r"VM\.Config\.CPU"),
        ):
            pve.put("nodes/pve1/qemu/100/config", cores=2)
