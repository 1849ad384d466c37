"""Numbers shared with the agent (engine/wire.def)."""
from __future__ import absolute_import, division, print_function

NONE32 = 0xFFFFFFFF
NONE16 = 0xFFFF

ENV_AS_MODULE, ENV_NO_FORK, ENV_NO_COLLECTED, ENV_OUTPUT, ENV_CACHE, ENV_TYPED = 1, 2, 4, 8, 16, 32
WAY_COLLECTED, WAY_WARM, WAY_FRESH = 1, 2, 3
PASSED, FAILED, SKIPPED, XFAILED, XPASSED, ERROR, NOT_RUN = 1, 2, 3, 4, 5, 6, 10
EXIT_INTERNAL, EXIT_USAGE, EXIT_INFRASTRUCTURE = 3, 4, 6
