"""What identity declines, and why."""

from memory.errors import WritesKept
from tools.kit.errors import Conflict, Forbidden, Invalid, NotFound


class UnknownHost(NotFound):
    """No tenant answers to this host name."""


class UnknownPerson(NotFound):
    """There is no such person."""


class UnknownKey(NotFound):
    """There is no such key, or it isn't the caller's."""


class LinkRefused(Forbidden):
    """The sign-in link is used up, expired or was never issued."""


class SessionRefused(Forbidden):
    """The cookie opens nothing here: unknown, expired, signed out or another tenant's."""


class KeyRefused(Forbidden):
    """The API key opens nothing here: unknown, expired, revoked or another tenant's."""


class SignInFailed(Forbidden, WritesKept):
    """E-mail and password don't belong together; the attempt has been counted."""


class TooManyAttempts(Forbidden):
    """Too many failed sign-ins; `details["retry_after"]` says in how many seconds to try again."""


class EmailTaken(Conflict):
    """Another person signs in with this e-mail."""


class TooManyKeys(Conflict):
    """The person holds as many live keys as policy allows."""


class BadPassword(Invalid):
    """The password doesn't meet the policy."""


class BadEmail(Invalid):
    """That isn't an e-mail address."""
