"""The manual tells what the programs do: options, events and fields, in both directions."""
import glob
import os
import re
import shutil
import subprocess
import sys

import pytest

from conftest import ROOT, XDCTL

MAN = os.path.join(ROOT, "tools", "xdctl", "man")
OPTION = re.compile(r"(?<![\w-])(--?[a-zA-Z][a-z-]*)")


def page(name):
    with open(os.path.join(MAN, name + ".scd"), encoding="utf-8") as f:
        return f.read()


def section(text, title, mark="#"):
    """The text below a header, up to the next header of its level or above."""
    found = re.search(r"^%s %s\n(.*?)(?=^#{1,%d} |\Z)" % (mark, re.escape(title), len(mark)), text, re.M | re.S)
    assert found, "no section %s" % title
    return found.group(1)


def defined_options(text):
    """Options that the page's OPTIONS defines: names before an indented text."""
    names = set()
    for line in section(text, "OPTIONS").splitlines():
        if line.startswith("*-"):
            names.update(re.findall(r"\*(--?[a-zA-Z][a-z-]*)\*", line))
    return names


def told_options(*command):
    done = subprocess.run([XDCTL] + list(command) + ["--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=20)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    names = set()
    for line in done.stdout.decode().splitlines():
        if line.startswith("  -"):
            names.update(OPTION.findall(re.split(r"\s{2,}", line.strip())[0]))
    return names


@pytest.mark.parametrize("command", ["run", "show", "report", "runs", "config", "sync", "serve", "join", "token", "keygen"])
def test_options_of_the_help_are_those_of_the_manual(command):
    told, defined = told_options(command), defined_options(page("xdctl-%s.1" % command)) - {"-h", "--help"}
    assert told and told == defined


def test_options_of_trust_and_keys_are_on_one_page():
    assert told_options("trust") | told_options("keys") == defined_options(page("xdctl-keys.1")) - {"-h", "--help"}


def test_options_of_keys_are_those_of_the_manual():
    """Of a line of authorized_controllers: what the program names when it refuses another one."""
    refused = subprocess.run([XDCTL, "keys", "authorize", "nix"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=20).stderr.decode()
    told = set(re.findall(r"([a-z-]+)=", refused))
    assert told and told == set(re.findall(r"^\t\*([a-z-]+)=", section(page("xdctl-keys.1"), "FILES"), re.M))


def test_agents_options_are_those_of_the_manual():
    agent = os.environ.get("XD_AGENT") or os.path.join(os.path.dirname(XDCTL), "xdagent")
    out = subprocess.run([agent, "--help"], stdout=subprocess.PIPE, timeout=20).stdout.decode()
    assert set(re.findall(r"^  (--[a-z-]+)", out, re.M)) == defined_options(page("xdagent.8")) - {"--help"}


def test_commands_of_the_help_are_those_of_the_manual():
    out = subprocess.run([XDCTL, "--help"], stdout=subprocess.PIPE, timeout=20).stdout.decode()
    told = set(re.findall(r"^  (\w+) ", out, re.M))
    assert told == set(re.findall(r"^\*(\w+)\*$", section(page("xdctl.1"), "COMMANDS"), re.M))
    assert told == set(re.findall(r"^\*xdctl\* \*(\w+)\*", section(page("xdctl.1"), "SYNOPSIS"), re.M))


@pytest.mark.parametrize("command", ["run", "show", "report", "runs", "config", "doctor", "sync", "serve", "join", "token", "keygen", "trust", "keys"])
def test_help_has_a_short_name_and_its_own_command(command):
    both = [subprocess.run([XDCTL, command, word], stdout=subprocess.PIPE, timeout=20) for word in ("-h", "--help")]
    assert [p.returncode for p in both] == [0, 0]
    assert both[0].stdout == both[1].stdout
    assert both[0].stdout.decode().startswith("usage: xdctl %s" % command)


def test_xdists_options_without_effect_are_named():
    """Every option of xdist that the adapter declares is in the manual: as ours, as without effect, or as refused."""
    with open(os.path.join(ROOT, "actors", "runners", "xd_pytest", "xdistlike.py"), encoding="utf-8") as f:
        declared = set(re.findall(r'"(--?[a-z][a-z-]*)"', f.read()))
    assert {"--maxschedchunk", "--rsyncdir", "--looponfail"} <= declared
    text = page("xdctl-run.1")
    missing = {name for name in declared if not re.search(r"\*%s\*" % re.escape(name), text)}
    assert not missing


# ---- xd-jsonl(5)


def documented():
    """{event or object: its fields}"""
    text = page("xd-jsonl.5")
    found = {}
    for part in (section(text, "EVENTS"), section(text, "OBJECTS")):
        for title in re.findall(r"^## (.*)$", part, re.M):
            lines = [line for line in section(part, title, "##").splitlines() if line.startswith("*")]
            found[title] = {name for line in lines for name in re.findall(r"\*(\w+)\*", line)}
    return found


def written():
    with open(os.path.join(ROOT, "actors", "report_jsonl.c"), encoding="utf-8") as f:
        source = f.read()
    events = set(re.findall(r'begin\("(\w+)"\)', source))
    fields = set(re.findall(r'\bput(?:_\w+)?\(&?\w+, "(\w+)"', source))
    assert events and fields
    return events, fields


def test_events_of_the_reporter_are_those_of_the_manual():
    assert written()[0] == set(documented()) - {"A report", "A crash"}


def test_fields_of_the_reporter_are_those_of_the_manual():
    told = set().union(*documented().values())
    assert written()[1] == told


SUITE = '''
    import os, warnings, pytest

    @pytest.mark.parametrize("n", range(3))
    def test_passes(n):
        pass

    def test_fails(record_property):
        record_property("a", "b")
        print("some output")
        assert 0

    @pytest.fixture
    def torn():
        yield
        assert 0, "teardown"

    def test_errs(torn):
        pass

    @pytest.mark.xfail
    def test_expected():
        assert 0

    def test_skips():
        pytest.skip("not today")

    def test_warns():
        warnings.warn("careful")

    def test_crashes():
        os._exit(3)
'''


def test_lines_of_a_run_have_the_fields_of_the_manual(project):
    project.write(test_a=SUITE, test_b='import pytest\npytest.importorskip("there_is_no_such_module")\n')
    result = project.run("-n2", "--max-worker-restart=1")
    assert result.rc == 1, result
    told, seen = documented(), set()
    for line in result.events:
        name = line["event"]
        seen.add(name)
        assert line["version"] == 1
        assert set(line) - {"version", "event"} <= told[name], line
        reports = line.get("reports", []) + ([line["report"]] if "report" in line else [])
        for report in reports:
            assert set(report) <= told["A report"], report
        if line.get("crash"):
            seen.add("A crash")
            assert set(line["crash"]) == told["A crash"], line
    assert seen >= {"run_start", "config", "worker_up", "worker_down", "collect_report", "collected", "test", "warning", "run_end", "A crash"}


# ---- libxd(3)


def header():
    with open(os.path.join(ROOT, "engine", "xd.h"), encoding="utf-8") as f:
        return re.sub(r"/\*.*?\*/", "", f.read(), flags=re.S)


def squeezed(text):
    return re.sub(r"\(\s+", "(", re.sub(r"\s+", " ", text)).strip()


def test_synopsis_of_the_library_is_the_header():
    functions = {squeezed(f) for f in re.findall(r"^XD_API ([^;]*;)", header(), re.M)}
    types = {squeezed(t) for t in re.findall(r"^typedef [^;{]*\([^;{]*;", header(), re.M)}
    told = {squeezed(t) + ";" for t in section(page("libxd.3"), "SYNOPSIS").split("```")[1].replace("#include <xd.h>", "").split(";") if t.strip()}
    assert len(functions) > 20 and told == functions | types


def test_structures_and_events_of_the_library_are_those_of_the_manual():
    text = page("libxd.3")
    for name, part in (("xd_event", "Events"), ("xd_result", "The result")):
        members = re.search(r"typedef struct %s \{(.*?)\} %s;" % (name, name), header(), re.S).group(1)
        named = {re.sub(r"\[.*|\W", "", m) for line in members.split(";") if line.strip() for m in re.sub(r"^\s*(const )?\w+ ", "", line.strip()).split(",")}
        assert named - {"type"} <= set(re.findall(r"\*(\w+)\*", section(text, part, "##"))), (name, named)
    events = set(re.findall(r"\b(XD_EVENT_(?!INIT)[A-Z]+)\b", header()))
    assert events == set(re.findall(r"^\*(XD_EVENT_[A-Z]+)\*$", text, re.M))


@pytest.mark.parametrize("document", ("libxd.3", "README.md"))
def test_examples_of_the_library_compile(document, tmp_path):
    if not shutil.which("cc"):
        pytest.skip("no C compiler on this machine")
    if document == "README.md":
        with open(os.path.join(ROOT, document), encoding="utf-8") as f:
            example = f.read().split("```c\n")[1].split("```")[0]
    else:
        example = section(page(document), "EXAMPLES").split("```")[1]
    (tmp_path / "a.c").write_text(example)
    done = subprocess.run(["cc", "-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-I", os.path.join(ROOT, "engine"), "-c", str(tmp_path / "a.c"), "-o",
                           str(tmp_path / "a.o")], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True, timeout=60)
    assert done.returncode == 0, done.stdout


# ---- what the manual says of specs, of ways and of reports


def test_ways_are_called_in_the_manual_as_in_a_run(project):
    """Each way is quoted from xd(7); a run that takes it says just that."""
    quoted = re.findall(r'"((?:forked|new) [a-z ]+)"', section(page("xd.7"), "HOW WORKERS START"))
    assert len(quoted) == 3
    project.write(test_a="def test_a(): pass\n")
    thread = "import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
    for said, conftest, options in zip(quoted, ("", thread, ""), ((), (), ("--no-fork",))):
        project.write(conftest=conftest)
        result = project.run(*options, "-n2", "-v")
        assert result.rc == 0, result
        assert "xd: workers are %s: " % said in result.out, (said, result)


def test_options_count_in_the_order_of_the_manual(project):
    """Each place that the list names, with what comes before it left out."""
    order = re.findall(r"^\. (.*)$", section(page("xdctl-run.1"), "PRECEDENCE"), re.M)
    said = [re.search(r"\*(\$PYTEST_ADDOPTS|addopts|conftest\.py)\*|command line", line) for line in order]
    assert [found.group(1) or "command line" for found in said if found] == ["command line", "$PYTEST_ADDOPTS", "addopts", "conftest.py"], order
    project.write(test_a="def test_a(): pass\n", conftest="option_dist = 'loadfile'\n", **{"pytest.ini": "[pytest]\naddopts = --dist loadscope\n"})
    env = {"PYTEST_ADDOPTS": "--dist=loadgroup"}
    for args, env, told in ((["--dist=load"], env, None), ([], env, "loadgroup ($PYTEST_ADDOPTS)"), ([], {}, "loadscope (pytest.ini:2)"),
                            (["-o", "addopts="], {}, "loadfile (conftest.py:1)")):
        result = project.run("-v", "-n1", *args, env=env)
        assert result.rc == 0 and [line for line in result.out.splitlines() if "--dist " in line] == (["xd: --dist " + told] if told else []), result


def test_dont_write_bytecode_is_heeded(project):
    """env: undoes what the machine of the test may have set."""
    project.write(test_a="import sys\ndef test_writes():\n    assert not sys.dont_write_bytecode\n")
    assert project.run("--tx", "popen//env:PYTHONDONTWRITEBYTECODE=").rc == 0
    assert project.run("--tx", "popen//env:PYTHONDONTWRITEBYTECODE=//dont_write_bytecode").rc == 1


def test_a_report_of_a_failed_run_is_made_and_a_cut_off_journal_is_told(project):
    project.write(test_a="def test_a():\n    assert 0\n")
    result = project.run()
    assert result.rc == 1, result
    assert project.xdctl("report", "jsonl").rc == 0
    shown = project.xdctl("show")
    assert (shown.rc, shown.err) == (1, "")
    journal = result.folder / "journal"
    whole = journal.read_bytes()
    journal.write_bytes(whole[:len(whole) // 2])
    for command in (("show",), ("report", "jsonl"), ("report", "junit")):
        cut = project.xdctl(*command)
        assert cut.rc == 7, cut
        assert "the journal ends before the run did" in cut.err
    middle = len(whole) // 2
    journal.write_bytes(whole[:middle] + bytes(255 - b for b in whole[middle:middle + 40]) + whole[middle + 40:])
    assert "the journal is damaged" in project.xdctl("show").err


@pytest.mark.parametrize("command,said", [
    (("show", "a", "b"), "one argument too many: 'b'"),
    (("show", "--tb=odd"), "option --tb: 'odd' is not valid: it is one of auto|line|no|long|short|native"),
    (("show", "--nix"), "--nix: unknown option"),
    (("report",), "junit, jsonl or terminal"),
    (("report", "nix"), "no report is called 'nix'"),
    (("nix",), "there is no command 'nix'"),
    (("n\x1b[31m",), "there is no command 'n\\x1b[31m'"),
    (("show",), "there is no past run of this project yet"),
    (("doctor", "tests/"), "'tests/' is not an option of xd"),
    (("sync", "a"), "no destination is named"),
    (("sync", "--stats=xml", "a", "popen:/b"), "option --stats: 'xml' is not valid: it is json, or nothing"),
    (("doctor", "--nix"), "'--nix' is not an option of xd"),
    (("run", "--maxprocesses", "0"), "it is a whole number from 1 to 65535"),
    (("run", "--jsonl="), "it must not be empty"),
])
def test_wrong_usage_is_told_in_one_line(project, command, said):
    project.write(test_a="def test_a(): pass\n")
    if command == ("report", "nix"):
        assert project.run().rc == 0
    result = project.xdctl(*command)
    assert result.rc == 4, result
    assert said in result.err and result.err.count("\n") == 1


@pytest.mark.parametrize("command", [("--version",), ("--help",), ("run", "--help"), ("runs",), ("report", "jsonl"), ("report", "junit"), ("show",)], ids=" ".join)
def test_output_that_cannot_be_written(project, command):
    project.write(test_a="def test_a(): pass\n")
    assert project.run().rc == 0
    with open("/dev/full", "w") as full:
        done = subprocess.run([XDCTL] + list(command), stdout=full, stderr=subprocess.PIPE, env=project.environment(), cwd=str(project.root), universal_newlines=True)
    assert (done.returncode, done.stderr.count("\n")) == (3, 1) and "No space left on device" in done.stderr, done


def test_a_machine_that_gives_too_little(project):
    project.write(test_a="def test_a(): pass\n")
    done = subprocess.run(["sh", "-c", "ulimit -n 10; exec %s run" % XDCTL], cwd=str(project.root), env=project.environment(), stderr=subprocess.PIPE,
                          universal_newlines=True)
    assert done.returncode == 6, done
    assert re.match(r"xdctl: the limit of open files is 10, of which [0-7] can be opened now; this run needs 37: raise it \(ulimit -n 1024\)\n$", done.stderr), done


def test_an_agent_that_is_none(project):
    doctor = project.xdctl("doctor", "--agent", "/bin/cat")
    assert doctor.rc == 6 and "FAIL  agent: /bin/cat is not an xdagent" in doctor.out


def test_doctor_says_how_pytest_is_installed(project, tmp_path):
    """Where Python is externally managed, as on Debian, only a virtual environment can take it."""
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(bare)], check=True)
    doctor = project.xdctl("doctor", "--python", str(bare / "bin" / "python"))
    assert doctor.rc == 6 and re.search(r"^FAIL  pytest: .*-m venv .venv && .venv/bin/pip install pytest", doctor.out, re.M), doctor


# ---- the other documents

DOCUMENTS = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "RATIONALE.md", "CHANGELOG.md")
ROOMS = ("engine/", "actors/", "gateways/", "sync/", "tools/", "tests/", "cmake/")


@pytest.mark.parametrize("name", DOCUMENTS)
def test_files_that_a_document_names_are_there(name):
    with open(os.path.join(ROOT, name), encoding="utf-8") as f:
        text = f.read()
    named = set(re.findall(r"\]\((?!http)([^)#]+)\)", text))
    named |= {w for w in re.findall(r"`([\w./*-]+)`", text) if w.startswith(ROOMS)}
    missing = {n for n in named if not glob.glob(os.path.join(ROOT, n))}
    assert not missing
    assert named or name in ("RATIONALE.md", "CHANGELOG.md")


BEHAVIOURS = ("crash", "-x", "live line", "--junitxml", "drop of a peer", "retention", "exit code", "-n auto", "refused options", "Ctrl-C",
              "finding the agent", "doctor", "value of an option counts", "configuration file of xd", "--hosts", "--min-workers", "hosts check", "on another host", "which packages", "paths are shown", "what carries",
              "host keys", "ask on the terminal", "synchronisation leaves out", "which files a run brings", "options of a project count",
              "read again by a scan", "symbolic links are", "list of files from the other end", "before it asks", "blocks are compressed", "a host that lags",
              "what the scan saw", "of the wanted tree needs", "under way to a host", "a new folder gets", "is removed on a host", "compiled files of Python",
              "gets an agent from a server", "connections a server closes", "taken away", "files of keys", "no agent from `socket=`",
              "hosts may join a run", "waited for that may join", "leaves is let go", "asked of Slurm", "job of Slurm is cancelled", "differs between environments", "a token is good", "put elsewhere",
              "Pythons are too old")


def where_is():
    """Rows of the table "Where is ...?": what is asked for, and the (file, function) pairs that answer."""
    with open(os.path.join(ROOT, "ARCHITECTURE.md"), encoding="utf-8") as f:
        rows = section(f.read(), r"Where is ...?", "##").splitlines()
    for row in rows[2:]:
        if row.startswith("|"):
            asked, answers = row.strip("|").split("|", 1)
            yield asked.strip(), re.findall(r"`([\w./-]+/[\w.-]+)` `(\w+)`", answers)


def test_where_is_answers_each_question():
    asked = [a for a, pairs in where_is()]
    assert [b for b in BEHAVIOURS if sum(b in a for a in asked) != 1] == []
    assert len(asked) == len(BEHAVIOURS) and all(pairs for a, pairs in where_is())


def defines(text, name):
    """C: its head at the beginning of a line, with a body. Python: def."""
    return bool(re.search(r"^(?:[a-z][^\n;={]*[ *])?%s\([^;{]*\)\n\{" % name, text, re.M) or re.search(r"^ *def %s\(" % name, text, re.M))


def test_where_is_leads_to_functions_that_are_there():
    missing = []
    for asked, pairs in where_is():
        for file, name in pairs:
            path = os.path.join(ROOT, file)
            if not os.path.exists(path) or not defines(open(path, encoding="utf-8").read(), name):
                missing.append((asked, file, name))
    assert not missing
    assert not defines("int f(int a);\n/* g() */\n    return h(1);\n", "f") and not defines("    return h(1)\n{\n", "h")


def test_options_of_the_readme_are_those_of_the_help():
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as f:
        rows = [line.split("|")[1] for line in f if line.startswith("| `-")]
    named = {n for row in rows for n in OPTION.findall(row)}
    assert named == told_options("run") - {"--numprocesses"}


# ---- the pages as pages


@pytest.mark.parametrize("name", sorted(n[:-4] for n in os.listdir(MAN) if n.endswith(".scd")))
def test_page_renders_without_a_warning(name, tmp_path):
    for program in ("scdoc", "man"):
        if not shutil.which(program):
            pytest.skip("%s is not installed" % program)
    with open(os.path.join(MAN, name + ".scd"), "rb") as f:
        made = subprocess.run(["scdoc"], stdin=f, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=20)
    assert made.returncode == 0, made.stderr
    file = tmp_path / name
    file.write_bytes(made.stdout)
    shown = subprocess.run(["man", "--warnings", "-l", str(file)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=20,
                           env=dict(os.environ, MANWIDTH="80", LC_ALL="C.UTF-8", MANPAGER="cat"))
    assert shown.returncode == 0 and not shown.stderr, shown.stderr
    text = re.sub(r".\x08", "", shown.stdout.decode("utf-8", "replace"))
    assert "NAME" in text and name.rsplit(".", 1)[0] in text


def test_references_between_pages_lead_somewhere():
    pages = {n[:-4] for n in os.listdir(MAN) if n.endswith(".scd")}
    for name in pages:
        for title, number in re.findall(r"\*([\w-]+)\*\((\d)\)", page(name)):
            assert "%s.%s" % (title, number) in pages or title in ("pytest", "gitignore", "rsync", "sbatch", "squeue"), (name, title)
