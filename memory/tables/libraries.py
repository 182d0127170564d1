"""Tables that libraries bring along, and which version of them a database carries."""

from sqlalchemy.orm import Mapped, mapped_column

from memory.tables.base import Shared


class LibrarySchema(Shared):
    """The version of one library's own tables in this database."""

    __tablename__ = "library_schema"

    library: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[str]
