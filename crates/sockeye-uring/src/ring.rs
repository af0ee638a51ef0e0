//! The ring on Linux.
use std::{
    fmt, io,
    marker::PhantomData,
    os::{
        fd::{AsFd, AsRawFd},
        unix::net::UnixStream,
    },
};

use io_uring::{IoUring, opcode, types};

use crate::{Outcomes, ToSend};

/// So much is tried of one send; the kernel's own bound is near, and it counts in `i32`.
const LONGEST: u32 = 1 << 30;
/// What stands for a send that the kernel has not been asked for, or has not answered.
const NOT_SENT: i32 = -libc::EAGAIN;

/// Sends batches. It belongs to the thread that has made it.
///
/// A ring of `n` entries has about `100 n` bytes, shared with the kernel.
pub struct Ring {
    /// `None` from the failure on.
    inner: Option<IoUring>,
    entries: u16,
    /// Of the batch before, at most.
    results: Vec<i32>,
    failure: Option<io::Error>,
    /// The kernel takes batches from the thread that has made the ring, and from no other.
    of_one_thread: PhantomData<*const ()>,
}

impl Ring {
    /// A ring that takes `entries` sends with one system call, rounded up to a power of two. It has been tried when this returns.
    ///
    /// # Errors
    ///
    /// Whatever the kernel says: it may be too old, `io_uring` may be switched off (`kernel.io_uring_disabled`) or be
    /// refused by a container (Docker's default profile does), or memory may be short.
    pub fn new(entries: u16) -> io::Result<Self> {
        // Kernels before 6.1 refuse these; and what follows relies on what later ones do with a socket that is full.
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_submit_all()
            .dontfork()
            .build(entries.into())?;
        let mut ring = Self {
            inner: Some(ring),
            entries: entries.checked_next_power_of_two().unwrap_or(entries),
            results: Vec::new(),
            failure: None,
            of_one_thread: PhantomData,
        };
        ring.try_out()?;
        Ok(ring)
    }

    /// Sends each in its turn, with `MSG_DONTWAIT` and without `SIGPIPE`, and says what became of each. No socket may stand in
    /// a batch twice: it could take less of the first send than there is, and then of the second what does not follow.
    ///
    /// When this returns, the kernel has nothing of `sends` any more.
    pub fn send(&mut self, sends: &[ToSend<'_>]) -> Outcomes<'_> {
        self.results.clear();
        self.results.resize(sends.len(), NOT_SENT);
        let entries = usize::from(self.entries);
        for (sends, results) in sends.chunks(entries).zip(self.results.chunks_mut(entries)) {
            let Some(ring) = &mut self.inner else { break };
            if let Err(error) = send_some(ring, sends, results) {
                // And with it go the entries that the kernel has not taken.
                self.inner = None;
                self.failure = Some(error);
            }
        }
        Outcomes(self.results.iter())
    }

    /// Why the ring is not used any more. From then on it sends nothing: every outcome is
    /// [`WouldBlock`](io::ErrorKind::WouldBlock).
    #[must_use]
    pub fn failure(&self) -> Option<&io::Error> {
        self.failure.as_ref()
    }

    /// There are systems that let a ring be made and not be used.
    fn try_out(&mut self) -> io::Result<()> {
        let (one, _other) = UnixStream::pair()?;
        let sent = self.send(&[ToSend { socket: one.as_fd(), bytes: b"?" }]).next();
        if let Some(error) = self.failure.take() {
            return Err(error);
        }
        match sent {
            Some(Ok(1)) => Ok(()),
            Some(Err(error)) => Err(error),
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

/// Has the kernel do as many sends as there are entries, at most, and waits for all of them. They do not wait for their
/// sockets, so neither does this. After an error no more may be asked of the ring.
fn send_some(ring: &mut IoUring, sends: &[ToSend<'_>], results: &mut [i32]) -> io::Result<()> {
    let mut queue = ring.submission();
    let mut unanswered = 0;
    for (place, send) in (0..).zip(sends) {
        let len = u32::try_from(send.bytes.len()).unwrap_or(LONGEST).min(LONGEST);
        let entry = opcode::Send::new(types::Fd(send.socket.as_raw_fd()), send.bytes.as_ptr(), len)
            .flags(libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
            .build()
            .user_data(place);
        // SAFETY: the memory and the descriptor must be there, and the memory unchanged, until the kernel is done with the entry.
        // - `sends` borrows both, for longer than this function runs.
        // - This function returns when every entry has been answered, or when each that has not been is still in the queue.
        //   The kernel looks at the queue in `io_uring_enter` alone, as there is no thread of its own that does
        //   (`IORING_SETUP_SQPOLL`), and that is not called again: after an error the caller drops the ring.
        // - It does not unwind in between: from the first push to the return there is no call of anybody else's code, no
        //   allocation, no index and no arithmetic that could overflow.
        // - The kernel answers an entry (`IORING_OP_SEND`, not its zero-copy relative) once, after it has copied the bytes.
        #[expect(unsafe_code, reason = "the kernel is given addresses")]
        let pushed = unsafe { queue.push(&entry) };
        if pushed.is_err() {
            break;
        }
        unanswered += 1;
    }
    drop(queue);
    while unanswered > 0 {
        let entered = ring.submit_and_wait(unanswered);
        for answer in ring.completion() {
            unanswered = unanswered.saturating_sub(1);
            if let Some(result) = usize::try_from(answer.user_data()).ok().and_then(|place| results.get_mut(place)) {
                *result = answer.result();
            }
        }
        if let Err(error) = entered
            && error.raw_os_error() != Some(libc::EINTR)
            && ring.submission().len() == unanswered
        {
            return Err(error);
        }
    }
    Ok(())
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring").field("entries", &self.entries).field("failure", &self.failure).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn a_ring_that_fails_gives_every_send_back_and_is_not_asked_again() {
        // As it would be if the kernel refused `io_uring_enter` from some moment on.
        let Ok(disabled) = IoUring::builder().setup_r_disabled().build(2) else {
            println!("there is no ring here");
            return;
        };
        let mut ring =
            Ring { inner: Some(disabled), entries: 2, results: Vec::new(), failure: None, of_one_thread: PhantomData };
        let (near, far) = UnixStream::pair().unwrap();
        let batch = [ToSend { socket: near.as_fd(), bytes: b"?" }; 5];
        for _ in 0..2 {
            let outcomes = ring.send(&batch);
            assert_eq!(outcomes.len(), 5);
            for outcome in outcomes {
                assert_eq!(outcome.unwrap_err().kind(), io::ErrorKind::WouldBlock);
            }
            assert_eq!(ring.failure().and_then(io::Error::raw_os_error), Some(libc::EBADFD));
        }
        far.set_nonblocking(true).unwrap();
        assert_eq!((&far).read(&mut [0]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
}
