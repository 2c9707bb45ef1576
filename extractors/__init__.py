"""Media -> features: text, speech, image; one extraction loop and one trainer around them."""

import os

# Read by OpenMP when torch loads: threads that spin while they wait stall every step of a machine that is shared.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
