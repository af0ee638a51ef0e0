//! Standard output and error behind a thread: a reader that stalls must not keep the program from its signals, its clock
//! and its connection.
use std::{
    io::{self, Write},
    sync::mpsc::{self, Receiver, Sender},
    thread,
};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Hands on what is to be written, in order. What it costs to keep meanwhile is counted by who hands it over.
pub(super) struct Writer(Sender<Chunk>);

/// The costs of what has been written; ends after the first error.
pub(super) type Written = UnboundedReceiver<io::Result<usize>>;

struct Chunk {
    stream: Stream,
    bytes: Vec<u8>,
    cost: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    Output,
    /// Errors here are nobody's: there is no place to tell them.
    Error,
}

impl Writer {
    pub(super) fn start() -> (Self, Written) {
        let (sender, chunks) = mpsc::channel();
        let (written, receiver) = unbounded_channel();
        // Never joined: it may hang in a write when the program ends.
        thread::spawn(move || write_all(&chunks, &written));
        (Self(sender), receiver)
    }

    pub(super) fn write(&self, stream: Stream, bytes: Vec<u8>, cost: usize) {
        // It has ended if it failed, and has told so.
        let _ = self.0.send(Chunk { stream, bytes, cost });
    }
}

fn write_all(chunks: &Receiver<Chunk>, written: &UnboundedSender<io::Result<usize>>) {
    for Chunk { stream, bytes, cost } in chunks {
        let result = write(stream, &bytes);
        let failed = result.is_err();
        if written.send(result.map(|()| cost)).is_err() || failed {
            return;
        }
    }
}

/// Writes now.
pub(super) fn write(stream: Stream, bytes: &[u8]) -> io::Result<()> {
    match stream {
        Stream::Output => {
            let mut out = io::stdout().lock();
            out.write_all(bytes)?;
            out.flush()
        }
        Stream::Error => {
            let _ = io::stderr().write_all(bytes);
            Ok(())
        }
    }
}
