"""Whether most of a run failed for one reason: then a folder, a machine or a setting is at fault, and no sample."""

from collections import Counter
from collections.abc import Sequence

from extractors._part import Outcome
from extractors.plan import Plan

_LEAST = 5  # samples: fewer may well be broken, each by itself
_OF_ITS_OWN = frozenset({"empty_text", "empty_media", "no_audio_track", "no_video_track", "no_face", "upstream"})


def prevailing(plan: Plan, outcomes: Sequence[Outcome]) -> str | None:
    """Return a sentence if one reason keeps out most samples, or most of those that were tried for the first time.

    Reasons that may well be true of most samples of a corpus (no face) count the first time only: who runs again goes
    on without them. What is tried once more is known to be broken, however few samples beside it are new.
    """
    failures = [*plan.quarantined, *(failure for outcome in outcomes for failure in outcome.failures)]
    known = {failure.sample_id for failure in plan.quarantined}
    new = [failure for failure in failures if failure.attempts == 1 and failure.sample_id not in known]
    tried = len(new) + sum(outcome.extracted for outcome in outcomes)
    standing = [failure for failure in failures if failure.reason not in _OF_ITS_OWN]
    for among, all_of_them in ((standing, plan.samples - len(plan.absent)), (new, tried)):
        for reason, count in Counter(failure.reason for failure in among).most_common(1):
            if count >= _LEAST and 2 * count > all_of_them:
                first = next(failure for failure in among if failure.reason == reason)
                return f"{count:,} of {all_of_them:,} samples failed for one reason, {reason} ({first.message})"
    return None
