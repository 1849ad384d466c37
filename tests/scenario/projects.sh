#!/usr/bin/env bash
# tests/scenario/projects.sh - three real projects with large pure-Python suites: build/projects/<name>-<version>, and
# build/projects/venv with pytest, pytest-xdist and what their tests need.  Used by the scenario test, the bench and
# the demo.  A second call returns at once.  Exit code: 0 ready, 2 cannot be had (one line on stderr says why).
#   PYTHON   the interpreter of the virtual environment; else that of build/venv, else python3
set -euo pipefail
cd "$(dirname "$0")/../.."

DIR=$PWD/build/projects
SOURCES="attrs==26.1.0 --hash=sha256:d03ceb89cb322a8fd706d4fb91940737b6642aa36998fe130a9bc96c985eff32
more-itertools==11.2.1 --hash=sha256:cbf08fd0af284dc69718b9b76a8e6203df624d70209ea511e4219d350c856f63
packaging==26.3 --hash=sha256:94edc256424af38762eb31306eed28beb9f0efc50a8837492c9d6fd6004aed79"
NEEDS="pytest==9.2.0 pytest-xdist==3.8.0 attrs==26.1.0 more-itertools==11.2.1 packaging==26.3
hypothesis==6.170.17 cloudpickle==3.1.3 pympler==1.1 pretend==1.0.9 tomli_w==1.2.0"

fail() {
    printf 'projects.sh: %s\n' "$1" >&2
    exit 2
}

# Runs pip quietly; of what it says, the first line that names an error goes to the reader.  $1 = what for.
pip_to() {
    local what=$1 said
    shift
    "$@" >"$DIR/pip.log" 2>&1 && return
    said=$(grep -o -m 1 -E '[A-Z][A-Za-z]*(Connection|Proxy|Timeout|SSL)[A-Za-z]*Error.*' "$DIR/pip.log" ||
        grep -m 1 -E '^ *ERROR|rror:' "$DIR/pip.log" || tail -n 1 "$DIR/pip.log")
    fail "cannot $what: ${said:-pip said nothing} (all of it: $DIR/pip.log)"
}

mkdir -p "$DIR" || fail "cannot make $DIR"
stamp=$(sha256sum <"$0")
ready() { [ "$(cat "$DIR/ready" 2>/dev/null)" = "$stamp" ] && "$DIR/venv/bin/python" -c 'import pytest' 2>/dev/null; }
ready && exit 0
exec 9>"$DIR/lock"
flock 9 # two callers: the second finds it done
ready && exit 0

python=${PYTHON:-build/venv/bin/python}
command -v "$python" >/dev/null || python=python3
command -v "$python" >/dev/null || fail "no $python"
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_RETRIES=1 PIP_DEFAULT_TIMEOUT=20 PIP_NO_INPUT=1

rm -rf "$DIR/ready" "$DIR/venv" "$DIR/new"
mkdir "$DIR/new"
"$python" -m venv "$DIR/venv" >"$DIR/pip.log" 2>&1 ||
    fail "cannot make a virtual environment with $python ($DIR/pip.log)"
printf '%s\n' "$SOURCES" >"$DIR/sources.txt"
pip_to "download the projects" "$DIR/venv/bin/pip" download --no-deps --no-binary attrs,more-itertools,packaging --require-hashes \
    -r "$DIR/sources.txt" -d "$DIR/new"
# shellcheck disable=SC2086
pip_to "install what the projects' tests need" "$DIR/venv/bin/pip" install -q $NEEDS
for archive in "$DIR"/new/*.tar.gz; do
    name=$(basename "$archive" .tar.gz)
    rm -rf "${DIR:?}/$name"
    tar -xzf "$archive" -C "$DIR/new" || fail "cannot unpack $archive"
    mv "$DIR/new/$name" "$DIR/$name"
done
rm -rf "$DIR/new"
printf '%s\n' "$stamp" >"$DIR/ready"
