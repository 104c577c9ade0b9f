"""Retry object-store calls on transient errors; raise OSError naming the URL.

Drivers raise what their HTTP libraries raise. Here that becomes an `OSError` with `errno`, a sentence and the URL as
`filename`, of the same classes as for files. Transient errors are retried, a little later each time.

The drivers' own retries do less, as tried with a server that answers 500 or 503 for a while: s3fs gives up after 7 to
13 s, and its errors name no URL; others have none. obstore gives up after 2 to 5 s, and its `mode="create"` overwrites.
"""

from __future__ import annotations

import errno
import logging
import os
import random
import time
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")

RETRY_DEADLINE_S = 60.0
LEAST_ATTEMPTS = 2  # however long one takes
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.2, 10.0
PERMANENT = {
    *(errno.ENOENT, errno.EACCES, errno.EPERM, errno.EEXIST, errno.ENOTDIR, errno.EISDIR),
    *(errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENAMETOOLONG, errno.EMSGSIZE),
    getattr(errno, "EREMCHG", errno.EINVAL),  # of a bucket elsewhere; macOS has no such number
}
_KINDS = (
    (FileNotFoundError, errno.ENOENT),
    (PermissionError, errno.EACCES),
    (FileExistsError, errno.EEXIST),
    (NotADirectoryError, errno.ENOTDIR),
    (IsADirectoryError, errno.EISDIR),
    (TimeoutError, errno.ETIMEDOUT),
)
_HTTP = {400: errno.EINVAL, 401: errno.EACCES, 403: errno.EACCES, 404: errno.ENOENT, 412: errno.EEXIST}
# Codes of S3 that say less, or something else, than the driver makes of them.
_EXISTS = ("PreconditionFailed", "412")  # of a put that must be the first
TRANSIENT = ("BadDigest", "IncompleteBody", "NoSuchUpload", "XAmzContentSHA256Mismatch")  # of a transfer that was cut
_OUR_FAULTS = (TypeError, AttributeError, LookupError, AssertionError, ArithmeticError, MemoryError)

log = logging.getLogger(__name__)


def retry(url: str, act: Callable[[], Result]) -> Result:
    """Call `act`, for `RETRY_DEADLINE_S` while its error is transient; raises an OSError that names `url`."""
    began, attempts = time.monotonic(), 0
    while True:
        attempts += 1
        try:
            return act()
        except _OUR_FAULTS:
            raise
        except Exception as error:
            found, is_transient = as_os_error(error, url)
            if not is_transient:
                raise found from error
            wait = min(_FIRST_WAIT_S * 2 ** (attempts - 1), _LONGEST_WAIT_S) * random.uniform(0.5, 1.5)
            spent = time.monotonic() - began
            if attempts >= LEAST_ATTEMPTS and spent + wait > RETRY_DEADLINE_S:
                text = f"{found.strerror} (asked {attempts} times in {spent:.0f} s)"
                raise OSError(found.errno, text, url) from error
            log.warning("%s: %s; retrying in %.1f s", url, found.strerror, wait)
        time.sleep(wait)


def as_os_error(error: Exception, url: str) -> tuple[OSError, bool]:
    """Turn a driver's error into an OSError that names `url`; say whether it is transient."""
    code = _store_code(error)
    number = _number(error)
    if code in _EXISTS:
        number = errno.EEXIST
    text = " ".join(str(getattr(error, "strerror", None) or error).split())
    if not text or " " not in text:  # only the name again
        text = os.strerror(number) if number != errno.EIO else type(error).__name__
    elif not isinstance(error, OSError):
        text = f"{type(error).__name__}: {text}"
    return OSError(number, text, url), code in TRANSIENT or number not in PERMANENT


def _number(error: Exception) -> int:
    if isinstance(error, OSError):
        return error.errno or next((number for kind, number in _KINDS if isinstance(error, kind)), errno.EIO)
    if "Credential" in type(error).__name__:  # none were found, or not all
        return errno.EACCES
    if isinstance(error, ValueError) or "Validation" in type(error).__name__:  # of a URL, an endpoint, a bucket's name
        return errno.EINVAL
    status = getattr(error, "code", None)
    return _HTTP.get(status, errno.EIO) if isinstance(status, int) else errno.EIO


def _store_code(error: Exception) -> str | None:
    """Return S3's name of an error."""
    for source in (error, error.__cause__):
        response = getattr(source, "response", None)
        if isinstance(response, dict):
            code = response.get("Error", {}).get("Code")
            return None if code is None else str(code)
    return None
