#!/bin/sh
# The guest's first process: makes a usable system, runs the command it was started for, tells how that ended.
export PATH=/usr/sbin:/usr/bin HOME=/root LANG=C.UTF-8

mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
exec >/dev/ttyS0 2>&1 </dev/null
mount -t tmpfs run /run
mount -t tmpfs tmp /tmp
mount -t bpf bpf /sys/fs/bpf
mkdir -p /run/netns /run/frr /run/lock
chown frr:frr /run/frr
ulimit -n 65536
ip link set lo up
hostname guest

modprobe -a virtio_pci virtio_console virtio-rng 9p 9pnet_virtio

# What the host shares: on each line a name, a directory here, and options.
mkdir /job
share() {
    mkdir -p "$2"
    mount -t 9p -o "trans=virtio,version=9p2000.L,msize=524288,$3" "$1" "$2" || echo "cannot mount $2"
}
share job /job cache=none
while read -r name directory options; do
    share "$name" "$directory" "$options"
done </job/shares

# The host reads what the command writes from this port.
until [ -e /dev/vport0p1 ] || [ -e /dev/vport1p1 ]; do sleep 0.05; done
for output in /dev/vport?p1; do :; done
cut -d ' ' -f 1 /proc/uptime >/job/booted
setsid sh /job/command >"$output" 2>&1
echo $? >/job/status.new
mv /job/status.new /job/status
sync
reboot -f
