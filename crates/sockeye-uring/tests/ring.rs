//! What a batch does, to real sockets. Where the kernel has no ring these tests have nothing to look at, and say so.
#![cfg(target_os = "linux")]

use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    os::{
        fd::AsFd,
        unix::net::{UnixDatagram, UnixStream},
    },
    time::Duration,
};

use sockeye_uring::{Ring, ToSend};

#[test]
fn each_socket_gets_its_own_bytes_in_order() {
    let Some(mut ring) = ring(64) else { return };
    // More than there are entries, and no multiple of them.
    let (near, mut far): (Vec<_>, Vec<_>) = (0..150).map(|_| tcp()).unzip();
    for round in 0..20 {
        let said: Vec<_> = (0..near.len()).map(|place| format!("{round}:{place};")).collect();
        let batch: Vec<_> = near.iter().zip(&said).map(|(socket, said)| to_send(socket, said.as_bytes())).collect();
        let sent: Vec<_> = ring.send(&batch).map(Result::unwrap).collect();
        assert_eq!(sent, said.iter().map(String::len).collect::<Vec<_>>());
    }
    drop(near);
    for (place, socket) in far.iter_mut().enumerate() {
        let mut heard = String::new();
        socket.read_to_string(&mut heard).unwrap();
        let said: Vec<_> = (0..20).map(|round| format!("{round}:{place};")).collect();
        assert_eq!(heard, said.concat());
    }
    assert!(ring.failure().is_none());
}

#[test]
fn a_full_socket_keeps_nobody_waiting() {
    let Some(mut ring) = ring(8) else { return };
    let (full, _far) = full();
    let (near, mut far) = tcp();
    let sent: Vec<_> = ring.send(&[to_send(&full, b"no room"), to_send(&near, b"room")]).collect();
    assert_eq!(sent[0].as_ref().unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(*sent[1].as_ref().unwrap(), 4);
    let mut heard = [0; 4];
    far.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"room");
}

/// Nothing depends on the socket's own flag.
#[test]
fn a_full_socket_that_may_block_keeps_nobody_waiting_either() {
    let Some(mut ring) = ring(8) else { return };
    let (full, _far) = full();
    full.set_nonblocking(false).unwrap();
    let sent = ring.send(&[to_send(&full, b"no room")]).next().unwrap();
    assert_eq!(sent.unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn what_a_socket_takes_in_part_is_told() {
    let Some(mut ring) = ring(8) else { return };
    let (near, mut far) = tcp();
    let much: Vec<_> = (0..=u8::MAX).cycle().take(32 << 20).collect();
    let sent = ring.send(&[to_send(&near, &much)]).next().unwrap().unwrap();
    assert!(0 < sent && sent < much.len(), "{sent}");
    drop(near);
    let mut heard = Vec::new();
    far.read_to_end(&mut heard).unwrap();
    assert!(heard == much[..sent], "{} instead of {sent}", heard.len());
}

#[test]
fn a_peer_that_is_gone_is_an_error_of_its_own() {
    let Some(mut ring) = ring(8) else { return };
    let (broken, far) = UnixStream::pair().unwrap();
    drop(far);
    let (shut, _far) = tcp();
    shut.shutdown(Shutdown::Write).unwrap();
    let (near, _other) = tcp();
    let batch = [to_send(&broken, b"?"), to_send(&shut, b"?"), to_send(&near, b"!")];
    let sent: Vec<_> = ring.send(&batch).collect();
    assert_eq!(sent[0].as_ref().unwrap_err().kind(), ErrorKind::BrokenPipe);
    assert_eq!(sent[1].as_ref().unwrap_err().kind(), ErrorKind::BrokenPipe);
    assert_eq!(*sent[2].as_ref().unwrap(), 1);
}

#[test]
fn a_reset_is_told_once_as_by_send() {
    let Some(mut ring) = ring(8) else { return };
    let (near, far) = tcp();
    (&near).write_all(b"unread").unwrap();
    // To close what has unread input resets it.
    far.peek(&mut [0]).unwrap();
    drop(far);
    near.set_nonblocking(false).unwrap();
    near.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    // The reset has arrived once this ends, whichever way.
    while let Err(error) = near.peek(&mut [0]) {
        if error.kind() == ErrorKind::ConnectionReset {
            break;
        }
        assert_ne!(error.kind(), ErrorKind::WouldBlock, "no reset came");
    }
    let sent = ring.send(&[to_send(&near, b"?")]).next().unwrap();
    let kind = sent.unwrap_err().kind();
    assert!(matches!(kind, ErrorKind::BrokenPipe | ErrorKind::ConnectionReset), "{kind}");
}

#[test]
fn what_is_no_socket_is_an_error_and_what_follows_is_sent() {
    let Some(mut ring) = ring(8) else { return };
    let file = tempfile::tempfile().unwrap();
    let unconnected = UnixDatagram::unbound().unwrap();
    let (near, _far) = tcp();
    let batch = [to_send(&file, b"?"), to_send(&unconnected, b"?"), to_send(&near, b"!"), to_send(&near, b"")];
    let sent: Vec<_> = ring.send(&batch).collect();
    assert_eq!(sent[0].as_ref().unwrap_err().raw_os_error(), Some(libc::ENOTSOCK));
    assert_eq!(sent[1].as_ref().unwrap_err().kind(), ErrorKind::NotConnected);
    assert_eq!(*sent[2].as_ref().unwrap(), 1);
    assert_eq!(*sent[3].as_ref().unwrap(), 0);
}

/// The kernel holds nothing of a batch after it: sockets can be closed, memory used again, the ring dropped.
#[test]
fn nothing_is_held_beyond_a_batch() {
    let Some(mut ring) = ring(4) else { return };
    let mut memory = vec![0; 1000];
    for round in 0..100_u8 {
        let (near, mut far) = tcp();
        memory.fill(round);
        assert_eq!(ring.send(&[to_send(&near, &memory)]).next().unwrap().unwrap(), memory.len());
        memory.fill(0xff);
        drop(near);
        let mut heard = Vec::new();
        far.read_to_end(&mut heard).unwrap();
        assert_eq!(heard, [round; 1000]);
    }
    drop(ring);
    assert!(Ring::new(4).is_ok());
}

#[test]
fn an_empty_batch_is_none() {
    let Some(mut ring) = ring(4) else { return };
    assert_eq!(ring.send(&[]).len(), 0);
}

#[test]
fn what_the_kernel_refuses_is_an_error() {
    // It has bounds on both sides.
    assert_eq!(Ring::new(0).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(Ring::new(u16::MAX).unwrap_err().kind(), ErrorKind::InvalidInput);
}

fn ring(entries: u16) -> Option<Ring> {
    Ring::new(entries).inspect_err(|error| println!("there is no ring here: {error}")).ok()
}

fn to_send<'a>(socket: &'a impl AsFd, bytes: &'a [u8]) -> ToSend<'a> {
    ToSend { socket: socket.as_fd(), bytes }
}

/// The near end as in an event loop, the far end as in a test.
fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let far = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (near, _) = listener.accept().unwrap();
    near.set_nonblocking(true).unwrap();
    far.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    (near, far)
}

/// Until it takes nothing more. (Over TCP there could be room again a moment later.)
fn full() -> (UnixStream, UnixStream) {
    let (mut near, far) = UnixStream::pair().unwrap();
    near.set_nonblocking(true).unwrap();
    loop {
        match near.write(&[0; 4096]) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return (near, far),
            Err(error) => panic!("{error}"),
        }
    }
}
