"""What can go wrong with a store."""


class StoreError(Exception):
    """A store could not do what was asked of it."""


class StoreUnavailable(StoreError):
    """The store can't be reached now; the same request may succeed later."""


class SchemaMismatch(StoreError):
    """The database carries a schema outside the range this release runs on."""


class LeaseLost(StoreError):
    """Another owner holds the lease, or a newer fencing number has been issued."""
