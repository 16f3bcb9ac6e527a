"""What a request costs, next to one that does nothing."""

import time
from collections.abc import Callable

from tests.support.service import Service

RUNS = 200
BASE = "`GET /healthz`"


def measure(service: Service) -> dict[str, list[float]]:
    """Seconds of each request, in turns, over one connection."""
    health = str(service.http.base_url).replace("/api/v1/", "/healthz")
    server = service.read("servers?per_page=1")["servers"][0]["id"]
    ways: dict[str, Callable[[int], object]] = {
        BASE: lambda _: service.http.get(health),
        "`GET /admin/servers/{id}`": lambda _: service.read(f"servers/{server}"),
        "`GET /admin/servers?per_page=50`": lambda _: service.read("servers?per_page=50"),
        "`POST /admin/locations`": lambda n: service.create(
            "locations", {"name": "b", "short_code": f"b{n}"}
        ),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(RUNS + 1):
        for name, way in ways.items():
            began = time.perf_counter()
            way(number)
            if number:
                seconds[name].append(time.perf_counter() - began)
    return seconds
