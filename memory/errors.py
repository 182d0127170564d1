"""What can go wrong with a store."""


class StoreError(Exception):
    """A store could not do what was asked of it."""


class StoreUnavailable(StoreError):
    """The store can't be reached now; the same request may succeed later."""


class SchemaMismatch(StoreError):
    """The database carries a schema outside the range this release runs on."""


class LeaseLost(StoreError):
    """Another owner holds the lease, or a newer fencing number has been issued."""


class WritesKept(Exception):
    """Mixed into an error raised after writing what must stay, such as a failed sign-in.

    `Database.unit_of_work` commits and lets it through; every other error rolls back.
    """
