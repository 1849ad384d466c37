/* gateways/deliver_script.h - private to deliver.c: what runs at the far end, in whatever /bin/sh is there. It has no single
 * quote, since it travels in one. Its arguments: the name of this delivery, the build id, the program that the user named (or nothing), for how many
 * seconds it waits for bytes, then the agent's own arguments. In front of it stand the variables that list() writes: for each architecture what is offered.
 *
 * What it says on standard output, each in a line behind "xd:NAME:", which the text of the script itself does not contain:
 *   send ARCH PACKING   to be answered with exactly so many bytes, and nothing else before the next line
 *   run                 the agent is started now: what follows is its own
 *   system WORDS        there is no agent for this system
 *   lacks WORDS         the system there has not what the agent needs
 *   missing WORDS       the program that the user named is not there
 *   nowhere WORDS       no folder is of use, and why
 *
 * A folder is trusted if it is this user's, and nobody else can write in it. The file `used` in it says when it was used
 * last; other builds go when nobody has for a week and none of their agents runs. */
#pragma once

static const char deliver_script[] =
    /* Options and functions come from outside where sh is bash (SHELLOPTS, export -f). The tests get the umask of the login. */
    "unset -f cat chmod cksum command cut find grep gzip head id kill ls mkdir mktemp mv printf python3 rm "
    "sha256sum sleep tr "
    "true umask uname wait xz 2>/dev/null\n"
    "set +e +u +f +C +v +x; mask=$(umask); umask 077; id=$1; build=$2; own=$3; limit=$4; shift 4\n"
    "say() { printf \"xd:%s:%s\\n\" \"$id\" \"$*\" 2>/dev/null || exit 1; }\n"
    "words() { printf %s \"$*\" | tr \"\\n\\r\\t\" \"   \" | cut -c 1-200; }\n"
    /* The program that the user named. */
    "if [ -n \"$own\" ]; then\n"
    "  p=$(command -v \"$own\" 2>/dev/null)\n"
    "  [ -f \"$p\" ] && [ -x \"$p\" ] || { say missing \"$own\"; exit 1; }\n"
    "  umask \"$mask\"; say run; exec \"$p\" \"$@\"\n"
    "fi\n"
    "u=$(uname -sm 2>/dev/null); [ -n \"$u\" ] || u=$(uname -sm 2>&1)\n"
    "offer \"$u\" || { say system \"$u\"; exit 1; }\n"
    "[ -c /dev/null ] || { say lacks /dev/null; exit 1; }\n"
    "[ -e /proc/self/exe ] || { say lacks \"/proc, which is not mounted\"; exit 1; }\n"
    "name=xdagent-$arch-$(printf %.12s \"$sha\")\n"
    "right() {\n"
    "  case $(sha256sum <\"$1\" 2>/dev/null) in \"$sha\"*) return 0;; ?*) return 1;; esac\n"
    "  case $(cksum <\"$1\" 2>/dev/null) in \"$crc $raw\"*) return 0;; esac\n"
    "  return 1\n"
    "}\n"
    "mine() {\n"
    "  [ -d \"$1\" ] && [ ! -h \"$1\" ] && [ -O \"$1\" ] || return 1\n"
    "  case $(ls -ld \"$1\") in d????[-]??[-]*) return 0;; esac\n"
    "  return 1\n"
    "}\n"
    "there() { f=$1/$build/$name; [ -f \"$f\" ] && [ -x \"$f\" ] && mine \"$1/$build\" && right \"$f\"; }\n"
    "go() { { true >\"${f%/*}/used\"; } 2>/dev/null; umask \"$mask\"; say run; exec \"$f\" \"$@\"; }\n"
    "first=\n"
    "case ${HOME:-} in /*) first=$HOME/.cache/xd/agent;; esac\n"
    "case ${XDG_CACHE_HOME:-} in /*) first=$XDG_CACHE_HOME/xd/agent;; esac\n"
    "[ -n \"$first\" ] && there \"$first\" && go \"$@\"\n"
    "uid=$(id -u)\n"
    "tmp=${TMPDIR:-/tmp}; case $tmp in /*) ;; *) tmp=/tmp;; esac\n"
    "for t in \"$tmp\" /tmp /var/tmp /dev/shm; do there \"$t/xd-$uid/agent\" && mine \"$t/xd-$uid\" && go "
    "\"$@\"; done\n"
    /* It has to be sent. */
    "has() { command -v \"$1\" >/dev/null 2>&1; }\n"
    "for p in cat chmod head ls mkdir mv rm; do has $p || { say lacks \"the program $p\"; exit 1; }; done\n"
    "has sha256sum || has cksum || { say lacks \"the programs sha256sum and cksum, of which it needs one\"; "
    "exit 1; }\n"
    "why=\n"
    "no() { why=\"$why $1: $2;\"; [ -z \"$new\" ] || rm -f \"$new\"; new=; return 1; }\n"
    "new=; trap \"rm -f \\\"\\$new\\\"\" 0; trap \"exit 1\" 1 2 3 13 15\n"
    "if xz --version >/dev/null 2>&1; then pack=xz; with=\"xz -dc\"\n"
    "elif python3 -c \"import lzma\" 2>/dev/null; then pack=xz; with=py\n"
    "elif has gzip; then pack=gz; with=\"gzip "
    "-dc\"\n"
    "else pack=raw; with=cat; fi\n"
    "[ $xz != 0 ] || [ $pack != xz ] || { pack=raw; with=cat; has gzip && pack=gz && "
    "with=\"gzip -dc\"; }\n"
    "eval size=\\$$pack\n"
    "unpack() {\n"
    "  if [ \"$with\" = py ]; then python3 -c \"import "
    "sys,lzma;sys.stdout.buffer.write(lzma.decompress(sys.stdin.buffer.read()))\"\n"
    "  else $with; fi\n"
    "}\n"
    /* A connection that leads nowhere does not end: then all that waits for its bytes ends by itself. */
    "watch() {\n"
    /* Not by TERM alone: a login may have it ignored, and a shell cannot take that back. */
    "  ( p=; trap \"kill -9 \\$p; exit 0\" USR2; sleep $limit & p=$!; wait $p && { kill 0; kill -9 0; } ) "
    "<&- >&- "
    "2>&- &\n"
    "  watcher=$!\n"
    "}\n"
    "place() {\n"
    "  d=$1/$build; f=$d/$name\n"
    "  e=$(mkdir -p \"$d\" 2>&1) || { no \"$1\" \"$(words \"$e\")\"; return; }\n"
    "  mine \"$d\" || { no \"$1\" \"it is not this user only who can write there\"; return; }\n"
    "  new=$(mktemp \"$d/.new-XXXXXX\" 2>/dev/null) || new=$d/.new-$$\n"
    "  e=$( { printf \"#!/bin/sh\\nexit 0\\n\" >\"$new\" && chmod 700 \"$new\"; } 2>&1) || { no \"$1\" "
    "\"$(words \"$e\")\"; return; }\n"
    "  \"$new\" 2>/dev/null || { no \"$1\" \"no program can be started from there (noexec)\"; return; }\n"
    "  e=$( { head -c $raw /dev/zero >\"$new\"; } 2>&1) || { no \"$1\" \"$(words \"$e\")\"; return; }\n"
    "  watch; say send $arch $pack\n"
    /* What cannot be written is read to its end all the same: it lies in front of the next answer. */
    "  e=$(head -c $size | { { unpack >\"$new\"; } 2>&1 || { cat >/dev/null; false; }; }); r=$?\n"
    "  kill -USR2 $watcher 2>/dev/null; wait $watcher\n"
    "  [ $r = 0 ] || { no \"$1\" \"$(words \"$e\")\"; return; }\n"
    "  right \"$new\" || { no \"$1\" \"what arrived there is not what was sent\"; return; }\n"
    "  e=$(\"$new\" --version 2>&1 </dev/null)\n"
    "  [ \"$e\" = \"xdagent $build\" ] || { no \"$1\" \"the agent does not run there: $(words \"$e\")\"; "
    "return; }\n"
    "  [ ! -d \"$f\" ] || rm -rf \"$f\"\n"
    /* One that another controller has put there meanwhile stays: its processes look for themselves by that name. */
    "  ln \"$new\" \"$f\" 2>/dev/null || { [ -x \"$f\" ] && right \"$f\"; } || e=$(mv -f \"$new\" \"$f\" "
    "2>&1) || { no \"$1\" \"$(words \"$e\")\"; return; }\n"
    "  rm -f \"$new\"; new=; prune \"$1\"\n"
    "  [ -z \"$why\" ] || printf \"xd: the agent was put into %s, since it could not be elsewhere:%s\\n\" "
    "\"$1\" \"${why%;}\" >&2\n"
    "}\n"
    "prune() {\n"
    "  find \"$1\" -name \".new-*\" -mtime +1 -exec rm -f {} + 2>/dev/null\n"
    "  for o in \"$1\"/[0-9a-f]*; do\n"
    "    [ -d \"$o\" ] && [ ! -h \"$o\" ] && [ \"$o\" != \"$1/$build\" ] || continue\n"
    "    [ -z \"$(find \"$o\" -mtime -7 2>/dev/null)\" ] || continue\n"
    "    ls -l /proc/[0-9]*/exe 2>/dev/null | grep -qF \" $o/\" && continue\n"
    "    rm -rf \"$o\"\n"
    "  done\n"
    "}\n"
    "[ -n \"$first\" ] && place \"$first\" && go \"$@\"\n"
    "for t in \"$tmp\" /tmp /var/tmp /dev/shm; do\n"
    "  new=; b=$t/xd-$uid\n"
    "  case $why in *\" $b/agent:\"*) continue;; esac\n"
    "  e=$(mkdir -m 700 \"$b\" 2>&1) || [ -d \"$b\" ] || { no \"$b/agent\" \"$(words \"$e\")\"; continue; }\n"
    "  mine \"$b\" || { no \"$b/agent\" \"it is not this user only who can write there\"; continue; }\n"
    "  place \"$b/agent\" && go \"$@\"\n"
    "done\n"
    "say nowhere \"${why%;}\"\n"
    "exit 1\n";
