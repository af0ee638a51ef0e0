//! Opening connections, many at once: TCP, TLS, the opening handshake, and a subscription where one is wanted.

use crate::Failure;
use crate::descriptors;
use crate::frames::{Frames, Heard, Whole, start};
use crate::options::Common;
use crate::poll::Poll;
use crate::progress::Progress;
use crate::target;
use crate::tls::{Trust, config};
use crate::transport::Transport;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with, sockopt};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use sockeye_proto::DeflateParams;
use sockeye_proto::handshake::{ClientRequest, HandshakeError, ReadResponse, ResponseProgress};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Handshakes under way at once where it is not they that are measured: few enough for any server's backlog.
const CONCURRENT: usize = 64;
const READ_BUFFER: usize = 64 * 1024;

/// How connections are opened.
pub(crate) struct Opener {
    server: SocketAddr,
    sources: Vec<IpAddr>,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    /// None for TCP that speaks nothing.
    request: Option<ClientRequest>,
    /// A frame to be sent after the handshake, whose answer must be an `ok`.
    hello: Option<Vec<u8>>,
    patience: Duration,
}

/// A connection that is ready to be used.
pub(crate) struct Opened {
    pub(crate) transport: Transport,
    /// None where nothing is spoken.
    pub(crate) frames: Option<Frames>,
    pub(crate) deflate: Option<DeflateParams>,
    /// What came right behind the handshake.
    pub(crate) rest: Vec<u8>,
}

/// A connection on its way.
///
/// ```text
/// Connecting ─▶ Asking ─▶ Established ─▶ (hello) Subscribing ─▶ Opened
///      └──────────────── raw ───────────────────────────────────▲
/// ```
pub(crate) struct Opening {
    transport: Option<Transport>,
    stage: Stage,
}

enum Stage {
    Connecting,
    /// The request leaves, which with TLS takes that handshake first; then the answer comes.
    Asking {
        head: Vec<u8>,
        sent: usize,
        answer: Option<ReadResponse>,
    },
    Subscribing {
        sent: usize,
        frames: Frames,
        whole: Whole,
    },
}

/// How to speak TLS with the server of these options.
fn tls(common: &Common) -> Result<ClientConfig, Failure> {
    match &common.ca {
        Some(file) => {
            let why = |error| format!("cannot use --ca {}: {error}", file.display()).into();
            config(Trust::Roots(file)).map_err(why)
        }
        None if common.insecure => config(Trust::Anybody),
        None => Err("wss: say whom to trust, with --ca FILE or --insecure".into()),
    }
}

impl Opener {
    /// WebSocket connections.
    ///
    /// # Errors
    ///
    /// When the server's name is unknown, or the options do not fit it.
    pub(crate) fn new(common: &Common, request: ClientRequest) -> Result<Self, Failure> {
        let mut opener = Self::raw(common)?;
        if common.target.is_secure() {
            let name = ServerName::try_from(common.target.host().to_owned())?;
            opener.tls = Some((Arc::new(tls(common)?), name));
        }
        opener.request = Some(request);
        Ok(opener)
    }

