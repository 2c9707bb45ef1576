"""Errors of this room. Each says what was expected, what came, and what to do."""

import errno
import os


class StoreError(Exception):
    """Base of everything `stores` raises."""


class IdentityError(StoreError, TypeError):
    """A value that has no canonical form reached a fingerprint."""


class ManifestError(StoreError, ValueError):
    """A manifest breaks its contract: duplicate id, unknown label, path outside the corpus."""


class MediaError(StoreError, OSError):
    """A sample cannot be read, decoded, embedded or validated; it goes to quarantine.

    `reason` is one of `stores.quarantine.REASONS`; `stage` is read, decode, embed or validate.
    """

    def __init__(self, message: str, *, reason: str, stage: str = "decode") -> None:
        super().__init__(message)
        self.reason = reason
        self.stage = stage


class MostFailed(StoreError, OSError):
    """Most samples of a run failed for one reason: a folder, a machine or a setting is at fault."""


class FeatureMismatch(StoreError, ValueError):
    """The identity on disk is not the identity that was asked for."""


class MissingRows(StoreError, KeyError):
    """Rows were asked for that no sealed part holds."""

    def __str__(self) -> str:
        return str(self.args[0])


class DamagedError(StoreError, ValueError):
    """What lies on disk is not what was written: `affuse store verify` names all of it."""


class ForeignError(DamagedError):
    """What lies here was written as something else: it is passed over, and `affuse store verify` names it."""


class RowsDamaged(DamagedError):
    """Rows are not what was sealed. They have been withdrawn: to whoever looks again they are missing."""


class RootError(StoreError, OSError):
    """The root cannot be read or written: no space, no permission, no credentials, no such bucket."""


class BooksError(StoreError, ArithmeticError):
    """samples != absent + cached + extracted + quarantined."""


class NotFound(StoreError, LookupError):
    """A feature, encoder, study or plug-in of that name does not exist."""

    def __str__(self) -> str:
        return str(self.args[0])


class ConfigError(StoreError, ValueError):
    """A setting is unknown, of the wrong type or out of range."""


class UnknownPlugin(NotFound, ConfigError):
    """A setting names a plug-in that does not exist."""


_HINTS = {
    errno.ENOSPC: "free some space or choose another --root; what was sealed is kept",
    errno.EDQUOT: "your quota is used up: free some space or choose another --root; what was sealed is kept",
    errno.EFBIG: "files may not grow that large here: raise the limit or choose another --root",
    **dict.fromkeys((errno.EACCES, errno.EPERM), "change its permissions or choose another --root"),
    errno.EROFS: "it is mounted read-only: choose another --root",
    **dict.fromkeys((errno.ENOTDIR, errno.EEXIST), "a file stands where a folder is needed: choose another --root"),
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
