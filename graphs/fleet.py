"""The fleet of one home, as each process of the academy looks at it."""

from graphs.settings import Home
from tools.adapters.local import LocalInfrastructure


def local_fleet(home: Home) -> LocalInfrastructure:
    """The replicas that `fleet.toml` of *home* describes, under its process supervisor.

    Nothing is opened yet; close it with `aclose` once it was used.
    """
    return LocalInfrastructure(home.fleet_file, home.path, home.ports_file, home.supervisor_socket)
