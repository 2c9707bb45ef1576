"""Errors of this room. Each says what was expected, what came, and what to do."""

from stores.errors import ConfigError


class FusionError(Exception):
    """Base of everything `fusion` raises, except the ConfigError of a setting."""


class SplitError(FusionError, ConfigError):
    """The protocol cannot be carried out on these samples: too few groups, too few distinct splits, no split given."""


class TrainingError(FusionError, ArithmeticError):
    """A head cannot be trained: it diverged, lacks samples, or needs more memory than there is."""


class Diverged(TrainingError):
    """A loss is not finite: the learning rate is too high, or a feature is."""


class FeatureError(FusionError, ValueError):
    """A feature row cannot be used: it is not finite."""


class NotReproduced(FusionError, ValueError):
    """A finished run, trained again with the same settings and seed, says something else than it said."""
