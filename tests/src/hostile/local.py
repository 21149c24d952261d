"""What a local user of a host puts in the way of others.

usage: local.py lease FILE | silent FOLDER UID | swap LINK TARGET TARGET
Prints `ready` once it is so, and `asked` once a silent file system has taken a request; goes on until standard input
ends, and takes it away then.
"""
import ctypes, fcntl, os, signal, struct, sys, threading


def lease(path):
    """Whoever opens or executes the file waits for its holder, who never gives it back (fcntl(2), F_SETLEASE)."""
    signal.signal(signal.SIGIO, signal.SIG_IGN)
    held = os.open(path, os.O_RDONLY)
    fcntl.fcntl(held, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    return lambda: os.close(held)


def silent(folder, uid):
    """A file system that takes every request and answers none but the first (fuse(4)). Not even SIGKILL ends who waits."""
    libc = ctypes.CDLL(None, use_errno=True)
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode=40755,user_id={uid},group_id={uid},allow_other"
    nosuid_nodev = 6
    if libc.mount(b"silent", os.fsencode(folder), b"fuse", nosuid_nodev, options.encode()):
        raise OSError(ctypes.get_errno(), "mount")

    def take():
        unique = struct.unpack_from("=IIQ", os.read(device, 1 << 18))[2]
        # fuse_init_out: version, read-ahead, flags, numbers of background requests, size of a write, time, rest.
        greeting = struct.pack("=IIIIHHII", 7, 31, 0, 0, 16, 12, 65536, 1).ljust(64, b"\0")
        os.write(device, struct.pack("=IiQ", 16 + len(greeting), 0, unique) + greeting)
        os.read(device, 1 << 18)
        ready.wait()
        print("asked", flush=True)
        while True:
            os.read(device, 1 << 18)

    threading.Thread(target=take, daemon=True).start()
    detach = 2
    # The end of this process closes the device, which ends who waits.
    return lambda: libc.umount2(os.fsencode(folder), detach)


def swap(link, *targets):
    """A link that leads elsewhere at each look."""
    over = threading.Event()

    def turn():
        while not over.is_set():
            for target in targets:
                os.symlink(target, f"{link}.next")
                os.rename(f"{link}.next", link)

    turning = threading.Thread(target=turn)
    turning.start()

    def end():
        over.set()
        turning.join()

    return end


ready = threading.Event()
what, *words = sys.argv[1:]
undo = {"lease": lease, "silent": silent, "swap": swap}[what](*words)
print("ready", flush=True)
ready.set()
sys.stdin.read()
undo()
