//! All conversations of a server of one kind, by name.
use std::{
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use sockeye_pipe::{
    AttachError, Binding, Config, Conversation, Conversations, Framing, Limits, Missing, OpenError, ReceiverKind,
    Resume,
};
use tokio_util::sync::CancellationToken;

use super::{
    end::{End, Texts},
    shared::{Held, Pipe, Receiver, now},
};

/// Conversations by name, whichever worker their sessions live on.
pub(crate) struct Registry<K, F>(Mutex<Conversations<K, Arc<Pipe<F>>>>);

/// A place in a registry, until dropped.
pub(super) trait Listed: Send {}

struct Place<K: Name, F> {
    registry: Arc<Registry<K, F>>,
    name: K,
}

/// What conversations can be named by.
pub(crate) trait Name: Clone + Eq + Hash + Ord + Send + 'static {}

impl<K: Clone + Eq + Hash + Ord + Send + 'static> Name for K {}

/// A conversation that is to be opened.
pub(crate) struct Opening<K, F> {
    pub(crate) name: K,
    pub(crate) binding: Binding,
    pub(crate) config: Arc<Config>,
    /// How little has to be queued for its session to go on.
    pub(crate) high_water: usize,
    pub(crate) texts: Texts,
    /// Whether its client may come back to hear why it is over.
    pub(crate) lingers: bool,
    /// Of the response that opens it.
    pub(crate) framing: F,
    pub(crate) kind: ReceiverKind,
    pub(crate) held: Held,
}

impl<K: Name, F: Framing + Send + 'static> Registry<K, F> {
    pub(crate) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Conversations::new(limits))))
    }

    /// Opens a conversation: an end for its session, and the first receiver for its client.
    ///
    /// # Errors
    /// The name is taken, or there are too many.
    pub(crate) fn open(
        self: &Arc<Self>,
        opening: Opening<K, F>,
        stop: &CancellationToken,
    ) -> Result<(End<F>, Receiver<F>), OpenError> {
        let Opening { name, binding, config, high_water, texts, lingers, framing, kind, held } = opening;
        let pipe = Arc::new(Pipe::new(Conversation::new(now(), config), high_water));
        self.lock().open(name.clone(), binding, Arc::clone(&pipe))?;
        let place = Box::new(Place { registry: Arc::clone(self), name });
        let end = End::new(Arc::clone(&pipe), (texts, lingers), stop.clone(), place);
        match pipe.attach(framing, kind, Resume::Unchecked, held) {
            Ok(receiver) => Ok((end, receiver)),
            // There is nobody else who could have it.
            Err(AttachError::Busy(_) | AttachError::Gone) => Err(OpenError::Taken),
        }
    }

    /// The conversation of that name, if it is this binding's.
    ///
    /// # Errors
    /// It is not, or wrong names have been tried too often.
    pub(crate) fn find(&self, now: Instant, name: &K, binding: &Binding) -> Result<Arc<Pipe<F>>, Missing> {
        self.lock().find(now, name, binding).map(|pipe| Arc::clone(pipe))
    }
}

impl<K, F> Registry<K, F> {
    /// For those that need more of it than [`find`](Self::find), such as to open what is not there.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Conversations<K, Arc<Pipe<F>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Name, F: Send> Listed for Place<K, F> {}

impl<K: Name, F> Drop for Place<K, F> {
    fn drop(&mut self) {
        let pipe = self.registry.lock().remove(&self.name);
        // Outside of the lock.
        drop(pipe);
    }
}
