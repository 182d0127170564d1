"""Limits of sign-in, and the sentences about them.

Lengths follow NIST SP 800-63B-4 (2025): length counts, composition rules don't; argon2id parameters
are OWASP's minimum (19 MiB, 2 passes, 1 lane), so that a burst of sign-ins fits a small machine.
"""

from datetime import timedelta

LINK_MINUTES = 15
LINK_MINUTES_MOST = 24 * 60
SESSION_IDLE = timedelta(hours=12)
"""A session ends this long after its last use."""
SESSION_LONGEST = timedelta(days=30)
"""A session ends at the latest this long after sign-in, however busy."""
SESSION_REFRESH = timedelta(hours=1)
"""A session's end is moved at most this often: most requests only read."""
FAILURES_MOST = 5
FAILURE_WINDOW = timedelta(minutes=15)
"""At most 5 failed sign-ins per address and per e-mail within 15 minutes."""
PASSWORD_LEAST = 12
PASSWORD_MOST = 1024
"""Longest password looked at, in characters: hashing a megabyte is work for nothing."""
EMAIL_MOST = 320
KEYS_MOST = 20
"""Live keys per person."""
KEY_NAME_MOST = 80
KEY_USE_RECORDED = timedelta(minutes=1)
"""A key's last use is written at most this often."""
KEY_PREFIX = "dak_"
KEY_HOLDERS = frozenset({"operator", "staff", "engineer", "author"})
"""Roles that may make API keys; a key carries what its person may do, at the time of use."""
ARGON2_MEMORY_KIB = 19 * 1024
ARGON2_PASSES = 2
ARGON2_LANES = 1

PASSWORD_RULE = f"A password has at least {PASSWORD_LEAST} characters; a few words make a good one."
ATTEMPTS_RULE = (
    f"After {FAILURES_MOST} failed sign-ins within"
    f" {FAILURE_WINDOW.total_seconds() / 60:.0f} minutes, signing in waits."
)
