/* gateways/server_script.h - private to deliver.c: puts xdserve on the far end and starts it so that it stays, or stops it (far_script.h). Its own arguments:
 * start, replace or stop; the key that is to be authorized ("xdk1 KEY COMMENT"); the folder of keys there, or nothing; then those of xdserve.
 *
 * All lies in ~/.cache/xd/server/HOST ($XDG_CACHE_HOME/xd/server/HOST), for a home may be that of several hosts: the program, and of the server that runs
 * xdserve.pid, xdserve.args (what it was started with), xdserve.out (its addresses and its key) and xdserve.log; that of the one before it is
 * xdserve.log.1. xdserve.old is the pid of one that was told to stop.
 *
 * Behind `run` come lines of a word and what belongs to it, up to the end:
 *   state STATE       started, replaced; runs: it did already, nothing was changed; other: another build runs; otherwise: one with other arguments;
 *                     stopped; stopping: its agents have not ended yet; none: there was none to stop; failed
 *   why WORDS         of failed
 *   authorized        the key is, from now on
 *   args WORDS        of otherwise: what it was started with
 *   pid, file, log    of the server; behind them is what it printed (tools/shared/serving.c, on_ready) */
#pragma once

static const char server_begin[] =
    "verb=$1; line=$2; keys=$3; shift 3\n"
    "d=\n"
    "case ${HOME:-} in /*) d=$HOME/.cache/xd/server;; esac\n"
    "case ${XDG_CACHE_HOME:-} in /*) d=$XDG_CACHE_HOME/xd/server;; esac\n"
    "[ -n \"$d\" ] || { say nowhere \" neither HOME nor XDG_CACHE_HOME is set there\"; exit 1; }\n"
    "d=$d/$(uname -n)\n"
    "[ \"$verb\" = stop ] || mkdir -p \"$d\" 2>/dev/null\n"
    /* As /proc shows it. */
    "if [ -d \"$d\" ]; then\n"
    "  p=$(cd \"$d\" 2>/dev/null && pwd -P) && mine \"$p\" || { say nowhere \" $d: it is not this user only "
    "who can write there\"; exit 1; }\n"
    "  d=$p\n"
    "fi\n"
    "tell() { printf \"%s %s\\n\" \"$1\" \"$2\"; }\n"
    "nap() { sleep 0.1 2>/dev/null || sleep 1; }\n"
    /* A number may belong to a stranger by now. */
    "runs() {\n"
    "  p=$(cat \"$d/$1\" 2>/dev/null)\n"
    "  case $p in \"\"|*[!0-9]*) return 1;; esac\n"
    "  x=$(ls -l \"/proc/$p/exe\" 2>/dev/null) || return 1\n"
    "  x=${x#*\" -> \"}; x=${x%\" (deleted)\"}\n"
    "  case $x in \"$d\"/xdserve-*) return 0;; esac\n"
    "  return 1\n"
    "}\n"
    "retire() { kill -TERM $p; mv -f \"$d/xdserve.pid\" \"$d/xdserve.old\"; }\n"
    "if [ \"$verb\" = stop ]; then\n"
    "  say run\n"
    "  if runs xdserve.pid; then retire\n"
    "  elif runs xdserve.old; then kill -TERM $p\n"
    "  else tell state none; exit 0; fi\n"
    "  n=0\n"
    "  while runs xdserve.old && [ $n -lt 20 ]; do nap; n=$((n + 1)); done\n"
    "  if runs xdserve.old; then tell state stopping; else tell state stopped; fi\n"
    "  tell pid $p\n"
    "  exit 0\n"
    "fi\n";

