"""The sandbox's own certificate authority and server certificate.

Kept beside the state file if there is one, so that a pinned fingerprint and a trusted CA survive a
restart; otherwise in a temporary folder.
"""

import datetime as dt
import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LIFETIME = dt.timedelta(days=3650)
CURVE = ec.SECP256R1()


@dataclass(frozen=True)
class Identity:
    """The files of a CA and a server certificate, and what clients need to trust them."""

    ca_file: Path
    certificate_file: Path
    key_file: Path
    fingerprint: str
    certificate_pem: str

    def context(self) -> ssl.SSLContext:
        """The server's TLS settings."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.certificate_file, self.key_file)
        return context


def load_or_make(folder: Path, host: str) -> Identity:
    """The identity in a folder; made if it is not there, or not for this host."""
    ca, certificate, key = folder / "ca.pem", folder / "server.pem", folder / "server.key"
    if not (ca.exists() and certificate.exists() and key.exists()) or not _covers(certificate, host):
        _make(ca, certificate, key, host)
    parsed = x509.load_pem_x509_certificate(certificate.read_bytes())
    digest = parsed.fingerprint(hashes.SHA256()).hex().upper()
    fingerprint = ":".join(digest[n : n + 2] for n in range(0, len(digest), 2))
    return Identity(ca, certificate, key, fingerprint, certificate.read_text())


def _names(host: str) -> list[x509.GeneralName]:
    names: list[x509.GeneralName] = [
        x509.DNSName("localhost"),
        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
    ]
    try:
        own: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        own = x509.DNSName(host)
    return names if own in names else [*names, own]


def _covers(certificate: Path, host: str) -> bool:
    parsed = x509.load_pem_x509_certificate(certificate.read_bytes())
    covered = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return all(name in list(covered) for name in _names(host))


def _make(ca_file: Path, certificate_file: Path, key_file: Path, host: str) -> None:
    ca_key, key = ec.generate_private_key(CURVE), ec.generate_private_key(CURVE)
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Jotunheim sandbox CA")])
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "pve1.sandbox")])
    ca = (
        _builder(ca_name, ca_name, ca_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(sign_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    certificate = (
        _builder(name, ca_name, key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(sign_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(_names(host)), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False
        )
        .sign(ca_key, hashes.SHA256())
    )
    ca_file.write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.touch(mode=0o600)
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + LIFETIME)
    )


def _key_usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        encipher_only=False,
        decipher_only=False,
    )
