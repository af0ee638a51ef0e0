//! Close: whoever comes is told to go. Tests of SockJS want it.
use std::future::poll_fn;

use sockeye::CloseCode;

use crate::talk::Talk;

/// One of those that are free for applications.
const GO_AWAY: u16 = 3000;

pub(crate) async fn run<S: Talk>(socket: &mut S) {
    socket.start_close(CloseCode::new(GO_AWAY).unwrap_or(CloseCode::NORMAL), "Go away!");
    while let Some(Ok(_)) = poll_fn(|cx| socket.poll_recv(cx)).await {}
}
