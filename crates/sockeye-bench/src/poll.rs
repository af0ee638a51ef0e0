//! One epoll for all connections, with a timer finer than its own and an ear for Ctrl-C.

use crate::Failure;
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long a wait is at most, so that progress can be shown.
const TURN: Duration = Duration::from_millis(250);
const EVENTS: usize = 1024;
const TIMER: u64 = u64::MAX;
/// The exit status of a second Ctrl-C, as shells have it.
const INTERRUPTED: i32 = 130;

pub(crate) struct Poll {
    epoll: OwnedFd,
    timer: OwnedFd,
    events: Vec<Event>,
    interrupt: Arc<AtomicBool>,
}

impl Poll {
    /// # Errors
    ///
    /// When the kernel has no more descriptors.
    pub(crate) fn new() -> Result<Self, Failure> {
        let interrupt = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            // In this order: the first asks for an end, the second is one.
            flag::register_conditional_shutdown(signal, INTERRUPTED, Arc::clone(&interrupt))?;
            flag::register(signal, Arc::clone(&interrupt))?;
        }
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
        // Edge-triggered: nobody has to read it.
        epoll::add(&epoll, &timer, EventData::new_u64(TIMER), EventFlags::IN | EventFlags::ET)?;
        Ok(Self { epoll, timer, events: Vec::with_capacity(EVENTS), interrupt })
    }

    /// Whether somebody wants an end.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.interrupt.load(Ordering::Relaxed)
    }

    /// Tells of this socket from now on, in both directions, at each change.
    ///
    /// # Errors
    ///
    /// When the kernel has no memory.
    pub(crate) fn add(&self, socket: impl AsFd, token: usize) -> Result<(), Failure> {
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::ET;
        Ok(epoll::add(&self.epoll, socket, EventData::new_u64(token as u64), flags)?)
    }

    /// Waits until something happens, or until `wake`, or for a quarter of a second; leaves the tokens in `tokens`.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub(crate) fn wait(&mut self, wake: Option<Instant>, tokens: &mut Vec<usize>) -> Result<(), Failure> {
        tokens.clear();
        let left = wake.map_or(TURN, |wake| wake.saturating_duration_since(Instant::now()));
        if left < TURN && !left.is_zero() {
            let once = Itimerspec { it_interval: Timespec::default(), it_value: Timespec::try_from(left)? };
            timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once)?;
        }
        // epoll counts in milliseconds; what is shorter is the timer's.
        let most = if left.is_zero() { Duration::ZERO } else { TURN };
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(&Timespec::try_from(most)?)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let real = self.events.drain(..).map(|event| event.data.u64()).filter(|token| *token != TIMER);
        tokens.extend(real.filter_map(|token| usize::try_from(token).ok()));
        Ok(())
    }
}
