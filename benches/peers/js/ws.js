// npm ws with bufferutil, as its documentation advises; a reply is one write.
//
//   node ws.js echo|large|idle|deflate|broadcast
import { createRequire } from "node:module";

// Installed elsewhere than beside this file: nothing generated lies in the clone.
const { WebSocket, WebSocketServer } = createRequire(`${process.env.PEERS_MODULES}/`)("ws");

const mode = process.argv[2] ?? "echo";
const deflate = {
    serverNoContextTakeover: true,
    clientNoContextTakeover: true,
    threshold: 0,
    zlibDeflateOptions: { level: 1 },
};
const server = new WebSocketServer({
    host: "127.0.0.1",
    port: 0,
    backlog: 4096,
    maxPayload: 64 * 1024 * 1024,
    clientTracking: mode === "broadcast",
    perMessageDeflate: mode === "deflate" && deflate,
});

server.on("connection", (socket) => {
    socket.on("error", () => socket.terminate());
    socket.on("message", mode === "broadcast" ? (data, binary) => tellOthers(socket, data, binary) : echo);
});
server.on("listening", () => console.log(`listening on http://127.0.0.1:${server.address().port}/`));

function echo(data, binary) {
    this.send(data, { binary });
}

function tellOthers(sender, data, binary) {
    for (const socket of server.clients) {
        if (socket !== sender && socket.readyState === WebSocket.OPEN) socket.send(data, { binary });
    }
}
