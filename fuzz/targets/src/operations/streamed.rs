//! Messages that are read and written in parts.
use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use sockeye::{Error, MessageKind, MessageReader, MessageWriter, ReadyState, WebSocket};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    account::{Begun, Taken},
    world::World,
};
use crate::{input::scaled, transport::Pipe};

/// What an `AsyncRead` is given room for, shorter than most messages.
const ROOM: usize = 7;

impl World<'_> {
    /// Some parts of the next message, or of the one that a reader has left.
    pub(super) async fn read(&mut self, socket: &mut WebSocket<Pipe>) {
        let mut reader = match self.drive(socket.reader()).await {
            None => return,
            Some(Ok(Some(reader))) => reader,
            Some(Ok(None)) => return assert_eq!(socket.ready_state(), ReadyState::Closed),
            Some(Err(error)) => return self.judge(socket, Err(error)),
        };
        let kind = reader.kind();
        self.account.begin_reading(kind);
        for _ in 0..self.choices.below(5) {
            let result = if self.choices.below(3) == 0 {
                self.drive(poll_fn(|cx| poll_read(&mut reader, cx))).await
            } else {
                self.drive(reader.read()).await
            };
            match result {
                None => {}
                Some(Ok(Some(bytes))) => self.account.read(kind, &bytes),
                Some(Ok(None)) => return self.account.finish_reading(),
                Some(Err(error)) => {
                    self.account.leave();
                    return self.judge(socket, Err(error));
                }
            }
        }
    }

    /// Some parts of a message, or of the one that a writer has left.
    pub(super) async fn write(&mut self, socket: &mut WebSocket<Pipe>) {
        let begun = self.account.begun.take();
        let mut begun = begun.unwrap_or_else(|| Begun { message: self.message(), written: 0 });
        let kind = if begun.message.is_text() { MessageKind::Text } else { MessageKind::Binary };
        for _ in 0..=self.choices.below(4) {
            // The kind of a message that was begun stays.
            let mut writer = socket.writer(if begun.written > 0 { other(kind) } else { kind });
            assert_eq!(writer.kind(), kind);
            let rest = &begun.message.as_bytes()[begun.written..];
            if rest.is_empty() {
                return self.finish_writing(socket, begun, kind).await;
            }
            let part = &rest[..scaled(self.choices.byte()).clamp(1, rest.len())];
            let result = if self.choices.below(2) == 0 {
                let written = self.drive(writer.write(Bytes::copy_from_slice(part))).await;
                written.map(|written| written.map(|()| part.len()))
            } else {
                let written = self.drive(poll_fn(|cx| Pin::new(&mut writer).poll_write(cx, part))).await;
                written.map(|written| written.map_err(inner))
            };
            match result {
                // A part that was taken is taken at once.
                None => {}
                Some(Ok(count)) => begun.written += count,
                Some(Err(error)) => {
                    self.judge(socket, Err(error));
                    break;
                }
            }
        }
        self.account.begun = Some(begun);
    }

    async fn finish_writing(&mut self, socket: &mut WebSocket<Pipe>, begun: Begun, kind: MessageKind) {
        let mut writer = socket.writer(kind);
        let finished = if self.choices.below(2) == 0 {
            self.drive(writer.finish()).await
        } else {
            self.drive(poll_fn(|cx| poll_shutdown(&mut writer, cx))).await
        };
        // The next writer tells whether the end was taken.
        let is_open = socket.writer(other(kind)).kind() == kind;
        if is_open {
            assert!(!matches!(finished, Some(Ok(()))), "finished, and yet open");
            self.account.begun = Some(begun);
        } else {
            let taken = if matches!(finished, Some(Err(_))) { Taken::Perhaps } else { Taken::Certainly };
            self.account.given(begun.message, taken);
        }
        self.judge(socket, finished.unwrap_or(Ok(())));
    }
}

fn poll_read(reader: &mut MessageReader<'_, Pipe>, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Error>> {
    let mut room = [0; ROOM];
    let mut buf = ReadBuf::new(&mut room);
    ready!(Pin::new(reader).poll_read(cx, &mut buf)).map_err(inner)?;
    let bytes = Bytes::copy_from_slice(buf.filled());
    Poll::Ready(Ok(Some(bytes).filter(|bytes| !bytes.is_empty())))
}

fn poll_shutdown(writer: &mut MessageWriter<'_, Pipe>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
    Pin::new(writer).poll_shutdown(cx).map_err(inner)
}

/// Why it failed, of which the `io::Error` is the wrapping.
fn inner(error: io::Error) -> Error {
    *error.into_inner().expect("a source").downcast().expect("the library's error")
}

fn other(kind: MessageKind) -> MessageKind {
    if kind == MessageKind::Text { MessageKind::Binary } else { MessageKind::Text }
}
