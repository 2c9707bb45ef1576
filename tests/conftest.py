"""What all tests share: property tests try the same examples every time, and are not held to a time."""

from hypothesis import settings

settings.register_profile("affuse", deadline=None, derandomize=True)
settings.load_profile("affuse")
