#!/usr/bin/env bash
# PID 1 of a machine of the lab (see cluster_lab.py): host.sh LAB NAME ADDRESS
# It has its own processes, network, /root, /tmp, /run and /dev/shm, no route to anywhere else and no DNS. /mnt is one
# folder on all machines, in NFS's place.
set -euo pipefail
LAB=$1 NAME=$2 ADDRESS=$3 DISK=$1/$2

mount --make-rprivate /
hostname "$NAME"
mount --bind "$LAB/shared" /mnt
mount -t tmpfs -o mode=755,size=64m tmpfs /run
mkdir -p /run/sshd /run/lab
cp "$LAB/key.pub" /run/lab/authorized_keys
cp "$LAB/hosts" /run/lab/hosts
mount --bind /run/lab/hosts /etc/hosts
mount -t tmpfs -o mode=1777,size=512m tmpfs /dev/shm
ssh-keygen -q -t ed25519 -N '' -f /run/lab/host_key

# Private directories, through which the lines of LAB/exposed (Python, its packages) stay visible, read-only.
for directory in /root /tmp; do
  while read -r path; do
    case $path in "$directory"/*)
      mkdir -p "$DISK$directory${path#"$directory"}"
      mount --bind "$path" "$DISK$directory${path#"$directory"}"
      mount -o remount,bind,ro "$DISK$directory${path#"$directory"}" ;;
    esac
  done < "$LAB/exposed"
done
mount --rbind "$DISK/root" /root
mount --rbind "$DISK/tmp" /tmp
chmod 1777 /tmp
cd /
until ip -4 -o addr show dev eth0 2> /dev/null | grep -q " $ADDRESS/"; do sleep 0.1; done
trap '' HUP
while :; do   # bash as PID 1 also reaps orphans
  if [ "$NAME" = laptop ]; then sleep 3600 & else
    /usr/sbin/sshd -D -e -o ListenAddress="$ADDRESS" -o HostKey=/run/lab/host_key -o PidFile=none -o UsePAM=no \
      -o AuthorizedKeysFile=/run/lab/authorized_keys -o PermitRootLogin=prohibit-password -o PasswordAuthentication=no \
      -o KbdInteractiveAuthentication=no -o UseDNS=no -o PrintMotd=no -o StrictModes=no -o MaxSessions=100 \
      -o MaxStartups=100 -f /dev/null < /dev/null > /run/lab/sshd.log 2>&1 &
  fi
  wait $! || true
  sleep 0.5
done
