#!/bin/sh
# Runs an sshd for which this machine has one more user, in a mount namespace:
# /etc and /home are changed for it alone. The user's password is "secret of
# USER". Arguments: the user, an authorized key, how he becomes root without a
# password ("sudo", "su", ""), and sshd's command line.
set -eu
user=$1 key=$2 how=$3
shift 3
mount --make-rprivate /
mount -t tmpfs tmpfs /home
mkdir /home/.upper /home/.work
mount -t overlay -o lowerdir=/etc,upperdir=/home/.upper,workdir=/home/.work overlay /etc
useradd --no-log-init --create-home --shell /bin/sh "$user"
echo "$user:secret of $user" | chpasswd
mkdir "/home/$user/.ssh"
cp "$key" "/home/$user/.ssh/authorized_keys"
case $how in
sudo) echo "$user ALL=(ALL) NOPASSWD: ALL" >/etc/sudoers.d/test ;;
su) echo "auth sufficient pam_permit.so" >/etc/pam.d/su ;;
esac
exec "$@"
