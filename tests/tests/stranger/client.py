#!/usr/bin/env python3
"""A client for rcmd/1, written from docs/protocol.md with Python's standard library alone.

usage: client.py DIR HOST PORT (--exec PROGRAM [ARGUMENT...] | --shell LINE)

DIR holds ca.pem, client/cert.pem and client/key.pem. Standard input is sent, output arrives as it is
produced, and the exit status is the command's: 128 + N for signal N, 124 for a time-out, 125 to 127
when nothing ran, 255 when the truth was lost. It does not resume.
"""
import hashlib, json, os, select, signal, socket, ssl, struct, sys, time

CREDIT, CHUNK, HEADER, PAYLOAD = 1 << 20, 1 << 16, 1 << 16, 1 << 20
FILES = {"stdout": 1, "stderr": 2}


class Lost(Exception):
    """The connection or the other side's word is not to be relied on any more."""


def once(pairs):
    if len(dict(pairs)) != len(pairs):
        raise Lost("a key stands twice")
    return dict(pairs)


class Client:
    def __init__(self, folder, host, port):
        context = ssl.create_default_context(cafile=f"{folder}/ca.pem")
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.set_alpn_protocols(["rcmd/1"])
        context.load_cert_chain(f"{folder}/client/cert.pem", f"{folder}/client/key.pem")
        tcp = socket.create_connection((host, int(port)), timeout=10)
        self.tls = context.wrap_socket(tcp, server_hostname=host, suppress_ragged_eofs=False)
        if self.tls.selected_alpn_protocol() != "rcmd/1":
            raise Lost("the server does not speak rcmd/1")
        self.tls.settimeout(60)
        self.buffer, self.greeted, self.keepalive, self.asked = b"", False, 15.0, 0
        self.got = {"stdout": 0, "stderr": 0}
        self.upto = {"stdout": CREDIT, "stderr": CREDIT}
        self.digests = {stream: hashlib.sha256() for stream in ("stdin", "stdout", "stderr")}
        self.ends = {}
        self.sent, self.credit, self.stdin_open = 0, CREDIT, True

    def send(self, payload=b"", **header):
        if payload:
            header["len"] = len(payload)
        text = json.dumps(header).encode()
        self.tls.sendall(struct.pack(">I", len(text)) + text + payload)

    def start(self, mode, arguments):
        payload = b"".join(os.fsencode(argument) + b"\0" for argument in arguments)
        lines = (f"argc={len(arguments)}\nenvc=0\nmode={mode}\nuser=0\ncwd=0\n"
                 "timeout=0\ntty=0\nstdin=1\n")
        digest = hashlib.sha256(payload + lines.encode()).hexdigest()
        self.send(type="hello", agent="stranger 1", capabilities=["exec"])
        self.send(payload, type="start", ch=1, key=os.urandom(16).hex(), digest=digest, mode=mode,
                  generation=time.time_ns() // 1000, argc=len(arguments), stdin=True,
                  digests=["sha256"])

    def frame(self):
        """Takes a whole frame out of the buffer, or None."""
        if len(self.buffer) < 4:
            return None
        (length,) = struct.unpack_from(">I", self.buffer)
        if not 0 < length <= (HEADER if self.greeted else 4096):
            raise Lost("a header is past its limit")
        if len(self.buffer) < 4 + length:
            return None
        header = json.loads(self.buffer[4:4 + length], object_pairs_hook=once)
        size = header.get("len", 0)
        if not 0 <= size <= PAYLOAD:
            raise Lost("a payload is past its limit")
        if len(self.buffer) < 4 + length + size:
            return None
        payload = self.buffer[4 + length:4 + length + size]
        self.buffer = self.buffer[4 + length + size:]
        if not self.greeted and header["type"] not in ("hello", "error"):
            raise Lost("hello comes first")
        return header, payload

    def wait(self):
        """Waits for something to come or to send; asks for a sign of life when nothing does."""
        wants = self.stdin_open and self.sent < self.credit
        sources = [self.tls] + ([0] if wants else [])
        ready = [self.tls] if self.tls.pending() else select.select(sources, [], [], self.keepalive)[0]
        if 0 in ready:
            self.stdin(os.read(0, min(CHUNK, self.credit - self.sent)))
        if self.tls in ready:
            received = self.tls.recv(CHUNK)
            if not received:
                raise Lost("the server closed the connection")
            self.buffer += received
            self.asked = 0
        elif not ready:
            self.asked += 1
            if self.asked == 3:
                raise Lost("nothing was heard for three keepalives")
            self.send(type="ping", number=self.asked)

    def stdin(self, data):
        self.digests["stdin"].update(data)
        if data:
            self.send(data, type="data", ch=1, stream="stdin", offset=self.sent)
            self.sent += len(data)
        else:
            self.stdin_open = False
            self.send(type="end", ch=1, stream="stdin", total=self.sent,
                      digest="sha256:" + self.digests["stdin"].hexdigest())

    def output(self, stream, offset, data):
        if stream in self.ends or offset != self.got[stream] or offset + len(data) > self.upto[stream]:
            raise Lost(f"{stream} has a gap, or goes past its credit or its end")
        self.digests[stream].update(data)
        self.got[stream] += len(data)
        while data:
            data = data[os.write(FILES[stream], data):]
        if self.got[stream] + CREDIT - self.upto[stream] >= CREDIT // 4:
            self.upto[stream] = self.got[stream] + CREDIT
            self.send(type="window", ch=1, stream=stream, got=self.got[stream], upto=self.upto[stream])

    def verify(self, stream, total, digest):
        if (total, digest) != (self.got[stream], "sha256:" + self.digests[stream].hexdigest()):
            raise Lost(f"{stream} is corrupt")
        self.ends[stream] = total

    def run(self):
        """Until the end of the command; returns its exit frame."""
        while True:
            while (frame := self.frame()) is None:
                self.wait()
            header, payload = frame
            match header["type"]:
                case "hello":
                    self.greeted, self.keepalive = True, header["keepalive_ms"] / 1000
                case "ping":
                    self.send(type="pong", number=header["number"])
                case "error":
                    raise Lost(header["message"])
                case "data":
                    self.output(header["stream"], header["offset"], payload)
                case "window":
                    self.credit = max(self.credit, header["upto"])
                case "stop":
                    self.stdin_open = False
                case "end":
                    self.verify(header["stream"], header["total"], header["digest"])
                case "exit":
                    if header["outcome"] != "not_started":
                        for stream in FILES:
                            self.verify(stream, header[f"{stream}_bytes"], header[f"{stream}_digest"])
                    self.send(type="done", ch=1)
                    return header


def status(end):
    match end["outcome"]:
        case "exited":
            return end["code"]
        case "signaled":
            return 128 + signal.Signals[end["signal"]].value
        case "timed_out":
            return 124
        case "not_started":
            print(f"client.py: {end['message']}", file=sys.stderr)
            return {"not_found": 127, "not_executable": 126, "too_big": 126}.get(end["kind"], 125)
    print(f"client.py: {end['message']}", file=sys.stderr)
    return 255


def main():
    _, folder, host, port, mode, *arguments = sys.argv
    client = None
    try:
        client = Client(folder, host, port)
        client.start(mode.removeprefix("--"), arguments)
        end = client.run()
        client.tls.unwrap()
        return status(end)
    except (OSError, Lost, ValueError, KeyError) as error:
        print(f"client.py: {host}: {error}", file=sys.stderr)
        # Before the server's hello nothing can have started: it comes after our certificate was judged.
        return 255 if client and client.greeted else 125


sys.exit(main())
