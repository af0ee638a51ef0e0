//! Conversations in virtual time: who hears nothing, who takes nothing, and who is gone.
use std::{
    future::poll_fn,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use sockeye::{CloseCode, Message};
use sockeye_pipe::{
    Binding, Config, Limits, Numbering, Output, ReceiverKind, Resume,
    native::{Transport, Wire},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    net::{TcpListener, TcpStream},
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    answer::head,
    http1::Writing,
    shared::{Outflow, Receiver},
    *,
};
use crate::talk::Talk;

const NAME: u128 = 7;

fn wire(transport: Transport) -> Wire {
    let id = ConversationId::from_random(NAME.to_be_bytes());
    Wire { transport, id, heartbeat: Duration::from_secs(25) }
}

type Places = Arc<Registry<ConversationId, Wire>>;

/// A conversation of ours, and the place that it has.
fn open(transport: Transport, held: Held) -> (End<Wire>, Receiver<Wire>, Places) {
    let places = Registry::new(Limits::default());
    let kind = match transport {
        Transport::Poll => ReceiverKind::Poll,
        _ => ReceiverKind::Streaming { limit: usize::MAX },
    };
    let opening = Opening {
        name: wire(transport).id,
        binding: binding(),
        config: Arc::new(Config { max_queued_bytes: usize::MAX, ..Config::native() }),
        high_water: 1024,
        texts: Texts::Plain,
        lingers: true,
        framing: wire(transport),
        kind,
        held,
    };
    let (end, receiver) = places.open(opening, &CancellationToken::new()).unwrap();
    (end, receiver, places)
}

fn binding() -> Binding {
    Binding::new([1; 32])
}

fn is_there(places: &Places) -> bool {
    places.find(Instant::now().into_std(), &wire(Transport::Stream).id, &binding()).is_ok()
}

fn writing(receiver: Receiver<Wire>, transport: Transport, room: usize) -> (Writing<DuplexStream>, DuplexStream) {
    let (near, far) = duplex(room);
    let is_poll = transport == Transport::Poll;
    let answer = Streaming { head: head("x/x"), prelude: Bytes::new(), body: Box::new(receiver), is_poll };
    (Writing::new(near, (answer, http::Version::HTTP_11), Bytes::new(), Duration::from_secs(10)), far)
}

/// The session's end until it is over, saying whether that was clean.
async fn run(mut end: End<Wire>) -> bool {
    let mut is_clean = true;
    while let Some(event) = poll_fn(|cx| end.poll_recv(cx)).await {
        is_clean &= event.is_ok();
    }
    is_clean
}

fn say(end: &mut End<Wire>, text: String) {
    end.try_send(Message::text(text)).unwrap();
    assert!(end.poll_flush(&mut Context::from_waker(Waker::noop())).is_ready());
}

async fn duplex_of_tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (near, far) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
    (near.unwrap(), far.unwrap().0)
}

/// Whether a waker was woken.
#[derive(Default)]
struct Woken(AtomicBool);

