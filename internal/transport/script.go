package transport

import (
	"fmt"
	"strings"

	"bpfd/internal/daemon"
)

// A target that is reached by a command line (ssh, adb) is sent one shell
// script. It becomes root, finds the bpfd that belongs to this bpfctl, asks for
// it if it is not there, and executes it: the script's input and output are
// then bpfd's. What the script says are lines that begin with mark:
//
//	need ARCH PACKING DIR  wants a line "BYTES SIZE SHA256" and that many bytes
//	have PATH              bpfd is there; it runs now, or the script ends
//	file PATH              a bpfd that was pushed, by this or another bpfctl
//	gone PATH              it has been removed
//	fail KIND TEXT         no bpfd, and why
//
// It runs under any POSIX shell with the commands of busybox or toybox. The
// user's login shell may be another one (fish, csh), and takes it as one quoted
// word. Therefore it may contain neither single quotes, exclamation marks nor
// line ends: join makes one line of it.
const mark = "@bpfd "

// join makes one line of a script whose lines end where a blank may stand.
func join(script string) string { return strings.Join(strings.Fields(script), " ") }

// quote makes one word of s for any shell.
func quote(s string) string { return "'" + s + "'" }

// becomeRoot runs the script in $1 as root, by the first of the ways in $2 that
// asks for no password. Magisk and Linux have su -c, Android's own su 0.
const becomeRoot = `
if [ "$(id -u)" = 0 ] || [ "$2" = none ]; then exec sh -c "$1"; fi;
q=$(printf "\047"); no=;
for how in $2; do
  command -v $how >/dev/null 2>&1 || continue;
  case $how in
  sudo)
    why=$(sudo -n -H sh -c : 2>&1 </dev/null) && exec sudo -n -H sh -c "$1";;
  su)
    why=$(su -c true 2>&1 </dev/null) && exec su -c "exec sh -c $q$1$q";
    su 0 true </dev/null >/dev/null 2>&1 && exec su 0 sh -c "$1";;
  esac;
  no="$no; by $how: ${why:-it fails and says nothing}";
done;
set -f;
if [ "$no" ]; then echo "@bpfd fail become" ${no#"; "};
else echo "@bpfd fail root $(id -un)"; fi;
exit 1;`

// places defines each, which calls a function with $d set to each directory
// that may hold bpfd, until it succeeds. own checks that nobody but us can
// change what is in it: ls shows neither a symbolic link nor somebody else's
// directory as drwx------ of ours.
const places = `
u=$(id -u); mask=$(umask); umask 077; why=; t=;
case $HOME in /|"") home=;; *) home=$HOME/.cache;; esac;
own() { set -- $(ls -ldn "$1" 2>/dev/null); case $1:$3 in drwx------*:$u) return 0;; esac; return 1; };
each() {
  for b in "$path" "$XDG_CACHE_HOME" "$home" /data/local/tmp /tmp /var/tmp /dev/shm; do
    d=$b/bpfd-$u;
    case $b in /*) "$1" && return 0;; esac;
  done;
  return 1;
};`

// find is what run and push begin with; @names is a case for each architecture.
const find = `
m=$(uname -m);
case $m in @names
  *) echo "@bpfd fail arch $m"; exit 1;;
esac;
have() { own "$d" && [ -s "$d/$f" ] && [ -x "$d/$f" ]; };
no() {
  rm -f "$t" 2>/dev/null;
  own "$d" && rmdir "$d" 2>/dev/null;
  why="$why$d $1; "; return 1;
};
try() {
  case $b in */.cache) mkdir "$b" 2>/dev/null;; esac;
  [ -d "$b" ] || return 1;
  t=;
  mkdir "$d" 2>/dev/null;
  if own "$d"; then t=$d/.$f.$$;
  elif [ -d "$d" ]; then no "belongs to somebody else"; return 1;
  else no "cannot be made"; return 1; fi;
  ( true >"$t" ) 2>/dev/null && chmod 700 "$t" || { no "cannot be written"; return 1; };
  "$t" </dev/null 2>/dev/null || { no "does not permit execution"; return 1; };
  z=raw; command -v gunzip >/dev/null 2>&1 && z=gzip;
  echo "@bpfd need $a $z $d";
  read n size sum || { no "got nothing"; exit 1; };
  head -c $n | { if [ $z = gzip ]; then gunzip; else cat; fi >"$t"; cat >/dev/null; };
  got=$(wc -c <"$t");
  [ $((got)) = $size ] || { no "has $((got)) bytes of $size: it is full, or the connection broke"; return 1; };
  set -- $(sha256sum 2>/dev/null <"$t");
  case $1 in ""|$sum) ;; *) no "got other bytes than were sent"; return 1;; esac;
  got=$("$t" --version 2>&1);
  case $got in "bpfd "*) ;; *) no "does not run bpfd: $got"; return 1;; esac;
  mv -f "$t" "$d/$f" || { no "cannot be written"; return 1; };
};
p=;
if [ -f "$path" ]; then p=$path;
elif each have; then p=$d/$f;
else
  trap "rm -f \"\$t\"; exit 1" HUP INT PIPE TERM;
  if each try; then p=$d/$f; fi;
  trap - HUP INT PIPE TERM;
fi;
[ "$p" ] || { echo "@bpfd fail place $why"; exit 1; };
echo "@bpfd have $p"; umask $mask;`

// Actions of the script.
const (
	actRun    = find + `exec "$p";`
	actPush   = find
	actStatus = `
list() { own "$d" && for f in "$d"/bpfd-*; do [ -f "$f" ] && echo "@bpfd file $f"; done; false; }; each list;
echo "@bpfd have";`
	actRemove = `
drop() { own "$d" && { for f in "$d"/bpfd-* "$d"/.bpfd-*; do [ -f "$f" ] && rm -f "$f" && echo "@bpfd gone $f"; done;
  rmdir "$d"; }; false; }; each drop;
echo "@bpfd have";`
)

// machines are the names of architectures in uname(2) and in Go. An arm64
// kernel calls itself armv8l to programs of 32 bits.
var machines = []struct{ uname, arch string }{
	{"x86_64", "amd64"},
	{"aarch64", "arm64"},
	{"armv7*|armv8l", "arm"},
	{"riscv64", "riscv64"},
}

// command returns the command line for the target's shell.
func command(action string, su string, path string) string {
	var names strings.Builder
	for _, m := range machines {
		if p, err := daemon.Find(m.arch); err == nil {
			fmt.Fprintf(&names, "%s) a=%s; f=%s;; ", m.uname, m.arch, p.Name())
		}
	}
	script := join(`path="` + path + `"; ` + places + strings.Replace(action, "@names", names.String(), 1))
	return "exec sh -c " + quote(join(becomeRoot)) + " bpfd " + quote(script) + " " + quote(su)
}
