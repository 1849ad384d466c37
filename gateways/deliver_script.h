/* gateways/deliver_script.h - private to deliver.c: finds or brings the agent at the far end, and becomes it (far_script.h). Its own arguments are the agent's.
 *
 * The file `used` in the folder of a build says when it was used last; other builds go when nobody has for a week and none of their agents runs. */
#pragma once

/* The program that the user named. */
static const char agent_named[] = "if [ -n \"$own\" ]; then\n"
                                  "  p=$(command -v \"$own\" 2>/dev/null)\n"
                                  "  [ -f \"$p\" ] && [ -x \"$p\" ] || { say missing \"$own\"; exit 1; }\n"
                                  "  umask \"$mask\"; say run; exec \"$p\" \"$@\"\n"
                                  "fi\n";

static const char agent_there[] =
    "name=xdagent-$arch-$(printf %.12s \"$sha\")\n"
    "there() { f=$1/$build/$name; [ -f \"$f\" ] && [ -x \"$f\" ] && mine \"$1/$build\" && right \"$f\"; }\n"
    "go() { { true >\"${f%/*}/used\"; } 2>/dev/null; umask \"$mask\"; say run; exec \"$f\" \"$@\"; }\n"
    "first=\n"
    "case ${HOME:-} in /*) first=$HOME/.cache/xd/agent;; esac\n"
    "case ${XDG_CACHE_HOME:-} in /*) first=$XDG_CACHE_HOME/xd/agent;; esac\n"
    "[ -n \"$first\" ] && there \"$first\" && go \"$@\"\n"
    "uid=$(id -u)\n"
    "tmp=${TMPDIR:-/tmp}; case $tmp in /*) ;; *) tmp=/tmp;; esac\n"
    "for t in \"$tmp\" /tmp /var/tmp /dev/shm; do there \"$t/xd-$uid/agent\" && mine \"$t/xd-$uid\" && go "
    "\"$@\"; done\n";

static const char agent_place[] =
    "its=\"xdagent $build\" what=\"the agent\"\n"
    "place() {\n"
    "  d=$1/$build; f=$d/$name\n"
    "  bring \"$1\" || return\n"
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
