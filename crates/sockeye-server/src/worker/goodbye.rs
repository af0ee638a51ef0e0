//! How connections that are no sessions hear that the server stops.
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    task::{Context, Poll, Waker},
};

use slab::Slab;

/// Those of one worker that want to hear it. A waker in this list is a third of what each would have to keep to wait for the
/// server's token itself.
#[derive(Default)]
pub(super) struct Goodbyes {
    is_said: Cell<bool>,
    waiting: RefCell<Slab<Waker>>,
}

/// One of them.
pub(crate) struct Goodbye {
    list: Rc<Goodbyes>,
    /// Its place in the list.
    place: Option<u32>,
}

impl Goodbyes {
    pub(super) fn listen(self: &Rc<Self>) -> Goodbye {
        Goodbye { list: Rc::clone(self), place: None }
    }

    pub(super) fn say(&self) {
        self.is_said.set(true);
        // One that is woken may leave at once.
        let waiting = self.waiting.borrow();
        let wakers: Vec<_> = waiting.iter().map(|(_, waker)| waker.clone()).collect();
        drop(waiting);
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl Goodbye {
    /// Ready once it was said.
    pub(crate) fn poll_said(&mut self, cx: &Context<'_>) -> Poll<()> {
        if self.list.is_said.get() {
            return Poll::Ready(());
        }
        let mut waiting = self.list.waiting.borrow_mut();
        match self.place.and_then(|place| waiting.get_mut(place as usize)) {
            Some(waker) => waker.clone_from(cx.waker()),
            // More than these have no descriptors.
            None => self.place = u32::try_from(waiting.insert(cx.waker().clone())).ok(),
        }
        Poll::Pending
    }
}

impl Drop for Goodbye {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            let waker = self.list.waiting.borrow_mut().try_remove(place as usize);
            // Outside of the borrow, as it may be the last of its task.
            drop(waker);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        task::Wake,
    };

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn it_is_heard_once_by_who_waits_and_at_once_by_who_comes_later() {
        let list = Rc::new(Goodbyes::default());
        let [here, elsewhere] = [(); 2].map(|()| Arc::new(Count::default()));
        let (waker, other) = (Waker::from(Arc::clone(&here)), Waker::from(Arc::clone(&elsewhere)));
        let (mut stays, mut goes, mut turns) = (list.listen(), list.listen(), list.listen());
        for waiting in [&mut stays, &mut goes, &mut turns, &mut list.listen()] {
            assert!(waiting.poll_said(&Context::from_waker(&waker)).is_pending());
        }
        assert!(turns.poll_said(&Context::from_waker(&other)).is_pending());
        drop(goes);
        list.say();
        assert_eq!((here.0.load(Ordering::Relaxed), elsewhere.0.load(Ordering::Relaxed)), (1, 1));
        for mut listening in [stays, turns, list.listen()] {
            assert!(listening.poll_said(&Context::from_waker(&waker)).is_ready());
        }
        assert!(list.waiting.borrow().is_empty());
    }
}
