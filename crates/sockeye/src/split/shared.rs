//! What the two halves of a socket share: the write side behind a [`Slot`], and a board with news for the receiver.
use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
    time::Instant,
};

use sockeye_proto::{Notice, ReceiveHalf, Reply, SendHalf, SendOutput};
use tokio::io::AsyncWrite;

use super::slot::{Settle, Slot, Wakers};
use crate::{Error, agreed::Agreed, timer::now, transfer};

pub(super) struct Shared<W: AsyncWrite + Unpin> {
    pub(super) slot: Slot<WriteSide<W>>,
    pub(super) wakers: Arc<Wakers>,
    pub(super) board: Arc<Board>,
    pub(super) agreed: Agreed,
}

/// All that writing needs. Whoever holds it writes for both.
pub(super) struct WriteSide<W> {
    pub(super) io: W,
    pub(super) half: SendHalf,
    pub(super) flush_due: Option<Instant>,
    /// The write side is to be shut down and the transport has not done it yet.
    pub(super) shutting_down: bool,
    /// What the sender has not been told.
    pub(super) failure: Option<Error>,
    /// Something is queued that the sender's task may not be there to see through: a reply, a Close frame, the last messages
    /// of a sender that was dropped.
    for_receiver: bool,
    /// Wakes whoever waits, of both.
    waker: Waker,
    wakers: Arc<Wakers>,
    board: Arc<Board>,
}

/// News from the write side for the receiver.
#[derive(Default)]
pub(super) struct Board(Mutex<News>);

#[derive(Default)]
pub(super) struct News {
    notice: Option<Notice>,
    failure: Option<io::Error>,
    /// When bytes must have left that the transport does not take.
    pub(super) write_due: Option<Instant>,
    /// Whether the receiver has to see to it that something leaves.
    pub(super) help: bool,
    /// Whether the receiver has come to the end.
    pub(super) ended: bool,
    /// Whether there is something the receiver has not heard.
    fresh: bool,
    receiver: Option<Waker>,
}

impl<W: AsyncWrite + Unpin> Shared<W> {
    pub(super) fn new(io: W, half: SendHalf, flush_due: Option<Instant>, shutting_down: bool, agreed: Agreed) -> Self {
        let wakers = Arc::new(Wakers::new());
        let board = Arc::new(Board::default());
        let mut side = WriteSide {
            io,
            half,
            flush_due,
            shutting_down,
            failure: None,
            // What was queued before the split leaves in any case.
            for_receiver: true,
            waker: Waker::from(Arc::clone(&wakers)),
            wakers: Arc::clone(&wakers),
            board: Arc::clone(&board),
        };
        side.post();
        Self { slot: Slot::new(side), wakers, board, agreed }
    }

    /// Works on the write side, for the sender.
    pub(super) fn with<R>(&self, work: impl FnOnce(&mut WriteSide<W>) -> R) -> R {
        self.slot.with(|side| {
            let result = work(side);
            side.post();
            result
        })
    }
}

/// A reply, or only the wish that what is queued be written.
impl<W: AsyncWrite + Unpin> Settle for WriteSide<W> {
    type Debt = Option<Reply>;

    fn merge(debt: &mut Option<Reply>, newer: Option<Reply>) {
        match (debt, newer) {
            (Some(debt), Some(newer)) => debt.merge(newer),
            (debt @ None, newer) => *debt = newer,
            (Some(_), None) => {}
        }
    }

    fn settle(&mut self, reply: Option<Reply>) {
        if let Some(reply) = reply {
            self.half.handle_reply(reply);
        }
        self.for_receiver = true;
        self.drive();
        self.post();
        // It may have waited for what has left now, or for what will never leave.
        self.wakers.sender.wake();
    }
}

