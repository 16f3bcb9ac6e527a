"""Headers of every answer, whatever it is: what a browser must not do with it."""

from starlette.datastructures import MutableHeaders

POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
"""For documents that load nothing; a page that does adds to it."""

SECURITY = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def secure(headers: MutableHeaders, hsts_seconds: int) -> None:
    """Add what is missing.

    Args:
        hsts_seconds: for how long a browser shall use nothing but HTTPS; 0: nothing is said of it.
    """
    for name, value in SECURITY.items():
        headers.setdefault(name, value)
    if hsts_seconds:
        headers["Strict-Transport-Security"] = f"max-age={hsts_seconds}"
