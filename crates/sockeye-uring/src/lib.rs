//! Many sends in one system call, through `io_uring`: what a server does that tells a thousand sockets the same thing.
//!
//! A [`Ring`] takes a batch of sends, hands it to the kernel, and says what became of each. It is synchronous and waits for
//! nobody: a socket that is full answers at once, as it does to `send` with `MSG_DONTWAIT`, and what it did not take is for
//! the caller to send in its own way. So it stands beside an ordinary event loop and replaces none of it.
//!
//! Whether there is a ring is found out by making one: [`Ring::new`] fails on other systems, on kernels before 6.1, and where
//! an administrator or a container refuses `io_uring`. Whoever uses it keeps the ordinary way.
//!
//! ```
//! use std::{
//!     io::Read,
//!     net::{TcpListener, TcpStream},
//!     os::fd::AsFd,
//! };
//!
//! use sockeye_uring::{Ring, ToSend};
//!
//! # fn main() -> std::io::Result<()> {
//! let listener = TcpListener::bind("127.0.0.1:0")?;
//! let mut client = TcpStream::connect(listener.local_addr()?)?;
//! let (socket, _) = listener.accept()?;
//!
//! if let Ok(mut ring) = Ring::new(64) {
//!     for sent in ring.send(&[ToSend { socket: socket.as_fd(), bytes: b"hello" }]) {
//!         assert_eq!(sent?, 5);
//!     }
//!     let mut bytes = [0; 5];
//!     client.read_exact(&mut bytes)?;
//!     assert_eq!(&bytes, b"hello");
//! }
//! # Ok(())
//! # }
//! ```
//!
//! This is the one crate of the workspace that may contain `unsafe`. All of it is in `src/ring.rs`.

#[cfg_attr(
    all(
        target_os = "linux",
        any(
            target_arch = "x86_64",
            target_arch = "aarch64",
            target_arch = "riscv64",
            target_arch = "loongarch64",
            target_arch = "powerpc64"
        )
    ),
    path = "ring.rs"
)]
#[cfg_attr(
    not(all(
        target_os = "linux",
        any(
            target_arch = "x86_64",
            target_arch = "aarch64",
            target_arch = "riscv64",
            target_arch = "loongarch64",
            target_arch = "powerpc64"
        )
    )),
    path = "absent.rs"
)]
mod ring;

use std::{io, slice};

pub use ring::Ring;

#[cfg(unix)]
use std::os::fd::BorrowedFd;

/// Bytes for a socket.
#[derive(Clone, Copy, Debug)]
pub struct ToSend<'a> {
    /// Which one.
    #[cfg(unix)]
    pub socket: BorrowedFd<'a>,
    /// No more than 1 GiB of them is tried.
    pub bytes: &'a [u8],
}

/// What became of each send of a batch, in the order of the batch.
///
/// `Ok` is how many bytes the socket has taken, which may be fewer than there were.
/// [`WouldBlock`](io::ErrorKind::WouldBlock) means that it has taken none, or has not been asked; then it is for the caller to
/// try in its own way. Other errors are those of `send`.
#[derive(Debug)]
pub struct Outcomes<'a>(slice::Iter<'a, i32>);

impl Iterator for Outcomes<'_> {
    type Item = io::Result<usize>;

    fn next(&mut self) -> Option<Self::Item> {
        // The kernel's way: a count, or an error below zero.
        self.0.next().map(|&result| usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl ExactSizeIterator for Outcomes<'_> {}
