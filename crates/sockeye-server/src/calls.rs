//! Handlers of the program's own: what a client's `call` reaches.
use std::{collections::HashMap, fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use crate::dialect::{ErrorCode, Problem};

type Answer = Pin<Box<dyn Future<Output = Result<Bytes, CallError>> + Send>>;
type Handler = Arc<dyn Fn(Call) -> Answer + Send + Sync>;

/// The methods that clients can `call`, by name.
///
/// A handler runs among the connections of the caller's worker: what takes long or blocks belongs into
/// [`tokio::task::spawn_blocking`].
///
/// ```
/// use sockeye_server::{Call, CallError, Calls, ServerOptions, Site};
///
/// let mut options = ServerOptions::new(Site::Server);
/// options.calls = Calls::new().on("sum", |call: Call| async move {
///     let numbers: Vec<f64> = call.data()?;
///     if numbers.is_empty() {
///         return Err(CallError::bad_request("of what?"));
///     }
///     Ok(numbers.iter().sum::<f64>())
/// });
/// ```
#[derive(Clone)]
pub struct Calls {
    handlers: HashMap<Box<str>, Handler>,
    /// What a handler may take; then the caller is told `timeout`, and the handler is dropped. Default: 10 s.
    pub timeout: Duration,
    /// Calls of one connection that may be running; more are answered with `limit`. Default: 16.
    pub per_connection: u16,
    /// Calls of all connections of one worker that may be running; more are answered with `limit`. Default: 1,024.
    pub per_worker: usize,
}

/// One call.
#[derive(Clone, Debug)]
pub struct Call {
    data: Bytes,
    user: Option<Arc<str>>,
    session: String,
}

/// Why a call was not done, as the caller is told.
#[derive(Clone, Debug)]
pub struct CallError(Problem);

impl Default for Calls {
    fn default() -> Self {
        Self { handlers: HashMap::new(), timeout: Duration::from_secs(10), per_connection: 16, per_worker: 1_024 }
    }
}

impl Calls {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// And this one. What it returns is answered as JSON; one of the same name is replaced.
    #[must_use]
    pub fn on<F, R, T>(mut self, method: &str, handler: F) -> Self
    where
        F: Fn(Call) -> R + Send + Sync + 'static,
        R: Future<Output = Result<T, CallError>> + Send + 'static,
        T: Serialize,
    {
        let handler = move |call| {
            let answer = handler(call);
            let json = async move {
                let answer = answer.await?;
                serde_json::to_vec(&answer).map(Bytes::from).map_err(|_| CallError::internal("the answer is no JSON"))
            };
            Box::pin(json) as Answer
        };
        self.handlers.insert(method.into(), Arc::new(handler));
        self
    }

    /// Begins a call; `None` if there is no such method.
    pub(crate) fn begin(&self, method: &str, call: Call) -> Option<Answer> {
        self.handlers.get(method).map(|handler| handler(call))
    }
}

impl Call {
    pub(crate) fn new(data: Bytes, user: Option<Arc<str>>, session: String) -> Self {
        Self { data, user, session }
    }

    /// What the caller sent, `null` if nothing.
    ///
    /// # Errors
    /// `bad_request` if it has another form; to be returned to the caller.
    pub fn data<T: DeserializeOwned>(&self) -> Result<T, CallError> {
        serde_json::from_slice(&self.data).map_err(|_| CallError::bad_request("data is not what this method takes"))
    }

    /// The same as it came: one JSON value, well formed.
    #[must_use]
    pub fn json(&self) -> &[u8] {
        &self.data
    }

    /// Who calls; `None` is anonymous.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// The name of the connection, as others see it.
    #[must_use]
    pub fn session(&self) -> &str {
        &self.session
    }
}

impl CallError {
    /// What the caller sent makes no sense.
    #[must_use]
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::of(ErrorCode::BadRequest, message)
    }

    /// The caller may not.
    #[must_use]
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::of(ErrorCode::Forbidden, message)
    }

    /// What the call is about is not there.
    #[must_use]
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::of(ErrorCode::NotFound, message)
    }

    /// Not now; whether it was done is not known.
    #[must_use]
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::of(ErrorCode::Unavailable, message)
    }

    /// A fault of this program.
    #[must_use]
    pub fn internal(message: impl Into<String>) -> Self {
        Self::of(ErrorCode::Internal, message)
    }

    fn of(code: ErrorCode, message: impl Into<String>) -> Self {
        Self(Problem { code, message: message.into().into(), retry_after: None })
    }

    pub(crate) fn into_problem(self) -> Problem {
        self.0
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.code.as_str(), self.0.message)
    }
}

impl std::error::Error for CallError {}

impl fmt::Debug for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Calls").field("methods", &self.handlers.keys()).finish_non_exhaustive()
    }
}
