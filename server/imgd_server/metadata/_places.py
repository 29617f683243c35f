"""Where images stand in lists: newest first, then by the first row that a table shows of them.

A place is given anew whenever that row or the create time changes; the former place is kept for
lists that were begun before. So a list shows the order, and the images, of its first page, whatever
others do between its pages: nothing is shown twice, and nothing that stays is left out.
"""

from __future__ import annotations

from imgd_server.errors import FieldError, Reason
from imgd_server.metadata._database import Queries

__all__ = ["PlaceQueries"]

# So many changes later a list can't go on. Each keeps a row of some hundred bytes; ten pulls a
# second leave over an hour for a list.
KEPT_CHANGES = 50_000
# They are deleted once for so many changes.
FORGOTTEN_AT_ONCE = 64
_COUNTER = "image_places"


class PlaceQueries(Queries):
    """The part of a session that orders images."""

    def _place(self, image: int) -> None:
        """Gives an image its place, if that has changed."""
        age, first_row, *former = self._db.execute(
            "SELECT coalesce(-created, 1 << 62), coalesce("
            # Not `image = row`: the view is then read whole.
            "(SELECT min(text) FROM image_rows WHERE image = :image), '<none> <none>'), "
            "former.age, former.first_row FROM images LEFT JOIN image_places AS former "
            "ON former.image = :image AND until IS NULL WHERE row = :image",
            {"image": image},
        ).fetchone()
        if former != [age, first_row]:
            change = self._displace(image)
            self._db.execute(
                "INSERT INTO image_places (change, image, age, first_row) VALUES (?, ?, ?, ?)",
                (change, image, age, first_row),
            )

    def _displace(self, image: int) -> int:
        """Ends an image's place; returns the number of the change."""
        change = self._count(_COUNTER, 1)
        self._db.execute(
            "UPDATE image_places SET until = ? WHERE image = ? AND until IS NULL", (change, image)
        )
        if change % FORGOTTEN_AT_ONCE == 0:
            self._db.execute("DELETE FROM image_places WHERE until <= ?", (change - KEPT_CHANGES,))
        return change

    def _list_from(self, after: tuple[int, int] | None) -> tuple[int, tuple[int, str, int]]:
        """The change that a list goes on at, and the place that it goes on behind."""
        latest = self._counted(_COUNTER)
        if after is None:
            return latest, (-(1 << 63), "", 0)
        asof, change = after
        behind = self._db.execute(
            "SELECT age, first_row, change FROM image_places WHERE change = ?", (change,)
        ).fetchone()
        if behind is None or asof < latest - KEPT_CHANGES:
            raise FieldError(
                "page_token",
                "page_token: too much has changed since the list was begun; start again",
                reason=Reason.PAGE_TOKEN_INVALID,
            )
        return asof, behind
