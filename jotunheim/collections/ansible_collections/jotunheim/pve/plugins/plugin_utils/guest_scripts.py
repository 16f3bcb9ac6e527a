"""The shell scripts that run commands in a guest: at most once, and with a result that can be asked for again.

The guest agent hands a program's output over once. When that answer gets lost, or the agent starts anew, the command is
not run again: its output and exit code lie in a folder that is named after the command, from where `RUNNER` reads them.

The command itself comes as the first line of the runner's input: the agent and systemd log what stands in arguments, and other users of
the guest can see it.

What they need is in every Linux: a POSIX shell, coreutils (or busybox), gzip, setsid.
"""

from __future__ import annotations

FOLDER = "/run/jotunheim-agent"
"""In the guest: pieces of files, output and exit codes. In memory, and nobody but root may look into it."""

MOST_OUTPUT = 16 * 1024**2 - 1024
"""Bytes of each output stream. The agent cuts off at 16 MiB, and the runner's own line is before the output."""

KEEPER = r"""
# $1: the command's folder. In a session of its own, so that it can be ended with all that it started.
echo $$ >"$1/pid"
mkfifo "$1/1" "$1/2" || exit
{ head -c MOST >"$1/out" || : >"$1/full"; cat >/dev/null; } <"$1/1" &
{ head -c MOST >"$1/err" || : >"$1/full"; cat >/dev/null; } <"$1/2" &
umask 022
: "${PATH:=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin}" "${LANG:=C.UTF-8}"
HOME=$(eval echo ~root) USER=root LOGNAME=root
export PATH LANG HOME USER LOGNAME
cd "$HOME" 2>/dev/null || cd /
/bin/sh "$1/command" >"$1/1" 2>"$1/2"
code=$?
wait
umask 077
[ ! -e "$1/full" ] || rm -f "$1/out" "$1/err"  # there may be no room for anything else
echo "$code" >"$1/code.new" && mv "$1/code.new" "$1/code"
""".replace("MOST", str(MOST_OUTPUT))

RUNNER = r"""
# run    a command that was not sent before
# again  one that may have been sent before, "$since" seconds ago at most; never if the guest has booted in between
# look   one that has been started
umask 077
# `-` stands for nothing: Proxmox VE drops empty arguments.
keeper=$1 mode=$2 id=$3 since=$4 input=$5 sum=$6 forget=$7
root=FOLDER
d=$root/$id

say() {
    printf 'jotunheim %s\n' "$*"
    exit 0
}

await() {
    tries=0
    while [ ! -e "$d/code" ]; do
        pid=$(cat "$d/pid" 2>/dev/null)
        tries=$((tries + 1))
        if [ -n "$pid" ] || [ "$tries" -gt 50 ]; then
            kill -0 "$pid" 2>/dev/null || [ -e "$d/code" ] || say dead
        fi
        sleep 0.1 2>/dev/null || sleep 1
    done
    [ ! -e "$d/full" ] || say full
    printf 'jotunheim done %s\n' "$(cat "$d/code")"
    cat "$d/out"
    cat "$d/err" >&2
    exit 0
}

for old in $forget; do
    rm -rf "$root/$old" "$root/$old".*
done
[ "$mode" = run ] || [ ! -d "$d" ] || await
case $mode in
look) say gone ;;
again)
    read -r up rest </proc/uptime
    [ "${up%.*}" -gt "$since" ] || say unclear
    ;;
esac
mkdir -p "$root" && chmod 700 "$root" || exit
mkdir "$d" 2>/dev/null || { [ -d "$d" ] && await; mkdir "$d"; exit; }
echo $$ >"$d/pid"
IFS= read -r command
printf %s "$command" | base64 -d >"$d/command" || exit
exec 3<&0
if [ "$input" != - ]; then
    cat "$root/$id".[0-9]* | tr -- '-_' '+/' | base64 -d | gzip -dc >>"$input" || say torn
    rm -f "$root/$id".[0-9]*
    if [ "$sum" != - ]; then
        [ "$(sha256sum <"$input")" = "$sum  -" ] || say torn
        exec 3<"$input"
    fi
fi
keep() {
    "$@" setsid /bin/sh -c "$keeper" keeper "$d" <&3 3<&- >/dev/null 2>&1 &
    wait $!
}
# Out of the agent's control group: where systemd ends that with the agent, the command goes on.
if [ -d /run/systemd/system ] && command -v systemd-run >/dev/null; then
    keep systemd-run --quiet --scope --collect --description=jotunheim-agent
fi
[ "$(cat "$d/pid")" != $$ ] || keep
await
""".replace("FOLDER", FOLDER)

END = r"""
# End the command "$1" and all in its session.
pid=$(cat "FOLDER/$1/pid") || exit 0
kill -s TERM -- "-$pid" 2>/dev/null
tries=0
while kill -s 0 -- "-$pid" 2>/dev/null && [ "$tries" -lt 20 ]; do
    tries=$((tries + 1))
    sleep 0.1 2>/dev/null || sleep 1
done
kill -s KILL -- "-$pid" 2>/dev/null
exit 0
""".replace("FOLDER", FOLDER)

FORGET = r"""
# Remove what the commands "$@" left, and what others left an hour ago, unless they still run.
cd FOLDER || exit
for old in "$@"; do
    rm -rf "./$old" "./$old".*
done
find . -mindepth 1 -maxdepth 1 -mmin +60 | while read -r old; do
    kill -0 "$(cat "$old/pid" 2>/dev/null)" 2>/dev/null || rm -rf "$old"
done
""".replace("FOLDER", FOLDER)
