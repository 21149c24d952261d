# enter ROOT WORD...: executes the words in another root, whose /dev, /proc, /run and cgroups are its own. Run it in
# namespaces for mounts and processes; what it mounts goes away with them.
set -e
root=$1
shift
mount --make-rprivate /
mount --bind "$root" "$root"
cd "$root"
# Not the machine's: what starts a system changes modes and owners there.
mount -t tmpfs -o mode=755 dev dev
mkdir dev/pts dev/shm
while read -r name minor; do
  mknod -m 666 "dev/$name" c 1 "$minor"
done <<NODES
null 3
zero 5
full 7
random 8
urandom 9
NODES
mknod -m 666 dev/tty c 5 0
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
for number in 0:stdin 1:stdout 2:stderr; do
  ln -s "/proc/self/fd/${number%:*}" "dev/${number#*:}"
done
mount -t devpts -o newinstance,ptmxmode=666,mode=620 devpts dev/pts
mount -t tmpfs -o mode=1777 shm dev/shm
mount -t tmpfs -o mode=755 run run
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mkdir -p old
pivot_root . old
umount -l /old
rmdir /old
exec "$@"