    /// TCP and nothing on it.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub(crate) fn raw(common: &Common) -> Result<Self, Failure> {
        let server = common.target.resolve(common.patience)?;
        let sources = target::sources(&common.from, server)?;
        Ok(Self { server, sources, tls: None, request: None, hello: None, patience: common.patience })
    }

    /// Sends this frame on each connection, and waits for an `ok`.
    pub(crate) fn hello(mut self, frame: Vec<u8>) -> Self {
        self.hello = Some(frame);
        self
    }

    /// Opens connections with these tokens, and returns when all are open.
    ///
    /// # Errors
    ///
    /// When one cannot be opened, or somebody wants an end before all are.
    pub(crate) fn open_all(&self, poll: &mut Poll, range: Range<usize>) -> Result<Vec<Opened>, Failure> {
        descriptors::allow(range.end)?;
        let (first, count) = (range.start, range.len());
        let mut slots: Vec<Option<Opening>> = Vec::with_capacity(count);
        let mut opened: Vec<Option<Opened>> = Vec::new();
        opened.resize_with(count, || None);
        let (mut done, mut tokens, mut buffer) = (0, Vec::new(), vec![0; READ_BUFFER]);
        let (mut progress, mut last) = (Progress::new(), Instant::now());
        while done < count {
            while slots.len() < count && slots.len() - done < CONCURRENT {
                let opening = self.begin(first + slots.len())?;
                poll.add(opening.transport()?, first + slots.len())?;
                slots.push(Some(opening));
            }
            poll.wait(None, &mut tokens)?;
            if poll.is_interrupted() {
                return Err(format!("interrupted when {done} of {count} connections were open").into());
            }
            for place in tokens.iter().filter_map(|token| token.checked_sub(first)) {
                let (Some(slot), Some(end)) = (slots.get_mut(place), opened.get_mut(place)) else { continue };
                let Some(opening) = slot else { continue };
                let turn = opening.turn(self, &mut buffer);
                if let Some(connection) = turn.map_err(|error| format!("connection {}: {error}", place + 1))? {
                    *slot = None;
                    *end = Some(connection);
                    done += 1;
                    last = Instant::now();
                }
            }
            if last.elapsed() > self.patience {
                let waits = slots.iter().flatten().next().map_or("nothing", Opening::waits_for);
                let waited = self.patience.as_secs_f64();
                return Err(format!("{done} of {count} connections are open; {waits} is missing for {waited} s").into());
            }
            progress.tick(Instant::now(), || format!("{done} of {count} connections open"));
        }
        Ok(opened.into_iter().flatten().collect())
    }

    /// Begins to connect, from the address whose turn it is.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub(crate) fn begin(&self, index: usize) -> Result<Opening, Failure> {
        let family = if self.server.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
        let source = index.checked_rem(self.sources.len()).and_then(|turn| self.sources.get(turn));
        if let Some(source) = source {
            bind(&socket, &SocketAddr::new(*source, 0)).map_err(|error| self.explain(error, Some(*source)))?;
        }
        match connect(&socket, &self.server) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(error) => return Err(self.explain(error, source.copied())),
        }
        let stream = TcpStream::from(socket);
        stream.set_nodelay(true)?;
        let transport = match &self.tls {
            None => Transport::Plain(stream),
            Some((config, name)) => {
                let connection = ClientConnection::new(Arc::clone(config), name.clone())?;
                Transport::Tls(Box::new(StreamOwned::new(connection, stream)))
            }
        };
        Ok(Opening { transport: Some(transport), stage: Stage::Connecting })
    }

    /// What the kernel says when it does not connect, and what to do.
    fn explain(&self, error: Errno, source: Option<IpAddr>) -> Failure {
        let server = self.server;
        match (error, source) {
            (Errno::CONNREFUSED, _) => format!("nobody listens at {server}"),
            (Errno::ADDRNOTAVAIL | Errno::ADDRINUSE, Some(source)) => {
                format!("no local port left at {source}, or no such address: give --from others")
            }
            (Errno::ADDRNOTAVAIL, None) => {
                format!("no local port left for {server}: give more than one address --from")
            }
            _ => format!("cannot connect to {server}: {error}"),
        }
        .into()
    }
}

impl Opening {
    /// The socket, for the poll.
    ///
    /// # Errors
    ///
    /// When it has been handed out.
    pub(crate) fn transport(&self) -> Result<&Transport, Failure> {
        Ok(self.transport.as_ref().ok_or("this connection is open already")?)
    }

