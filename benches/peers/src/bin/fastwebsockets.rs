//! Echo on fastwebsockets, as its own example does it: hyper for the upgrade, then frames.
use bytes::Bytes;
use fastwebsockets::{FragmentCollector, OpCode, upgrade};
use http_body_util::Empty;
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;

fn main() -> std::io::Result<()> {
    peers::serve(|stream| async {
        let service = service_fn(|request| async { handshake(request) });
        // How a connection ended is no matter here.
        let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades().await;
    })
}

fn handshake(mut request: Request<Incoming>) -> Result<Response<Empty<Bytes>>, fastwebsockets::WebSocketError> {
    let (response, upgrade) = upgrade::upgrade(&mut request)?;
    tokio::task::spawn_local(echo(upgrade));
    Ok(response)
}

async fn echo(upgrade: upgrade::UpgradeFut) {
    let Ok(socket) = upgrade.await else { return };
    let mut socket = FragmentCollector::new(socket);
    while let Ok(frame) = socket.read_frame().await {
        let is_data = matches!(frame.opcode, OpCode::Text | OpCode::Binary);
        if frame.opcode == OpCode::Close || (is_data && socket.write_frame(frame).await.is_err()) {
            break;
        }
    }
}
