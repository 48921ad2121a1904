#!/bin/sh
# load [ROUNDS]: what tools look at. Each round opens files, spawns a process,
# and writes to and reads from the disk at /mnt; without a number it goes on
# until it is ended. TCP is goload's, functions and locks are cppload's.
rounds=${1:--1}
[ ! -x /bin/goload ] || { /bin/goload & }
[ ! -x /bin/cppload ] || { /bin/cppload & }
while [ "$rounds" -ne 0 ]; do
	rounds=$((rounds - 1))
	cat /etc/hostname >/dev/null
	cat /nonexistent 2>/dev/null
	/bin/true
	if grep -q ' /mnt ext4' /proc/mounts; then
		dd if=/dev/zero of=/mnt/file bs=64k count=4 conv=fsync 2>/dev/null
		# Not by drop_caches: what the other programs have read stays.
		dd if=/mnt/file of=/dev/null bs=64k iflag=direct 2>/dev/null
		mv /mnt/file /mnt/renamed
		rm /mnt/renamed
	fi
	sleep 1
done
