"""What a disk or an object store refuses, in words: what, where, and what to do."""

import errno
import os

_HINTS = {
    errno.ENOSPC: "free some space or choose another --root; what was sealed is kept",
    errno.EDQUOT: "your quota is used up: free some space or choose another --root; what was sealed is kept",
    errno.EFBIG: "files may not grow that large here: raise the limit or choose another --root",
    errno.EACCES: "change its permissions or choose another --root",
    errno.EPERM: "change its permissions or choose another --root",
    errno.EROFS: "it is mounted read-only: choose another --root",
    errno.ENOTDIR: "a file stands where a folder is needed: choose another --root",
    errno.EEXIST: "a file stands where a folder is needed: choose another --root",
}
_REMOTE_HINTS = {
    "NoCredentialsError": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
    "PermissionError": "check the credentials and what they allow",
    "EndpointConnectionError": "check AWS_ENDPOINT_URL and the network",
    "FileNotFoundError": "check the name of the bucket, and create it first",
}
_CLIENTS = ("botocore", "aiobotocore", "aiohttp")


def refusal(error: Exception, *, doing: str, what: str, address: str, is_local: bool) -> str:
    """Return `cannot write NAME under ADDRESS: no space left on device: free some space ...`."""
    number = getattr(error, "errno", None)
    why = (os.strerror(number) if number else str(error)) or type(error).__name__
    hints = [_HINTS.get(number or 0), None if is_local else _REMOTE_HINTS.get(type(error).__name__)]
    hint = next((hint for hint in reversed(hints) if hint), "check that the root can be used")
    return f"cannot {doing} {what} under {address}: {why}: {hint}"


def is_refusal(error: Exception) -> bool:
    """Return whether the disk, or the client of an object store, says so: not a mistake of ours."""
    return isinstance(error, OSError) or type(error).__module__.startswith(_CLIENTS)


def lacks_bucket(error: Exception) -> bool:
    """Return whether a file is not found because its whole bucket is not there."""
    return "specified bucket does not exist" in f"{error} {error.__cause__}"
