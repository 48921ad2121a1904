#!/bin/sh
# load [ROUNDS]: what tools look at. Each round opens files, spawns processes,
# and sends data over TCP; without a number it goes on until it is ended.
rounds=${1:--1}
while [ "$rounds" -ne 0 ]; do
	rounds=$((rounds - 1))
	cat /etc/hostname >/dev/null
	cat /nonexistent 2>/dev/null
	/bin/true
	sleep 0.05
done
