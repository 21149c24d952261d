"""A client for rcmd/1, written from docs/protocol.md with Python's standard library alone.

usage: client.py DIR HOST PORT exec PROGRAM ARGUMENT... | shell LINE
DIR holds ca.pem, client/cert.pem and client/key.pem. The exit status is the command's; 128 + N for
signal N, 124 for a time-out, 125 to 127 when nothing ran, 255 when the truth was lost.
"""
import contextlib, hashlib, json, os, select, signal, socket, ssl, struct, sys, time

CREDIT, CHUNK, HEADER, PAYLOAD = 1 << 20, 1 << 16, 1 << 16, 1 << 20
NEVER = {"not_found": 127, "not_executable": 126, "too_big": 126}
OUTPUTS = {"stdout": 1, "stderr": 2}


class Client:
    def __init__(self, folder, host, port):
        context = ssl.create_default_context(cafile=f"{folder}/ca.pem")
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.set_alpn_protocols(["rcmd/1"])
        context.load_cert_chain(f"{folder}/client/cert.pem", f"{folder}/client/key.pem")
        tcp = socket.create_connection((host, int(port)), timeout=10)
        self.tls = context.wrap_socket(tcp, server_hostname=host, suppress_ragged_eofs=False)
        if self.tls.selected_alpn_protocol() != "rcmd/1":
            raise ConnectionError("the server does not speak rcmd/1")
        self.buffer, self.greeted, self.keepalive, self.asked = b"", False, 15, 0
        self.hashes = {stream: hashlib.sha256() for stream in ("stdin", "stdout", "stderr")}
        self.got, self.upto = dict.fromkeys(OUTPUTS, 0), dict.fromkeys(OUTPUTS, CREDIT)
        self.sent, self.credit, self.stdin_open = 0, CREDIT, True

    def send(self, payload=b"", **header):
        text = json.dumps(header | ({"len": len(payload)} if payload else {})).encode()
        self.tls.sendall(struct.pack(">I", len(text)) + text + payload)

    def start(self, mode, arguments):
        payload = b"".join(os.fsencode(argument) + b"\0" for argument in arguments)
        rest = f"envc=0\nmode={mode}\nuser=0\ncwd=0\ntimeout=0\ntty=0\nstdin=1\n"
        digested = payload + f"argc={len(arguments)}\n{rest}".encode()
        self.send(type="hello", agent="stranger 1", capabilities=[])
        self.send(payload, type="start", ch=1, key=os.urandom(16).hex(), mode=mode,
                  generation=time.time_ns() // 1000, argc=len(arguments), stdin=True,
                  digest=hashlib.sha256(digested).hexdigest(), digests=["sha256"])

    def frame(self):
        (length,) = struct.unpack(">I", self.bytes(4))
        if not 0 < length <= (HEADER if self.greeted else 4096):
            raise ConnectionError("a header is past its limit")
        header = json.loads(self.bytes(length))
        if header.get("len", 0) > PAYLOAD:
            raise ConnectionError("a payload is past its limit")
        return header, self.bytes(header.get("len", 0))

    def bytes(self, count):
        while len(self.buffer) < count:
            self.wait()
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    def wait(self):
        """Waits for bytes from the server or from stdin; asks for a sign of life when none come."""
        sources = [self.tls, 0] if self.stdin_open and self.sent < self.credit else [self.tls]
        pending = [self.tls] if self.tls.pending() else []
        ready = pending or select.select(sources, [], [], self.keepalive)[0]
        if 0 in ready:
            self.stdin(os.read(0, min(CHUNK, self.credit - self.sent)))
        if self.tls in ready:
            received = self.tls.recv(CHUNK)
            if not received:
                raise ConnectionError("the server closed the connection")
            self.buffer, self.asked = self.buffer + received, 0
        elif not ready:
            self.asked += 1
            if self.asked == 3:
                raise ConnectionError("nothing was heard for three keepalives")
            self.send(type="ping", number=self.asked)

    def stdin(self, data):
        (hash := self.hashes["stdin"]).update(data)
        if data:
            self.send(data, type="data", ch=1, stream="stdin", offset=self.sent)
        else:
            digest = "sha256:" + hash.hexdigest()
            self.send(type="end", ch=1, stream="stdin", total=self.sent, digest=digest)
        self.sent, self.stdin_open = self.sent + len(data), bool(data)

    def output(self, stream, offset, data):
        if offset != self.got[stream] or offset + len(data) > self.upto[stream]:
            raise ConnectionError(f"{stream} has a gap, or goes past its credit")
        self.hashes[stream].update(data)
        self.got[stream] += len(data)
        while data:
            data = data[os.write(OUTPUTS[stream], data):]
        if self.got[stream] + CREDIT - self.upto[stream] >= CREDIT // 4:
            self.upto[stream] = upto = self.got[stream] + CREDIT
            self.send(type="window", ch=1, stream=stream, got=upto - CREDIT, upto=upto)

    def verify(self, stream, total, digest):
        if (total, digest) != (self.got[stream], "sha256:" + self.hashes[stream].hexdigest()):
            raise ConnectionError(f"{stream} is corrupt")

    def run(self):
        while True:
            header, payload = self.frame()
            match header["type"]:
                case "hello":
                    self.greeted, self.keepalive = True, header["keepalive_ms"] / 1000
                case "ping":
                    self.send(type="pong", number=header["number"])
                case "error":
                    raise ConnectionError(header["message"])
                case "data":
                    self.output(header["stream"], header["offset"], payload)
                case "window":
                    self.credit = max(self.credit, header["upto"])
                case "stop":
                    self.stdin_open = False
                case "end":
                    self.verify(header["stream"], header["total"], header["digest"])
                case "exit":
                    for stream in OUTPUTS if header["outcome"] != "not_started" else ():
                        self.verify(stream, header[f"{stream}_bytes"], header[f"{stream}_digest"])
                    self.send(type="done", ch=1)
                    return header


def main():
    _, folder, host, port, mode, *arguments = sys.argv
    client, failed = None, 125
    try:
        client = Client(folder, host, port)
        failed = 255
        client.start(mode, arguments)
        end = client.run()
        with contextlib.suppress(OSError):
            client.tls.unwrap()
    except (OSError, ValueError, KeyError) as error:
        print(f"client.py: {host}: {error}", file=sys.stderr)
        alert = "ALERT" in str(getattr(error, "reason", ""))
        return 125 if client and alert and not client.greeted else failed
    if end["outcome"] == "signaled":
        return 128 + signal.Signals[end["signal"]]
    if end["outcome"] in ("exited", "timed_out"):
        return end["code"] if end["outcome"] == "exited" else 124
    print(f"client.py: {end['message']}", file=sys.stderr)
    return NEVER.get(end["kind"], 125) if end["outcome"] == "not_started" else 255


sys.exit(main())
