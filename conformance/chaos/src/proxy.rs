//! Something on the way that does what things on the way do: it cuts, resets, stalls, delays, holds responses back, and
//! refuses WebSockets for a while.
//!
//! What it does to its n-th connection follows from the seed; when that one comes does not.
use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::sleep,
};

/// For how long it stays in the way of a connection on which nothing passes any more.
const STALL: Duration = Duration::from_secs(8);

/// A proxy in front of one server.
pub(crate) struct Proxy {
    address: SocketAddr,
    weather: Arc<Weather>,
    _accepting: JoinSet<()>,
}

/// What everybody on the way is exposed to.
#[derive(Default)]
struct Weather {
    is_calm: AtomicBool,
    refuses_upgrades: AtomicBool,
    refuses_all: AtomicBool,
    connections: AtomicU64,
    harmed: AtomicU64,
    refused: AtomicU64,
}

/// What happens to a connection.
#[derive(Clone, Debug, Default)]
struct Fate {
    up: Course,
    down: Course,
    /// After so long it is over, thus.
    life: Option<(Duration, Then)>,
}

/// What happens in one direction.
#[derive(Clone, Debug, Default)]
struct Course {
    /// Milliseconds by which each piece is late, at most.
    delay: u64,
    /// So many bytes are held back, or as many as a response has.
    hold: usize,
    /// After so many bytes it is over, thus.
    bytes: Option<(usize, Then)>,
}

/// How it is over.
#[derive(Clone, Copy, Debug)]
enum Then {
    Closed,
    Reset,
    /// Nothing passes any more, and nobody is told.
    Stalled,
    /// The client is told, the server is not.
    ClientCut,
}

impl Proxy {
    /// In front of this server.
    ///
    /// # Errors
    /// There is no port for it.
    pub(crate) async fn start(server: SocketAddr, seed: u64) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let weather = Arc::new(Weather::default());
        let mut accepting = JoinSet::new();
        accepting.spawn(change(Arc::clone(&weather), StdRng::seed_from_u64(seed)));
        accepting.spawn(accept(listener, server, Arc::clone(&weather), seed));
        Ok(Self { address, weather, _accepting: accepting })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on new connections are left in peace.
    pub(crate) fn calm(&self) {
        self.weather.is_calm.store(true, Relaxed);
    }

    /// What it has done.
    pub(crate) fn report(&self) -> String {
        let Weather { connections, harmed, refused, .. } = &*self.weather;
        let count = |counter: &AtomicU64| counter.load(Relaxed);
        format!(
            "proxy: {} connections, {} of them harmed, {} more refused",
            count(connections),
            count(harmed),
            count(refused)
        )
    }
}

/// The weather changes.
async fn change(weather: Arc<Weather>, mut rng: StdRng) {
    loop {
        let (place, least, most) = match rng.random_range(0..10) {
            0..=4 => (&weather.refuses_upgrades, 500, 4_000),
            // Longer than conversations wait, now and then.
            5 => (&weather.refuses_all, 100, 4_000),
            _ => (&weather.refuses_all, 20, 200),
        };
        place.store(true, Relaxed);
        sleep(Duration::from_millis(rng.random_range(least..most))).await;
        place.store(false, Relaxed);
        sleep(Duration::from_millis(rng.random_range(500..3_000))).await;
    }
}

async fn accept(listener: TcpListener, server: SocketAddr, weather: Arc<Weather>, seed: u64) {
    let mut carried = JoinSet::new();
    loop {
        while carried.try_join_next().is_some() {}
        let Ok((client, _)) = listener.accept().await else { continue };
        if weather.refuses_all.load(Relaxed) && !weather.is_calm.load(Relaxed) {
            weather.refused.fetch_add(1, Relaxed);
            drop(client.set_zero_linger());
            continue;
        }
        let number = weather.connections.fetch_add(1, Relaxed);
        let mut rng = StdRng::seed_from_u64(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ number);
        let weather = Arc::clone(&weather);
        carried.spawn(async move {
            // However it ends, that is what proxies do.
            drop(carry(client, server, &weather, &mut rng).await);
        });
    }
}

async fn carry(mut client: TcpStream, server: SocketAddr, weather: &Weather, rng: &mut StdRng) -> io::Result<()> {
    let mut first = vec![0; 4096];
    let count = client.read(&mut first).await?;
    first.truncate(count);
    let is_calm = weather.is_calm.load(Relaxed);
    if asks_for_upgrade(&first) && weather.refuses_upgrades.load(Relaxed) && !is_calm {
        weather.refused.fetch_add(1, Relaxed);
        return refuse_upgrade(client, rng).await;
    }
    let fate = if is_calm { Fate::default() } else { Fate::choose(rng) };
    weather.harmed.fetch_add(u64::from(fate.is_harm()), Relaxed);
    let mut server = TcpStream::connect(server).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let then = {
        let ((mut from_client, mut to_client), (mut from_server, mut to_server)) = (client.split(), server.split());
        let life = fate.life;
        tokio::select! {
            then = pass(&first, (&mut from_client, &mut to_server), &fate.up, rng.random()) => then,
            then = pass(&[], (&mut from_server, &mut to_client), &fate.down, rng.random()) => then,
            then = outlive(life) => then,
        }
    };
    match then {
        Then::Closed => {}
        Then::Reset => {
            client.set_zero_linger()?;
            server.set_zero_linger()?;
        }
        Then::Stalled => sleep(STALL).await,
        Then::ClientCut => {
            drop(client);
            let mut heard = vec![0; 16 * 1024];
            let hear = async { while server.read(&mut heard).await.is_ok_and(|count| count > 0) {} };
            drop(tokio::time::timeout(STALL, hear).await);
        }
    }
    Ok(())
}

