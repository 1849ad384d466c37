/* gateways/far_script.h - private to deliver.c: what the scripts for the far end have in common (deliver_script.h, server_script.h), for whatever /bin/sh
 * is there. None of them has a single quote, since they travel in one. Their arguments: the name of this delivery, the build id, the program that the user
 * named (or nothing), for how many seconds they wait for bytes, then their own. In front of them stands the function that add_offer() writes: what is
 * offered for which system.
 *
 * What they say on standard output, each in a line behind "xd:NAME:", which their text does not contain:
 *   send ARCH PACKING   to be answered with exactly so many bytes, and nothing else before the next line
 *   run                 that was all: what follows is no longer the delivery's
 *   system WORDS        there is nothing for this system
 *   lacks WORDS         the system there has not what is needed
 *   missing WORDS       the program that the user named is not there
 *   nowhere WORDS       no folder is of use, and why
 *
 * A folder is trusted if it is this user's, and nobody else can write in it. */
#pragma once

static const char far_begin[] =
    /* Options and functions come from outside where sh is bash (SHELLOPTS, export -f). The tests get the umask of the login. */
    "unset -f cat cd chmod cksum command cut find grep gzip head id kill ln ls mkdir mktemp mv nohup printf "
    "pwd "
    "python3 read rm setsid sha256sum sleep tr true umask uname wait xz 2>/dev/null\n"
    "set +e +u +f +C +v +x; mask=$(umask); umask 077; id=$1; build=$2; own=$3; limit=$4; shift 4\n"
    "say() { printf \"xd:%s:%s\\n\" \"$id\" \"$*\" 2>/dev/null || exit 1; }\n"
    "mine() {\n"
    "  [ -d \"$1\" ] && [ ! -h \"$1\" ] && [ -O \"$1\" ] || return 1\n"
    "  case $(ls -ld \"$1\") in d????[-]??[-]*) return 0;; esac\n"
    "  return 1\n"
    "}\n"
    "words() { printf %s \"$*\" | tr \"\\n\\r\\t\" \"   \" | cut -c 1-200; }\n";

/* Is there something for it? From here on: arch, sha, crc, raw, gz, xz. */
static const char far_system[] =
    "u=$(uname -sm 2>/dev/null); [ -n \"$u\" ] || u=$(uname -sm 2>&1)\n"
    "offer \"$u\" || { say system \"$u\"; exit 1; }\n"
    "[ -c /dev/null ] || { say lacks /dev/null; exit 1; }\n"
    "[ -e /proc/self/exe ] || { say lacks \"/proc, which is not mounted\"; exit 1; }\n"
    "right() {\n"
    "  case $(sha256sum <\"$1\" 2>/dev/null) in \"$sha\"*) return 0;; ?*) return 1;; esac\n"
    "  case $(cksum <\"$1\" 2>/dev/null) in \"$crc $raw\"*) return 0;; esac\n"
    "  return 1\n"
    "}\n";

/* bring FOLDER: puts what is offered into a file $new in the folder $d, which is made. FOLDER is how that is called in messages, what is
 * brought is called $what; its --version prints what begins with $its. */
static const char far_bring[] =
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
    "bring() {\n"
    "  e=$(mkdir -p \"$d\" 2>&1) || { no \"$1\" \"$(words \"$e\")\"; return; }\n"
    "  mine \"$d\" || { no \"$1\" \"it is not this user only who can write there\"; return; }\n"
    "  new=$(mktemp \"$d/.new-XXXXXX\" 2>/dev/null) || new=$d/.new-$$\n"
    /* By cat: dash tells of its own printf only that there was an I/O error. */
    "  e=$( { printf \"#!/bin/sh\\nexit 0\\n\" | cat >\"$new\" && chmod 700 \"$new\"; } 2>&1) || { no \"$1\" "
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
    "  case $e in \"$its\"*) ;; *) no \"$1\" \"$what does not run there: $(words \"$e\")\"; return;; esac\n"
    "}\n";
