"""Locations: adding, showing, changing and deleting them."""

from collections.abc import Mapping
from typing import Any

from jotunheim.data.node.change import LocationChange
from jotunheim.data.node.policy import PlacementPolicy
from jotunheim.data.node.spec import LocationSpec
from jotunheim.data.node.view import LocationView
from jotunheim.data.paging import Page, Paged
from jotunheim.repositories.peewee.database import unique
from jotunheim.repositories.peewee.infrastructure import Location, Node
from jotunheim.repositories.peewee.paging import narrowed, paginate
from jotunheim.services import resources

FILTERS = {"name": Location.name, "short_code": Location.short_code}
SORTABLE = {
    "id": Location.id,
    "name": Location.name,
    "short_code": Location.short_code,
    "created_at": Location.created_at,
    "updated_at": Location.updated_at,
}


def create_location(spec: LocationSpec) -> LocationView:
    """Add a location.

    Raises:
        UniquenessError: the short code is taken.
    """
    with unique(f"There is a location {spec.short_code} already."):
        return view(Location.create(**spec.model_dump()))


def list_locations(page: Page, wanted: Mapping[str, Any]) -> Paged[LocationView]:
    """A page of the locations that these filters let through."""
    rows, total = paginate(narrowed(Location.select(), FILTERS, wanted), page, SORTABLE)
    return Paged([view(row) for row in rows], page, total)


def find(id_: int, if_match: str | None = None) -> Location:
    """One location; raises as `resources.find`."""
    return resources.find(Location, "location", id_, if_match)


def change_location(location: Location, change: LocationChange) -> None:
    """Change a location.

    Raises:
        UniquenessError: the short code is taken.
    """
    with unique(f"There is a location {change.short_code} already."):
        location.change(**change.given())


def delete_location(location: Location) -> None:
    """Delete a location.

    Raises:
        ConflictError, InUseError: a node stands in it.
    """
    resources.assert_unused("location", {"nodes": Node.names_in(location, resources.SHOWN)})
    location.remove()


def view(location: Location) -> LocationView:
    """A location as the API shows it."""
    return LocationView(
        id=location.id,
        name=location.name,
        short_code=location.short_code,
        placement_policy=PlacementPolicy(location.placement_policy) if location.placement_policy else None,
        created_at=location.created_at,
        updated_at=location.updated_at,
    )