async fn outlive(life: Option<(Duration, Then)>) -> Then {
    match life {
        Some((time, then)) => {
            sleep(time).await;
            then
        }
        None => std::future::pending().await,
    }
}

/// Passes bytes on until one side has no more, or the course says that it is enough.
async fn pass(
    first: &[u8],
    (from, to): (&mut (impl AsyncReadExt + Unpin), &mut (impl AsyncWriteExt + Unpin)),
    course: &Course,
    seed: u64,
) -> Then {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut left = course.bytes.map_or(usize::MAX, |(bytes, _)| bytes);
    let mut held = first.to_vec();
    let mut piece = vec![0; 8 * 1024];
    let mut is_over = false;
    loop {
        if !held.is_empty() && (is_over || held.len() >= course.hold || is_whole_response(&held)) {
            if course.delay > 0 {
                sleep(Duration::from_millis(rng.random_range(0..course.delay))).await;
            }
            let taken = held.len().min(left);
            if to.write_all(&held[..taken]).await.is_err() {
                return Then::Closed;
            }
            left -= taken;
            held.clear();
        }
        if is_over {
            return Then::Closed;
        }
        if left == 0 {
            return course.bytes.map_or(Then::Closed, |(_, then)| then);
        }
        match from.read(&mut piece).await {
            Ok(0) | Err(_) => is_over = true,
            Ok(count) => held.extend_from_slice(&piece[..count]),
        }
    }
}

impl Fate {
    fn choose(rng: &mut StdRng) -> Self {
        let then = *pick(rng, &[Then::Closed, Then::Closed, Then::Reset, Then::Stalled, Then::ClientCut]);
        let mut fate = Self::default();
        match rng.random_range(0..100) {
            0..35 => {}
            35..55 => fate.life = Some((Duration::from_millis(rng.random_range(10..3_000)), then)),
            // Within the head of a response, within a chunk, between two.
            55..75 => fate.down.bytes = Some((rng.random_range(0..20_000), then)),
            75..80 => fate.up.bytes = Some((rng.random_range(1..2_000), then)),
            80..90 => (fate.up.delay, fate.down.delay) = (rng.random_range(1..150), rng.random_range(1..150)),
            _ => fate.down.hold = rng.random_range(2_000..100_000),
        }
        fate
    }

    fn is_harm(&self) -> bool {
        let Self { up, down, life } = self;
        life.is_some() || up.bytes.or(down.bytes).is_some() || down.delay > 0 || down.hold > 0
    }
}

fn pick<'a, T>(rng: &mut StdRng, of: &'a [T]) -> &'a T {
    &of[rng.random_range(0..of.len())]
}

fn asks_for_upgrade(request: &[u8]) -> bool {
    String::from_utf8_lossy(request).to_ascii_lowercase().contains("upgrade: websocket")
}

/// As proxies do that have never heard of it.
async fn refuse_upgrade(mut client: TcpStream, rng: &mut StdRng) -> io::Result<()> {
    let answer = *pick(
        rng,
        &[
            "HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok",
            "HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
            "",
        ],
    );
    client.write_all(answer.as_bytes()).await
}

/// Whether this is an HTTP response to its end, or several of which the last is.
fn is_whole_response(bytes: &[u8]) -> bool {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return false };
    let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
    match length {
        Some(length) => bytes.len() >= end + 4 + length,
        None if head.contains("chunked") => bytes.ends_with(b"\r\n0\r\n\r\n"),
        None => true,
    }
}

#[cfg(test)]
mod tests {
    use super::is_whole_response;

    #[test]
    fn what_is_held_back_is_let_go_when_the_response_is_whole() {
        let of = |head: &str, body: &str| is_whole_response(format!("HTTP/1.1 200 OK\r\n{head}\r\n{body}").as_bytes());
        assert!(of("Content-Length: 2\r\n", "[]"));
        assert!(!of("Content-Length: 3\r\n", "[]"));
        assert!(of("Transfer-Encoding: chunked\r\n", "2\r\n[]\r\n0\r\n\r\n"));
        assert!(!of("Transfer-Encoding: chunked\r\n", "2\r\n[]\r\n"));
        assert!(of("", ""));
        assert!(!is_whole_response(b"HTTP/1.1 200 OK\r\n"));
    }
}
