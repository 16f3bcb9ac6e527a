"""Locations: adding and showing them."""

from jotunheim.data.node.spec import LocationSpec
from jotunheim.data.node.view import LocationView
from jotunheim.data.paging import Page, Paged
from jotunheim.exceptions.repository import NotFoundError
from jotunheim.repositories.peewee.database import unique
from jotunheim.repositories.peewee.infrastructure import Location
from jotunheim.repositories.peewee.paging import paginate


def create_location(spec: LocationSpec) -> LocationView:
    """Add a location.

    Raises:
        UniquenessError: the short code is taken.
    """
    with unique(f"There is a location {spec.short_code} already."):
        return _view(Location.create(name=spec.name, short_code=spec.short_code))


def list_locations(page: Page) -> Paged[LocationView]:
    """A page of all locations."""
    rows, total = paginate(Location.select(), page, [Location.id, Location.name, Location.short_code])
    return Paged([_view(row) for row in rows], page, total)


def read_location(id_: int) -> LocationView:
    """One location."""
    location = Location.get_or_none(Location.id == id_)
    if location is None:
        raise NotFoundError("location", id_)
    return _view(location)


def _view(location: Location) -> LocationView:
    return LocationView(
        id=location.id,
        name=location.name,
        short_code=location.short_code,
        created_at=location.created_at,
        updated_at=location.updated_at,
    )
