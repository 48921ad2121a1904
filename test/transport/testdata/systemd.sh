#!/bin/sh
# Becomes a systemd that knows bpfd's units only, which "make install" puts
# there: the first process of namespaces of its own, on this machine's files,
# which it changes nowhere: /etc and /usr/local are overlaid, /run is another.
# Arguments: a new directory, that of the sources.
set -eu
dir=$1 sources=$2
mount --make-rprivate /
mount -t tmpfs tmpfs "$dir"
for d in /etc /usr/local; do
	mkdir -p "$dir/upper$d" "$dir/work$d"
	mount -t overlay -o "lowerdir=$d,upperdir=$dir/upper$d,workdir=$dir/work$d" overlay "$d"
done
umount -R /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount --bind "$(tty)" /dev/console # where PID 1 logs to
mount -t tmpfs tmpfs /run
make -s -C "$sources" -o build install
systemd-sysusers
mkdir "$dir/targets"
for target in sysinit basic sockets multi-user network shutdown umount; do
	ln -s "/lib/systemd/system/$target.target" "$dir/targets"
done
exec env -i container=test SYSTEMD_UNIT_PATH="/usr/local/lib/systemd/system:$dir/targets" \
	/lib/systemd/systemd --system --unit=basic.target --log-target=console --log-color=no --show-status=no