    /// What has not happened yet.
    pub(crate) fn waits_for(&self) -> &'static str {
        match &self.stage {
            Stage::Connecting => "the TCP connection",
            Stage::Asking { sent: 0, .. } => "the TLS handshake",
            Stage::Asking { .. } => "the answer to an opening handshake",
            Stage::Subscribing { .. } => "the answer to a subscription",
        }
    }

    /// Goes as far as it can. To be called when something has happened at the socket.
    ///
    /// # Errors
    ///
    /// When the server refuses, closes, or breaks a rule.
    pub(crate) fn turn(&mut self, opener: &Opener, buffer: &mut [u8]) -> Result<Option<Opened>, Failure> {
        let transport = self.transport.as_mut().ok_or("this connection is open already")?;
        if matches!(self.stage, Stage::Connecting) {
            if let Err(error) = sockopt::socket_error(&*transport)? {
                return Err(opener.explain(error, None));
            }
            let Some(request) = &opener.request else {
                return Ok(self.transport.take().map(|transport| Opened {
                    transport,
                    frames: None,
                    deflate: None,
                    rest: Vec::new(),
                }));
            };
            // The server cannot know that the nonce is no secret.
            let (head, answer) = request.clone().start(*b"the sample nonce");
            self.stage = Stage::Asking { head: head.to_vec(), sent: 0, answer: Some(answer) };
        }
        transport.flush()?;
        if let Stage::Asking { head, sent, answer } = &mut self.stage {
            if !write(transport, head, sent)? {
                return Ok(None);
            }
            let Some(established) = ask(transport, answer, buffer)? else { return Ok(None) };
            if opener.hello.is_none() {
                let rest = established.rest.to_vec();
                return Ok(self.open(Frames::default(), established.deflate, rest));
            }
            let frames = Frames::default();
            self.stage = Stage::Subscribing { sent: 0, frames, whole: Whole::default() };
        }
        let (Stage::Subscribing { sent, frames, whole }, Some(hello)) = (&mut self.stage, &opener.hello) else {
            return Ok(None);
        };
        if write(transport, hello, sent)? && subscribed(transport, frames, whole, buffer)? {
            let frames = std::mem::take(frames);
            return Ok(self.open(frames, None, Vec::new()));
        }
        Ok(None)
    }

    fn open(&mut self, frames: Frames, deflate: Option<DeflateParams>, rest: Vec<u8>) -> Option<Opened> {
        self.transport.take().map(|transport| Opened { transport, frames: Some(frames), deflate, rest })
    }
}

/// Whether all has left.
fn write(transport: &mut Transport, bytes: &[u8], sent: &mut usize) -> Result<bool, Failure> {
    while *sent < bytes.len() {
        match transport.write(bytes.get(*sent..).unwrap_or_default()) {
            Ok(count) => *sent += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(lost(&error)),
        }
    }
    Ok(true)
}

fn ask(
    transport: &mut Transport,
    answer: &mut Option<ReadResponse>,
    buffer: &mut [u8],
) -> Result<Option<sockeye_proto::handshake::Established>, Failure> {
    while let Some(waiting) = answer.take() {
        match transport.read(buffer) {
            Ok(0) => return Err(refused(&waiting.handle_eof())),
            Ok(count) => match waiting.handle_input(buffer.get(..count).unwrap_or_default()) {
                Ok(ResponseProgress::Done(established)) => return Ok(Some(established)),
                Ok(ResponseProgress::More(waiting)) => *answer = Some(waiting),
                Err(error) => return Err(refused(&error)),
            },
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                *answer = Some(waiting);
                return Ok(None);
            }
            Err(error) => return Err(lost(&error)),
        }
    }
    Ok(None)
}

fn subscribed(
    transport: &mut Transport,
    frames: &mut Frames,
    whole: &mut Whole,
    buffer: &mut [u8],
) -> Result<bool, Failure> {
    let mut done = false;
    loop {
        match transport.read(buffer) {
            Ok(0) => return Err("the server closed the connection after the handshake".into()),
            Ok(count) => frames.take(buffer.get(..count).unwrap_or_default(), |heard| {
                let Heard::Piece(piece) = heard else { return Ok(()) };
                match whole.take(&piece, |text| (text.windows(4).any(|ok| ok == b"\"ok\""), start(text))) {
                    Some((true, _)) if !done => done = true,
                    Some((_, text)) => return Err(format!("not subscribed: {text}").into()),
                    None => {}
                }
                Ok(())
            })?,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(done),
            Err(error) => return Err(lost(&error)),
        }
    }
}

/// A handshake that failed, with what the server says of it.
fn refused(error: &HandshakeError) -> Failure {
    let body = error.response().map(|response| start(response.body())).filter(|body| !body.is_empty());
    match body {
        Some(body) => format!("handshake refused: {error}: {body}").into(),
        None => format!("handshake refused: {error}").into(),
    }
}

fn lost(error: &io::Error) -> Failure {
    format!("the connection was lost in its handshake: {error}").into()
}
