// The mock server on real sockets of this machine: Node's HTTP server, and just enough of RFC 6455.

import { createHash } from "node:crypto";
import { createServer } from "node:http";

import { MockServer } from "./server.js";

const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const real = {
  now: () => Date.now(),
  setTimeout: (...timer) => setTimeout(...timer).unref(),
  clearTimeout: (timer) => clearTimeout(timer),
};

/** Listens on a port of its own. `close` ends it, `cut` breaks every connection. */
export async function listen(options) {
  const mock = new MockServer(real, options);
  const sockets = new Set();
  const http = createServer((request, response) => serve(mock, request, response));
  http.on("upgrade", (request, socket) => upgrade(mock, request, socket));
  http.on("connection", (socket) => {
    sockets.add(socket);
    socket.on("error", () => {}).on("close", () => sockets.delete(socket));
  });
  await new Promise((resolve) => http.listen(0, "127.0.0.1", resolve));
  const cut = () => sockets.forEach((socket) => socket.destroy());
  const close = () => {
    http.close();
    cut();
  };
  return { mock, url: `http://127.0.0.1:${http.address().port}/ws/chat/lobby/`, sockets, cut, close };
}

async function serve(mock, request, response) {
  const chunks = [];
  try {
    for await (const chunk of request) chunks.push(chunk);
  } catch {
    return;
  }
  const { method, url, headers } = request;
  const left = (callback) => response.on("close", callback);
  const answer = await mock.handle({ method, url, headers, body: Buffer.concat(chunks).toString() }, left);
  response.writeHead(answer.status, answer.headers);
  if (!answer.stream) return response.end(answer.body);
  const sink = { write: (text) => response.write(text), end: () => response.end(), cut: () => response.destroy() };
  const leave = answer.stream(sink);
  response.on("close", leave);
}

function upgrade(mock, request, socket) {
  const offered = (request.headers["sec-websocket-protocol"] ?? "").split(/, */).filter(Boolean);
  const conn = {
    send: (data) => socket.write(frame(typeof data === "string" ? 1 : 2, Buffer.from(data))),
    close: (code, reason = "") => socket.end(frame(8, Buffer.concat([Buffer.from([code >> 8, code & 255]), Buffer.from(reason)]))),
    cut: () => socket.destroy(),
  };
  const far = mock.websocket(conn, offered, request.headers);
  if (far.refused) return socket.end(`HTTP/1.1 ${far.refused.status} Refused\r\ncontent-length: 0\r\n\r\n`);
  const accept = createHash("sha1").update(request.headers["sec-websocket-key"] + GUID).digest("base64");
  const chosen = far.protocol ? `sec-websocket-protocol: ${far.protocol}\r\n` : "";
  socket.write(`HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: ${accept}\r\n${chosen}\r\n`);
  far.start();
  read(socket, far, conn);
}

function frame(opcode, payload) {
  const { length } = payload;
  const head = length < 126 ? Buffer.from([128 | opcode, length]) : Buffer.from([128 | opcode, 126, length >> 8, length & 255]);
  return Buffer.concat([head, payload]);
}

// Clients of these tests send messages in one frame each, below 64 KiB.
function read(socket, far, conn) {
  let rest = Buffer.alloc(0);
  let code = null;
  socket.on("data", (chunk) => {
    rest = Buffer.concat([rest, chunk]);
    for (let found = next(rest); found; found = next(rest)) {
      rest = rest.subarray(found.end);
      if (found.opcode === 8) {
        code = found.payload.length < 2 ? 1005 : found.payload.readUInt16BE();
        conn.close(code === 1005 ? 1000 : code);
      } else if (found.opcode < 3) {
        far.message(found.opcode === 1 ? found.payload.toString() : new Uint8Array(found.payload).buffer);
      }
    }
  });
  socket.on("close", () => far.closed(code));
}

function next(bytes) {
  if (bytes.length < 6) return null;
  const long = (bytes[1] & 127) === 126;
  const length = long ? bytes.readUInt16BE(2) : bytes[1] & 127;
  const start = long ? 8 : 6;
  if (bytes.length < start + length) return null;
  const mask = bytes.subarray(start - 4, start);
  const payload = Buffer.from(bytes.subarray(start, start + length).map((byte, index) => byte ^ mask[index % 4]));
  return { opcode: bytes[0] & 15, payload, end: start + length };
}
