"""The one exception that is meant for users."""


class HandgenError(Exception):
    """Something a user can fix: names the thing, the fact and the next step, on one line."""
