//! tokio-tungstenite: replies that wait go out together; buffers of the size at which it is fastest (of 4 to 256 KiB, its
//! default being 128), and 4 KiB where there are many connections, as its documentation advises.
use peers::{MAX_MESSAGE, Mode, Room, broadcast, echo, serve};
use std::sync::Arc;
use tokio::{net::TcpStream, task::spawn_local};
use tokio_tungstenite::tungstenite::{Message, protocol::WebSocketConfig};

fn main() -> std::io::Result<()> {
    let mode = Mode::of_arguments(&[Mode::Echo, Mode::Large, Mode::Idle, Mode::Broadcast]);
    let room = Arc::new(Room::default());
    serve(move |stream| connection(stream, mode, Arc::clone(&room)))
}

async fn connection(stream: TcpStream, mode: Mode, room: Arc<Room<Message>>) {
    let buffer = match mode {
        Mode::Large => 64 * 1024,
        Mode::Idle => 4 * 1024,
        _ => 16 * 1024,
    };
    let config = WebSocketConfig::default()
        .read_buffer_size(buffer)
        .write_buffer_size(buffer)
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE));
    let Ok(socket) = tokio_tungstenite::accept_async_with_config(stream, Some(config)).await else { return };
    match mode {
        Mode::Broadcast => broadcast(&room, socket, is_data).await,
        // A task of its own has no room for the handshake.
        _ => drop(spawn_local(echo(socket, is_data))),
    }
}

fn is_data(message: &Message) -> bool {
    message.is_text() || message.is_binary()
}
