"""What the exit codes of `academy` mean, for scripts. Numbers never change their meaning."""

from enum import IntEnum


class Exit(IntEnum):
    """One code per kind of failure; 2 is taken by wrong usage of the command line."""

    OK = 0
    FAILED = 1
    """Something unexpected; the message says what."""
    USAGE = 2
    NOT_RUNNING = 3
    """No academy answers for this home."""
    NOT_FOUND = 4
    FORBIDDEN = 5
    CONFLICT = 6
    """The thing is in a state that doesn't allow this."""
    INVALID = 7
    UNAVAILABLE = 8
    """Something the academy depends on, such as PostgreSQL, can't be reached now."""
    BROKEN = 9
    """A check found damage: an audit chain that doesn't verify, a replica that isn't healthy."""

    ALREADY_RUNNING = 10
    HOME_UNUSABLE = 11
    PORT_TAKEN = 12
    DISK_FULL = 13
    FLEET_INVALID = 14
    DATABASE_UNREACHABLE = 15
    """`ACADEMY_DATABASE_URL` is wrong, or its server doesn't answer."""
    DATABASE_NEWER = 16
    START_FAILED = 17
    PLATFORM = 18
    SETTING_INVALID = 19


class Refusal(Exception):
    """Starting or running on was refused; the message names what was wrong and what is right."""

    def __init__(self, code: Exit, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
