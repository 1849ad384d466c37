"""actors/runners/xd_pytest - the far end in Python: runner host, collector and workers of one environment.

Started by the agent as
    python -c "import sys; sys.path[:1] = [DIR]; import xd_pytest.main; xd_pytest.main.main(sys.argv[1:], True)" collector CONTROL PAGE --leash=FD
    ... host CONTROL PAGE --leash=FD
    ... fresh [CONTROL] COMMANDS RESULTS PAGE --leash=FD
with the numbers of inherited descriptors.  Standard library only; the real pytest runs in-process with two plugins of ours.

    collector C    in  ENV_START, ORDER, FORK (4 descriptors), REAP, FINISH, QUIT
                   out HOST_READY, CONFIG, COLLECT_IDS, REPORT, WARNING, SUITE_PROPERTY, COLLECTED, ENV_FAILED, FORKED, REAPED
    host H         in  ENV_START, FORK (4 descriptors), REAP, QUIT            out FORKED, REAPED
    worker         in  ORDER, RUN, QUIT                                       out WORKER_READY, RESULT (REPORT, WARNING, SUITE_PROPERTY before it), WORKER_DONE

C imports pytest, and stops inside pytest_runtestloop.  Workers are forked from C ("collected"), or from H, which has imported pytest and nothing else
and is started when it is needed ("warm", C becomes the first of them), or are new processes ("fresh").  ARCHITECTURE.md tells the rest: the progress
page, how an item is claimed, why nextitem is resolved when the item before it is torn down.

All modules are imported by xd_pytest.main, before pytest: the folder is on sys.path only until then, and only then is byte code kept for sure.
Only what is named here is in sys.modules; nothing imports a module of ours by a name that a user's module could have.

    main         processes: host, collector, workers          plugin       our plugin: configuration and collection
    startup      the process as pytest's own start leaves it  collector    serves the agent when all is collected
    process      fork, reap, redirect, leave                  worker       a process becomes a worker
    channel      sockets and pipes to the agent               runloop      runs the items that RUN tells
    page         the progress page                            outcome      reports of the running item become its RESULT
    wire         codec, made by tools/wiregen.py              reports      reports and warnings as frames
    constants    numbers shared with the agent                collection   items as frames
    text         text as bytes of bounded length              settings     the configuration as a frame
    plugins      whose plugin is it?                          xdistlike    options, hooks and fixtures of xdist
    forksafety   what stands against forking a process        terminal     the terminal reporter that stays quiet
    late         what copies of the environment hold of the worker id
    forkstate    what a fork shares or leaves behind          cache, basetemp   what is kept between runs, temporary folders
    reads        who reads the worker id too early            real         what tests may patch
    junitxml     what tests tell JUnit XML beyond reports
    frozen       the heap of the collection, never walked again        home         what a controlling pytest process would do
    leash        nothing outlives the agent                    outlive      fixtures that wait until their item's successor is known
    unread       what a test wrote past the capture is read before the test is over
    owner        the process that pipes, page and files belong to
    controlling  which hooks have a part that runs only outside of workers
    argnames     which fixtures a function asks for
    codefile     byte code of our modules and pytest's, found and read at once
    pythons      what older Pythons and PyPy lack
    compat       what is used of pytest's and Python's private names, and what happens where one is missing
    tested       releases of plugins for which the exemptions of forksafety, home, controlling and reads hold
    hosted       a plain session whose loop over the items is a plugin's or a conftest's"""

import sys


def unfit(version):
    """What is wrong with this Python; None: nothing.  Whatever is read before it is asked must be readable for the oldest of all."""
    if version[:2] < (2, 7) or (3, 0) <= version[:2] < (3, 6):
        return "xd runs pytest with Python 2.7, and with 3.6 and newer: name another interpreter with --python or python="
    if version[:2] == (2, 7):
        try:
            import ctypes
        except ImportError:
            return "this one has no module ctypes, which xd needs of Python 2: name another interpreter with --python or python="
    return None


if unfit(sys.version_info):
    sys.exit("%s is Python %d.%d: %s" % (sys.executable, sys.version_info[0], sys.version_info[1], unfit(sys.version_info)))