static const char server_there[] =
    "name=xdserve-$build-$(printf %.12s \"$sha\"); f=$d/$name; args=\"$*${keys:+ --keys $keys}\"\n"
    "give_up() { tell state failed; tell why \"$(printf %s \"$1\" | tr \"\\n\\r\\t\" \"   \" | cut -c "
    "1-700)\"; exit 0; }\n"
    "report() { tell state $1; tell pid $p; tell file \"$2\"; tell log \"$d/xdserve.log\"; cat "
    "\"$d/xdserve.out\"; }\n"
    /* A line that is there may have options: it stays. */
    "is_authorized() {\n"
    "  k=${line#* }; k=${k%% *}; a=$keys\n"
    "  [ -n \"$a\" ] || case ${HOME:-} in /*) a=$HOME/.config/xdctl;; esac\n"
    "  [ -n \"$keys\" ] || case ${XDG_CONFIG_HOME:-} in /*) a=$XDG_CONFIG_HOME/xdctl;; esac\n"
    "  [ -f \"$a/authorized_controllers\" ] || return 1\n"
    "  while IFS= read -r l || [ -n \"$l\" ]; do\n"
    "    case $l in \"#\"*) ;; *\"xdk1 $k\"*) return 0;; esac\n"
    "  done <\"$a/authorized_controllers\"\n"
    "  return 1\n"
    "}\n"
    "authorize() {\n"
    "  is_authorized && return\n"
    "  if [ -n \"$keys\" ]; then e=$(\"$f\" authorize \"$line\" --keys \"$keys\" 2>&1 </dev/null)\n"
    "  else e=$(\"$f\" authorize \"$line\" 2>&1 </dev/null); fi || give_up \"${e#xdserve: }\"\n"
    "  tell authorized\n"
    "}\n"
    "if [ \"$verb\" = start ] && runs xdserve.pid; then\n"
    "  say run\n"
    "  if [ \"$x\" != \"$f\" ]; then report other \"$x\"\n"
    "  elif [ \"$(cat \"$d/xdserve.args\" 2>/dev/null)\" != \"$args\" ]; then\n"
    "    report otherwise \"$x\"; tell args \"$(cat \"$d/xdserve.args\" 2>/dev/null)\"\n"
    "  else authorize; report runs \"$x\"; fi\n"
    "  exit 0\n"
    "fi\n";

static const char server_start[] =
    "its=\"xdserve \" what=\"the server\"\n"
    "has sleep || { say lacks \"the program sleep\"; exit 1; }\n"
    "if ! { [ -f \"$f\" ] && [ -x \"$f\" ] && right \"$f\"; }; then\n"
    "  bring \"$d\" && { e=$(mv -f \"$new\" \"$f\" 2>&1) || no \"$d\" \"$(words \"$e\")\"; } || { say "
    "nowhere \"${why%;}\"; exit 1; }\n"
    "  new=\n"
    "fi\n"
    "say run\n"
    "authorize\n"
    /* It closes its port at once, and lets its agents end. */
    "old=\n"
    "if runs xdserve.pid; then old=$p; retire; fi\n"
    "start() {\n"
    "  s=\n"
    "  if has setsid; then s=setsid; elif has nohup; then s=nohup; fi\n"
    /* Here: what the one before has printed must not be taken for this one's. */
    "  true >\"$d/xdserve.out\"\n"
    "  ( umask \"$mask\"; unset SSH_AUTH_SOCK SSH_CLIENT SSH_CONNECTION SSH_TTY; exec $s \"$f\" serve \"$@\" "
    ") </dev/null >\"$d/xdserve.out\" 2>\"$d/xdserve.log\" &\n"
    "  p=$!; n=0\n"
    "  while [ $n -lt 150 ]; do\n"
    "    case $(cat \"$d/xdserve.out\" 2>/dev/null) in *\"fingerprint \"*) return 0;; esac\n"
    "    kill -0 $p 2>/dev/null || return 1\n"
    "    nap; n=$((n + 1))\n"
    "  done\n"
    "  kill -TERM $p\n"
    "  return 1\n"
    "}\n"
    "[ -z \"$keys\" ] || set -- \"$@\" --keys \"$keys\"\n"
    "mv -f \"$d/xdserve.log\" \"$d/xdserve.log.1\" 2>/dev/null\n"
    "tries=0\n"
    "until start \"$@\"; do\n"
    "  e=$(cat \"$d/xdserve.log\" 2>/dev/null); tries=$((tries + 1))\n"
    "  [ -n \"$old\" ] && [ $tries -lt 10 ] || give_up \"${e#xdserve: }\"\n"
    "  nap\n"
    "done\n"
    "{ printf \"%s\\n\" \"$args\" >\"$d/xdserve.args\" && printf \"%s\\n\" $p >\"$d/.pid\" && mv -f "
    "\"$d/.pid\" \"$d/xdserve.pid\"; } 2>/dev/null || {\n"
    "  kill -TERM $p\n"
    "  give_up \"what the next call needs cannot be written in $d\"\n"
    "}\n"
    /* Builds that no process runs, and what broken uploads have left. */
    "for o in \"$d\"/xdserve-*; do\n"
    "  [ \"$o\" != \"$f\" ] || continue\n"
    "  case $(ls -l /proc/[0-9]*/exe 2>/dev/null) in *\" $o\"*) ;; *) rm -f \"$o\";; esac\n"
    "done\n"
    "find \"$d\" -name \".new-*\" -mtime +1 -exec rm -f {} + 2>/dev/null\n"
    "if [ -n \"$old\" ]; then report replaced \"$f\"; else report started \"$f\"; fi\n";
