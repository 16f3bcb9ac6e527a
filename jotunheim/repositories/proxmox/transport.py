"""proxmoxer's HTTPS session with our TLS verification and nothing taken from the environment."""

import json
import ssl
from typing import Any

import requests
from proxmoxer import ProxmoxResource
from proxmoxer.backends.https import Backend, JsonSerializer
from requests.adapters import HTTPAdapter
from urllib3.util.ssl_ import create_urllib3_context

from jotunheim import __version__
from jotunheim.exceptions.repository import ProxmoxCertificateError
from jotunheim.repositories.proxmox.endpoint import Endpoint, TlsPolicy


class PinningAdapter(HTTPAdapter):
    """Verifies as `TlsPolicy` says, in place of requests' own rules (certifi's store, `verify=`)."""

    def __init__(self, tls: TlsPolicy) -> None:
        self._tls = tls
        # One connection at a time: a client belongs to one thread.
        super().__init__(pool_connections=1, pool_maxsize=1)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Give urllib3 our context and, when pinned, the one fingerprint to accept."""
        if self._tls.fingerprint is not None:
            kwargs["assert_fingerprint"] = self._tls.fingerprint
        kwargs["ssl_context"] = _context(self._tls)
        super().init_poolmanager(*args, **kwargs)

    def build_connection_pool_key_attributes(self, request: Any, verify: Any, cert: Any = None) -> Any:
        """With a pinned fingerprint urllib3 must not check the chain as well."""
        host, pool = super().build_connection_pool_key_attributes(request, verify, cert)
        pool["cert_reqs"] = "CERT_NONE" if self._tls.fingerprint is not None else "CERT_REQUIRED"
        return host, pool

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Keep requests from adding certifi's certificates: the context already holds what we trust."""


def _context(tls: TlsPolicy) -> ssl.SSLContext:
    context = create_urllib3_context(cert_reqs=ssl.CERT_REQUIRED)
    if tls.fingerprint is not None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE  # urllib3 compares the digest before anything is sent
    elif tls.ca_pem is None:
        context.check_hostname = True
        context.load_default_certs()
    else:
        context.check_hostname = True
        # Python 3.13 refuses authorities without a key identifier; those that PVE made before 8 have none.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        try:
            context.load_verify_locations(cadata=tls.ca_pem)
        except (ssl.SSLError, ValueError) as error:
            raise ProxmoxCertificateError(
                "The configured CA certificate is not valid PEM.",
                hint="Use the content of /etc/pve/pve-root-ca.pem.",
            ) from error
    return context


class Answer(JsonSerializer):  # type: ignore[misc]  # proxmoxer publishes no types
    """Reads bodies strictly, and keeps the `message` that proxmoxer drops from errors."""

    def loads(self, response: requests.Response) -> Any:
        """The `data` of an answer.

        Raises:
            ValueError: the body is not what PVE sends, e.g. a captive portal's page.
        """
        body = json.loads(response.content)
        if not isinstance(body, dict) or "data" not in body:
            raise ValueError("no `data` in the answer")
        return body["data"]

    def loads_errors(self, response: requests.Response) -> dict[str, Any]:
        """`message` and `errors` of an error answer; {} when its body is empty or foreign."""
        try:
            body = json.loads(response.content)
        except ValueError:
            return {}
        if not isinstance(body, dict):
            return {}
        return {key: body[key] for key in ("message", "errors") if body.get(key)}


def connect(endpoint: Endpoint) -> tuple[requests.Session, ProxmoxResource]:
    """A session for the endpoint and proxmoxer's root resource on it. Sends nothing yet."""
    backend = Backend(
        endpoint.host,
        port=endpoint.port,
        user=endpoint.user,
        token_name=endpoint.token_name,
        token_value=endpoint.token_secret,
        verify_ssl=True,
        timeout=(endpoint.connect_timeout_seconds, endpoint.read_timeout_seconds),
    )
    session = backend.get_session()
    session.trust_env = False  # no proxies, no .netrc, no REQUESTS_CA_BUNDLE
    session.headers["User-Agent"] = f"jotunheim/{__version__}"
    session.max_redirects = 0  # PVE never redirects; a token must not follow one
    session.adapters.clear()
    session.mount("https://", PinningAdapter(endpoint.tls))
    return session, ProxmoxResource(base_url=backend.get_base_url(), session=session, serializer=Answer())
