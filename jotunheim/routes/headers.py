"""Headers of every answer: what a browser must not do with it, and how often one may still ask."""

from starlette.datastructures import MutableHeaders

from jotunheim.services.throttle import Standing

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


def tell_standing(headers: MutableHeaders, standing: Standing | None) -> None:
    """Tell a caller how much is left of the token's limit.

    The names are those of the IETF's draft up to its seventh version, with seconds for the reset. Newer drafts put all into one
    structured field, which hardly a client reads yet.
    """
    if standing is not None:
        headers["RateLimit-Limit"] = str(standing.limit)
        headers["RateLimit-Remaining"] = str(standing.remaining)
        headers["RateLimit-Reset"] = str(standing.reset_seconds)
