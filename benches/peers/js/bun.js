// Bun's own server, which is uWebSockets: `publish` for the broadcast, no timeouts, no limit on what waits.
//
//   bun bun.js echo|large|idle|deflate|broadcast
const mode = process.argv[2] ?? "echo";

const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch(request, server) {
        return server.upgrade(request) ? undefined : new Response("a WebSocket is spoken here", { status: 426 });
    },
    websocket: {
        idleTimeout: 0,
        sendPings: false,
        maxPayloadLength: 64 * 1024 * 1024,
        backpressureLimit: 64 * 1024 * 1024,
        publishToSelf: false,
        // "shared": one compressor for all connections, so without context takeover; the level is uWebSockets' own.
        perMessageDeflate: mode === "deflate" && { compress: "shared", decompress: "shared" },
        open(socket) {
            if (mode === "broadcast") socket.subscribe("bench");
        },
        message(socket, data) {
            if (mode === "broadcast") socket.publish("bench", data);
            else socket.send(data, mode === "deflate");
        },
    },
});
console.log(`listening on http://127.0.0.1:${server.port}/`);
