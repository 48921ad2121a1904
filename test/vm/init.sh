#!/bin/sh
# The first process of a guest. What bpfd mounts by itself is left to it.
export PATH=/bin:/sbin:/usr/bin:/usr/sbin HOME=/root
/bin/busybox mkdir -p /bin /sbin /proc /sys /dev /run /mnt /var/log
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t cgroup2 cgroup2 /sys/fs/cgroup
while read -r module; do
	insmod "/lib/modules/$module.ko"
done </lib/modules/order
hostname "$(cat /etc/hostname)"
ip link set lo up
ip link set eth0 up
ip addr add 10.0.2.15/24 dev eth0
ip route add default via 10.0.2.2
[ ! -b /dev/vda ] || mount -t ext4 /dev/vda /mnt
for service in /etc/start/*; do
	[ ! -x "$service" ] || "$service" &
done
echo "guest: $(uname -r) has started after $(cut -d' ' -f1 /proc/uptime) s"
/bin/guest
poweroff -f