impl Woken {
    fn waker() -> (Waker, Arc<Self>) {
        let woken = Arc::new(Self::default());
        (Waker::from(Arc::clone(&woken)), woken)
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The next that a response has to do.
async fn output(receiver: &mut Receiver<Wire>) -> Output {
    poll_fn(|cx| receiver.poll_output(cx, 1024)).await
}

#[tokio::test(start_paused = true)]
async fn who_hears_nothing_hears_a_heartbeat() {
    let (end, mut receiver, _places) = open(Transport::Stream, Box::new(()));
    let session = tokio::spawn(run(end));
    assert!(matches!(output(&mut receiver).await, Output::Write(_)), "that it is open");
    let start = Instant::now();
    for beat in 1..=5 {
        assert_eq!(output(&mut receiver).await, Output::Write("\n".into()));
        assert_eq!(start.elapsed().as_secs(), 25 * beat);
    }
    drop(receiver);
    assert!(!session.await.unwrap(), "its client did not come back");
    assert_eq!(start.elapsed().as_secs(), 130);
}

/// Attack line E1, where nobody is asked for output, as by hyper while a window is shut.
#[tokio::test(start_paused = true)]
async fn a_response_that_is_never_polled_is_given_up_with_what_it_held() {
    struct Note(Arc<AtomicBool>);
    impl Drop for Note {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    for says in [0, 1, 2] {
        let is_given_up = Arc::new(AtomicBool::new(false));
        let (mut end, mut receiver, places) = open(Transport::Stream, Box::new(Note(Arc::clone(&is_given_up))));
        assert!(matches!(output(&mut receiver).await, Output::Write(_)), "that it is open");
        assert!(timeout(Duration::ZERO, output(&mut receiver)).await.is_err());
        for number in 0..says {
            say(&mut end, format!("[{number}]"));
        }
        let start = Instant::now();
        assert!(!run(end).await);
        // A heartbeat that is not taken begins the watch at the latest, and then it has as long to come back.
        let most = if says == 2 { 10 + 5 } else { 25 + 10 + 5 };
        assert_eq!(start.elapsed().as_secs(), most, "{says}");
        assert!(is_given_up.load(Ordering::Relaxed) && !is_there(&places));
        assert_eq!(output(&mut receiver).await, Output::Cut);
    }
}

/// Over HTTP/2 nothing else has a clock for the last frame.
#[tokio::test(start_paused = true)]
async fn a_response_whose_last_frame_is_never_taken_is_given_up() {
    let (mut end, mut receiver, places) = open(Transport::Poll, Box::new(()));
    assert!(matches!(output(&mut receiver).await, Output::Last(_)), "that it is open");
    let session = tokio::spawn(async move {
        end.try_send(Message::text("[1]")).unwrap();
        run(end).await
    });
    let start = Instant::now();
    let is_clean = timeout(Duration::from_secs(600), session).await.expect("it has an end");
    assert!(!is_clean.unwrap());
    assert_eq!(start.elapsed().as_secs(), 30 + 5);
    assert!(!is_there(&places));
}

/// Attack line E3.
#[tokio::test(start_paused = true)]
async fn a_stream_whose_socket_takes_nothing_is_cut() {
    let (mut end, receiver, _places) = open(Transport::Stream, Box::new(()));
    let (writing, _far) = writing(receiver, Transport::Stream, 16);
    say(&mut end, "x".repeat(1000));
    let session = tokio::spawn(run(end));
    let start = Instant::now();
    assert!(writing.await.is_err());
    assert_eq!(start.elapsed().as_secs(), 10);
    assert!(!session.await.unwrap());
}

/// The conversation does not watch over what it has handed out for good.
#[tokio::test(start_paused = true)]
async fn the_end_of_a_response_has_its_time_and_is_said_again() {
    let (mut end, receiver, places) = open(Transport::Poll, Box::new(()));
    let (first, mut far) = writing(receiver, Transport::Poll, 1024);
    let mut read = vec![0; 4096];
    let (first, _) = tokio::join!(first, far.read(&mut read));
    first.unwrap();
    let pipe = places.find(std::time::Instant::now(), &wire(Transport::Poll).id, &binding()).unwrap();
    let attach = || pipe.attach(wire(Transport::Poll), ReceiverKind::Poll, Resume::After(0), Box::new(())).unwrap();
    let (poll, _far) = writing(attach(), Transport::Poll, 16);
    say(&mut end, format!("[{}]", "1,".repeat(500)));
    let session = tokio::spawn(run(end));
    let start = Instant::now();
    assert!(poll.await.is_err());
    assert_eq!(start.elapsed().as_secs(), 10);
    let (poll, mut far) = writing(attach(), Transport::Poll, 4096);
    let (poll, count) = tokio::join!(poll, far.read(&mut read));
    poll.unwrap();
    assert!(read[..count.unwrap()].ends_with(b"1,]]"), "it is said again");
    drop(pipe);
    assert!(!session.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn that_a_client_leaves_is_noticed_while_nothing_is_said() {
    let (end, receiver, _places) = open(Transport::Stream, Box::new(()));
    let (writing, mut far) = writing(receiver, Transport::Stream, 4096);
    let session = tokio::spawn(run(end));
    let start = Instant::now();
    far.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    drop(far);
    assert!(writing.await.is_err());
    assert!(start.elapsed() < Duration::from_secs(1));
    assert!(!session.await.unwrap());
    assert_eq!(start.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_gone_leaves_nobody_waiting_and_no_entry() {
    let (end, mut receiver, places) = open(Transport::Stream, Box::new(()));
    assert!(matches!(output(&mut receiver).await, Output::Write(_)));
    let waiting = tokio::spawn(async move { output(&mut receiver).await });
    tokio::task::yield_now().await;
    assert!(is_there(&places));
    drop(end);
    assert_eq!(waiting.await.unwrap(), Output::Cut);
    assert!(!is_there(&places));
}

#[tokio::test(start_paused = true)]
async fn a_session_goes_on_when_little_enough_is_queued() {
    let (mut end, mut receiver, _places) = open(Transport::Stream, Box::new(()));
    assert!(matches!(output(&mut receiver).await, Output::Write(_)));
    for _ in 0..2 {
        say(&mut end, "x".repeat(1100));
    }
    let session = tokio::spawn(async move {
        let is_ready = poll_fn(|cx| end.poll_ready(cx)).await.is_ok();
        end.start_close(CloseCode::NORMAL, "bye");
        (is_ready, run(end).await)
    });
    tokio::task::yield_now().await;
    assert!(!session.is_finished());
    assert!(matches!(output(&mut receiver).await, Output::Write(_)));
    tokio::task::yield_now().await;
    let Output::Write(second) = output(&mut receiver).await else { panic!("it goes on") };
    assert_eq!(second.len(), 1101);
    assert_eq!(output(&mut receiver).await, Output::Last("{\"close\":{\"code\":1000,\"reason\":\"bye\"}}\n".into()));
    receiver.finished();
    assert_eq!(session.await.unwrap(), (true, true));
}

#[tokio::test(start_paused = true)]
async fn who_waits_to_say_something_waits_no_longer_than_anybody_listens() {
    let (mut end, _receiver, places) = open(Transport::Stream, Box::new(()));
    let pipe = places.find(Instant::now().into_std(), &wire(Transport::Stream).id, &binding()).unwrap();
    let most = Config::native().max_received_messages;
    pipe.receive(Numbering::Unnumbered, vec!["[]".into(); most], None).unwrap();
    let saying = tokio::spawn(async move { pipe.receive_within(Duration::from_secs(10), vec!["[]".into()]).await });
    tokio::task::yield_now().await;
    let start = Instant::now();
    end.start_close(CloseCode::NORMAL, "bye");
    assert_eq!(saying.await.unwrap(), Ok(()), "it is taken and forgotten");
    assert_eq!(start.elapsed(), Duration::ZERO);
}

/// Between the two, another thread may be in the middle of sending it.
#[tokio::test]
async fn what_is_staged_is_written_by_nobody_else_and_what_is_left_of_it_follows() {
    let (mut end, receiver, _places) = open(Transport::Stream, Box::new(()));
    let (near, mut far) = duplex_of_tcp().await;
    let answer = Streaming { head: head("x/x"), prelude: Bytes::new(), body: Box::new(receiver), is_poll: false };
    let version = (answer, http::Version::HTTP_11);
    let mut writing = pin!(Writing::lending(near, version, Bytes::new(), Duration::from_secs(10)));
    let mut poll = async || assert!(poll_fn(|cx| Poll::Ready(writing.as_mut().poll(cx).is_pending())).await);
    poll().await;

    end.try_send(Message::text("first")).unwrap();
    let (socket, bytes) = end.stage().unwrap();
    assert!(end.stage().is_none(), "one at a time");
    end.try_send(Message::text("second")).unwrap();
    poll().await;
    socket.writable().await.unwrap();
    assert_eq!(socket.try_write(&bytes[..4]).unwrap(), 4);
    end.staged(4);
    assert!(end.poll_flush(&mut Context::from_waker(Waker::noop())).is_ready());
    poll().await;

    let wanted = "6\r\nfirst\n\r\n7\r\nsecond\n\r\n";
    let mut heard = Vec::new();
    while !heard.ends_with(wanted.as_bytes()) {
        let read = timeout(Duration::from_secs(10), far.read_buf(&mut heard)).await;
        assert!(read.unwrap().unwrap() > 0, "{}", heard.escape_ascii());
    }
}

#[tokio::test(start_paused = true)]
async fn who_has_said_something_is_told_so_once_the_session_has_answered() {
    let (mut end, mut receiver, _places) = open(Transport::Poll, Box::new(()));
    assert!(matches!(output(&mut receiver).await, Output::Last(_)), "that it is open");
    let mut cx = Context::from_waker(Waker::noop());
    let pipe = receiver.pipe();
    let mut said = pin!(pipe.receive_within(Duration::from_secs(10), vec!["a".into(), "b".into()]));
    assert!(said.as_mut().poll(&mut cx).is_pending());
    for text in ["a", "b"] {
        let Poll::Ready(Some(Ok(heard))) = end.poll_recv(&mut cx) else { panic!("it was said") };
        assert_eq!(heard, Message::text(text));
        assert!(said.as_mut().poll(&mut cx).is_pending(), "it is taken, not answered");
        end.try_send(heard).unwrap();
    }
    assert!(end.poll_recv(&mut cx).is_pending());
    assert!(matches!(said.as_mut().poll(&mut cx), Poll::Ready(Ok(()))));

    let start = Instant::now();
    let unheard = pipe.receive_within(Duration::from_secs(10), vec!["c".into()]).await;
    assert!(unheard.is_ok() && start.elapsed().as_secs() == 1, "a session that takes its time is not waited for");
}

#[tokio::test(start_paused = true)]
async fn who_says_something_to_a_session_without_room_is_not_kept_waiting() {
    let (mut end, receiver, _places) = open(Transport::Poll, Box::new(()));
    let mut cx = Context::from_waker(Waker::noop());
    end.try_send(Message::text("x".repeat(2_000))).unwrap();
    assert!(end.poll_ready(&mut cx).is_pending());
    let start = Instant::now();
    let mut said = pin!(receiver.pipe().receive_within(Duration::from_secs(10), vec!["a".into()]));
    assert!(said.as_mut().poll(&mut cx).is_pending());
    assert!(end.poll_ready(&mut cx).is_pending());
    assert!(matches!(said.as_mut().poll(&mut cx), Poll::Ready(Ok(()))));
    assert!(start.elapsed().is_zero());
}

/// The sending can end between the two questions of the task that writes the response, which runs on another thread.
#[tokio::test]
async fn what_is_left_of_what_was_staged_is_overtaken_by_nothing() {
    let (mut end, mut receiver, _places) = open(Transport::Stream, Box::new(()));
    let (near, _far) = duplex_of_tcp().await;
    receiver.lend(&Arc::new(near));
    assert!(matches!(output(&mut receiver).await, Output::Write(_)), "that it is open");
    assert!(timeout(Duration::ZERO, output(&mut receiver)).await.is_err());

    end.try_send(Message::text("first")).unwrap();
    let (_, bytes) = end.stage().unwrap();
    end.try_send(Message::text("second")).unwrap();
    assert!(receiver.take_rest().is_empty(), "it is being sent");
    end.staged(4);
    let (waker, woken) = Woken::waker();
    assert!(receiver.poll_output(&mut Context::from_waker(&waker), 1024).is_pending());
    assert!(woken.0.load(Ordering::Relaxed), "it is to ask again");
    assert!(end.poll_flush(&mut Context::from_waker(Waker::noop())).is_ready());
    assert_eq!(receiver.take_rest(), bytes[4..]);
    assert_eq!(output(&mut receiver).await, Output::Write("second\n".into()));
}