impl<W: AsyncWrite + Unpin> WriteSide<W> {
    /// Writes, flushes and shuts down as far as the transport goes along. Deadlines that have passed are handled.
    pub(super) fn drive(&mut self) {
        if self.deadline().is_some_and(|due| due <= now()) {
            self.expire();
        }
        self.tell();
        let waker = self.waker.clone();
        let mut cx = Context::from_waker(&waker);
        if self.is_writing() && self.poll_write(&mut cx).is_pending() {
            return;
        }
        loop {
            if self.shutting_down {
                // A transport that cannot even be shut down has nothing more to say.
                if Pin::new(&mut self.io).poll_shutdown(&mut cx).is_pending() {
                    return;
                }
                self.shutting_down = false;
            }
            match self.half.poll_output() {
                SendOutput::ShutdownWrite => self.shutting_down = true,
                SendOutput::Notice(notice) => self.note(notice),
                _ => return,
            }
        }
    }

    /// The sender's receipt for what it gives up caring for: the receiver takes it over.
    pub(super) fn hand_over(&mut self) {
        self.for_receiver = true;
        self.drive();
    }

    pub(super) fn into_parts(self) -> (W, SendHalf, Option<Instant>, bool) {
        (self.io, self.half, self.flush_due, self.shutting_down)
    }

    /// Whether at most `left` bytes are queued and, if that is none, the transport holds none back either.
    pub(super) fn is_drained(&self, left: usize) -> bool {
        if left == 0 { !self.is_writing() } else { self.half.buffered_amount() <= left }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.half.deadline().into_iter().chain(self.flush_due).min()
    }

    /// Puts what sending has to tell on the board. It must stand there before bytes leave that the peer could answer.
    pub(super) fn tell(&mut self) {
        // Nothing is written here: what `poll_output` offers besides is offered again.
        if self.half.has_notice()
            && let SendOutput::Notice(notice) = self.half.poll_output()
        {
            self.note(notice);
        }
    }

    fn is_writing(&self) -> bool {
        self.half.buffered_amount() > 0 || self.flush_due.is_some()
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let result = ready!(transfer::poll_write(&mut self.io, &mut self.half, &mut self.flush_due, cx));
        if let Err(error) = result {
            self.failed(error);
        }
        Poll::Ready(())
    }

    fn expire(&mut self) {
        let now = now();
        if self.flush_due.is_some_and(|due| due <= now) {
            self.failed(io::ErrorKind::TimedOut.into());
        }
        self.half.handle_timeout(now);
    }

    fn failed(&mut self, error: io::Error) {
        self.flush_due = None;
        let same = error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error);
        self.board.change(|news| {
            news.failure.get_or_insert(same);
        });
        self.failure.get_or_insert(Error::io(error));
        self.half.handle_eof(now());
        self.tell();
    }

    fn note(&mut self, notice: Notice) {
        if let Some(error) = notice.error().filter(|error| !error.is_eof()) {
            self.failure.get_or_insert(Error::protocol(error));
        }
        self.board.change(|news| news.notice = Some(notice));
    }

    /// Tells the receiver what it has to wait for.
    fn post(&mut self) {
        self.for_receiver &= self.is_writing() || self.shutting_down;
        self.board.post(self.deadline(), self.for_receiver);
    }
}

impl Board {
    pub(super) fn lock(&self) -> MutexGuard<'_, News> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut News)) {
        let waker = {
            let mut news = self.lock();
            change(&mut news);
            news.fresh = true;
            news.receiver.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn post(&self, write_due: Option<Instant>, help: bool) {
        let concerns = {
            let mut news = self.lock();
            let concerns = (write_due.is_some() && write_due != news.write_due) || (help && !news.help);
            (news.write_due, news.help) = (write_due, help);
            concerns
        };
        if concerns {
            self.change(|_| {});
        }
    }

    /// Hands what is new to the receiving half; a failure is given back.
    pub(super) fn hear(&self, half: &mut ReceiveHalf) -> Option<io::Error> {
        let mut news = self.lock();
        news.fresh = false;
        if let Some(notice) = news.notice.take() {
            half.handle_notice(notice);
        }
        news.failure.take()
    }

    /// Ready if there is something to hear, else whoever asks is woken when there is.
    pub(super) fn poll_fresh(&self, cx: &Context<'_>) -> Poll<()> {
        let mut news = self.lock();
        if news.fresh {
            return Poll::Ready(());
        }
        match &mut news.receiver {
            Some(present) => present.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }
}
