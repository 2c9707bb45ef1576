"""Errors of this room. Each says what was expected, what came, and what to do."""


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
