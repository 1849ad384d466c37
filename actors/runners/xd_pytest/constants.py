"""Numbers shared with the agent.  Made by tools/wiregen.py from engine/wire.def, and from engine/xd.h (EXIT_*): do not edit."""

# what stands for none
NO_WORKER = 0xffff  # no worker; where a worker speaks: the runner host or the collector
NO_INDEX = 0xffffffff  # no item; of a REPORT: of the collection

# number of a gateway
GATEWAY_NONE = 0xffff  # no gateway

# outcome of an item
OUT_NONE = 0  # none yet; never sent
OUT_PASSED = 1  # passed
OUT_FAILED = 2  # failed
OUT_SKIPPED = 3  # skipped
OUT_XFAILED = 4  # failed as expected
OUT_XPASSED = 5  # passed against expectation
OUT_ERROR = 6  # set-up or teardown failed
OUT_CRASHED = 7  # its worker died in it
OUT_TIMEOUT = 8  # it ran out of time
OUT_LOST = 9  # its environment was lost, for the second time
OUT_NOT_RUN = 10  # not run

# flags of RESULT
RES_REPORTS = 1  # REPORTs went before: count those, not this
RES_TEARDOWN_ERROR = 2  # an additional error at teardown
RES_CLOSES = 4  # closes one with OPEN: says what its fixtures' teardown came to, counts nothing
RES_OPEN = 8  # fixtures that outlive the item wait for their teardown: one with CLOSES follows
RES_AGAIN = 16  # given after the last teardown of its worker

# flags of REPORT
REP_NOTRUN = 1  # xfail run was not expected to run
REP_WASXFAIL = 2  # item has wasxfail
REP_STRICT = 4  # strict xpass
REP_CUT = 8  # text shortened to the limit
REP_FOLDED = 16  # the short summary shows no line
REP_MARKUP = 32  # text has colours
REP_CLOSES = 64  # of the teardown that a RESULT with CLOSES closes

# how workers are started
WAY_COLLECTED = 1  # forked from the process that collected
WAY_WARM = 2  # forked from the runner host, which has imported pytest
WAY_FRESH = 3  # spawned by the agent

# flags of ENV_START
ENV_AS_MODULE = 1  # as python -m pytest
ENV_NO_FORK = 2  # never fork
ENV_KEEPS_CACHE = 16  # this environment keeps the pytest cache
ENV_OWN_WORKERS = 32  # -n/--dist on the command line (those in ini do not count)
ENV_TTY = 64  # standard output is a terminal
ENV_PROGRESS = 128  # the collector tells how far it is (PROGRESS)
ENV_PLAIN = 256  # one plain session: -n 0 or --dist no on the command line

# HOST_CHECKED.failed: what is not as a run needs it
LOOK_GOOD = 0  # nothing
LOOK_FOLDER = 1  # the working folder
LOOK_INTERPRETER = 2  # the interpreter
LOOK_FRAMEWORK = 3  # the test framework
LOOK_DISK = 4  # there is no room on the disk

# flags of RANGE
RANGE_TOGETHER = 1  # must stay on one worker together with the other ranges of the same group

# bits of RUN.last
RUN_LAST = 1  # none comes after these as far as is known: the last may start without a successor
RUN_FINAL = 2  # none will come: the last teardown may be done

# CANCEL.how; the highest that was said holds
CANCEL_DRAIN = 1  # let running items end
CANCEL_GRACE = 2  # let them have grace_ms, then kill
CANCEL_NOW = 3  # kill now

# level of NOTE and AGENT_NOTE
NOTE_DETAIL = 1  # detail (-v)
NOTE_NOTE = 2  # note
NOTE_WARNING = 3  # warning
NOTE_ERROR = 4  # error
NOTE_USAGE = 5  # error of usage: the command line or a setting is refused

# OUTPUT.stream
OUTPUT_STDOUT = 1  # standard output
OUTPUT_STDERR = 2  # standard error

# WORKER_DOWN.will_restart
DOWN_FOR_GOOD = 0  # there is nothing left for a replacement
DOWN_REPLACED = 1  # a replacement is being started
DOWN_NO_BUDGET = 2  # no replacement: the budget is used up

# HELLO.capabilities: optional parts of the protocol
CAP_PING = 1  # answers PING
CAP_RECONNECT = 2  # goes on with its session over another pipe when the first is cut: a known agent waits for WELCOME there, then says HELLO
CAP_BEAT = 4  # the controller sends something every 5 s, if need be PING: an agent that hears nothing for the time to reconnect, and for 15 s at least, ends

# exit code of a run or a session
EXIT_OK = 0
EXIT_FAILED = 1
EXIT_INTERRUPTED = 2
EXIT_INTERNAL = 3
EXIT_USAGE = 4
EXIT_NO_TESTS = 5
EXIT_INFRASTRUCTURE = 6
EXIT_MAX_WARNINGS = 6
EXIT_INCOMPLETE = 7
