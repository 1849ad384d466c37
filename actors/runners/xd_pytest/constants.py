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

# flags of PACKAGE
PACKAGE_PLUGIN = 1  # a plugin of the test framework
PACKAGE_OWN = 2  # of the project: installed in editable mode, or its files lie there

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

# SYNC_RECORD.type: what stands at a path of a tree
SYNC_GONE = 0  # nothing: what was brought there before is removed
SYNC_FILE = 1  # a file
SYNC_FOLDER = 2  # a folder
SYNC_LINK = 3  # a symbolic link
SYNC_WAY = 4  # a folder that leads to a root: only what is in the manifest is the sender's there
SYNC_KEPT = 5  # nothing that is brought any more, as it is ignored now: what stands there stays, and is forgotten

# flags of SYNC_OPEN
SYNC_FLAG_PROJECT = 1  # folder is the name of a project: the agent chooses a folder for it below its cache
SYNC_FLAG_DELETE = 2  # what is in the roots there and not here is removed, also what was not brought, unless it is ignored here
SYNC_FLAG_DRY_RUN = 4  # changes nothing there; SYNC_CHANGE reports what would change
SYNC_FLAG_TELL = 8  # SYNC_CHANGE reports each path that changes
SYNC_FLAG_ALONE = 16  # no records follow, as the wanted tree should stand there already: where it does not, SYNC_NEED_ALL is the answer

# how the inner body of SYNC_RECORDS and SYNC_DATA is written
SYNC_CODEC_PLAIN = 0  # as it is
SYNC_CODEC_ZSTD = 1  # one zstd frame; only to an agent with CAP.ZSTD

# SYNC_PIECE.op
SYNC_OP_DATA = 0  # these bytes
SYNC_OP_COPY = 1  # `count` bytes at `base_at` of the file that stands at the same path there (base of the delta)

# HELLO.capabilities: optional parts of the protocol
CAP_PING = 1  # answers PING
CAP_RECONNECT = 2  # goes on with its session over another pipe when the first is cut: a known agent waits for WELCOME there, then says HELLO
CAP_BEAT = 4  # the controller sends something every 5 s, if need be PING: an agent that hears nothing for the time to reconnect, and for 15 s at least, ends
CAP_SYNC = 8  # takes a tree of files: SYNC_OPEN
CAP_ZSTD = 16  # reads zstd in SYNC_RECORDS and SYNC_DATA

# TUNNEL_REFUSED.code: why the server will not
TUNNEL_UNKNOWN_KEY = 1  # it does not know the key
TUNNEL_REVOKED_KEY = 2  # the key was revoked
TUNNEL_EXPIRED_KEY = 3  # the time of the key is over
TUNNEL_ADDRESS = 4  # the key may not be used from this address
TUNNEL_VERSION = 5  # it speaks other versions of the tunnel
TUNNEL_BUSY = 6  # a limit of the server is reached, or it is about to end
TUNNEL_NO_AGENT = 7  # the agent cannot be started, or is gone
TUNNEL_PROTOCOL = 8  # what was said is against the protocol
TUNNEL_BAD_TOKEN = 9  # the token was not made by this controller, is for another run, or was used before
TUNNEL_EXPIRED_TOKEN = 10  # the time of the token is over
TUNNEL_UNFIT = 11  # a capability word that the run requires is missing
TUNNEL_OVER = 12  # the run has ended, or is about to

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
