//! axum: its `WebSocket` in a handler, with the settings of tokio-tungstenite, which is inside.
use axum::extract::ws::{Message, WebSocketUpgrade};
use axum::{Router, routing::get, serve::ListenerExt};
use peers::{MAX_MESSAGE, Mode, Room, broadcast, echo, listen};
use std::sync::Arc;

fn main() -> std::io::Result<()> {
    let mode = Mode::of_arguments(&[Mode::Echo, Mode::Large, Mode::Idle, Mode::Broadcast]);
    let buffer = match mode {
        Mode::Large => 64 * 1024,
        Mode::Idle => 4 * 1024,
        _ => 16 * 1024,
    };
    let room = Arc::new(Room::default());
    let handler = move |upgrade: WebSocketUpgrade| {
        let upgrade = upgrade
            .read_buffer_size(buffer)
            .write_buffer_size(buffer)
            .max_message_size(MAX_MESSAGE)
            .max_frame_size(MAX_MESSAGE);
        async move {
            upgrade.on_upgrade(async move |socket| match mode {
                Mode::Broadcast => broadcast(&room, socket, is_data).await,
                _ => echo(socket, is_data).await,
            })
        }
    };
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let listener = listen().await?.tap_io(|stream| drop(stream.set_nodelay(true)));
        axum::serve(listener, Router::new().route("/", get(handler))).await
    })
}

fn is_data(message: &Message) -> bool {
    matches!(message, Message::Text(_) | Message::Binary(_))
}
