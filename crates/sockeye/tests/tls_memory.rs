//! What an idle connection over TLS holds on the heap, counted by an allocator that counts the whole process. One test,
//! so that nothing else runs in it.
#![cfg(feature = "ring")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;
#[path = "common/identity.rs"]
mod identity;

use std::sync::Arc;

use common::{KIB, within};
use identity::{Identity, listen};
use peak_alloc::PeakAlloc;
use sockeye::Client;
use tokio_rustls::TlsAcceptor;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// Connections measured at once, and before that, so that what all share is there.
const MANY: usize = 100;
const BEFORE: usize = 10;

/// rustls keeps about 9 KiB at either end (keys, certificates, the buffers of its handshake); we keep nothing.
#[tokio::test]
async fn an_idle_connection_over_tls() {
    let identity = Identity::local();
    let acceptor = TlsAcceptor::from(Arc::new(identity.server.clone()));
    let config = Arc::new(identity.client_config());
    let (listener, port) = listen().await;
    let (mut clients, mut servers) = (Vec::with_capacity(MANY + BEFORE), Vec::with_capacity(MANY + BEFORE));
    let mut before = 0;
    for number in 0..MANY + BEFORE {
        if number == BEFORE {
            before = HEAP.current_usage();
        }
        let client = Client::new(&format!("wss://localhost:{port}/")).unwrap().tls(Arc::clone(&config));
        let serving = async {
            let stream = acceptor.accept(listener.accept().await.unwrap().0).await.unwrap();
            sockeye::accept(stream).await.unwrap()
        };
        let both = Box::pin(async { tokio::join!(client.connect(), serving) });
        let (client, mut server) = within(20, both).await;
        let mut client = client.unwrap();
        client.send("hello").await.unwrap();
        let message = server.recv().await.unwrap().unwrap();
        server.send(message).await.unwrap();
        client.recv().await.unwrap().unwrap();
        clients.push(client);
        servers.push(Box::new(server));
    }
    let both = HEAP.current_usage() - before;
    drop(clients);
    let server = (HEAP.current_usage() - before) / MANY;
    let client = both / MANY - server;
    println!("an idle connection over TLS holds {client} bytes at the client, {server} at the server");
    assert!(client <= 14 * KIB && server <= 14 * KIB, "{client}, {server}");
}
