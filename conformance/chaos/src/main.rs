//! A real server with a durable store, killed with SIGKILL at random and started again, under publishers and subscribers on
//! the Rust client, who write down what they see; `sockeye-judge` then says whether the promise was kept.
//!
//! ```text
//! sockeye-chaos target/release/sockeye --kills 50 --publications 1000000
//! sockeye-chaos target/release/sockeye --transports all --subscribers 12 --publications 100000
//! ```
//!
//! With `--transports` most of them speak the protocol by themselves, over these transports and a hostile proxy, and
//! change between them at random; so the judge hears of each recovery, which our client does in silence.
//!
//! It ends when there have been so many kills and so many acknowledged publications, everybody has everything, and all is
//! judged; with status 1 if anything is wrong.
mod actors;
mod followed;
mod http;
mod link;
mod listener;
mod proxy;
mod reader;
mod record;
mod server;
mod sse;
mod talk;
mod transport;
mod writer;

use std::{path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use clap::Parser;
use rand::{Rng, SeedableRng, rngs::StdRng};
use sockeye_judge::{ChannelRules, Epochs, Rules, Seen};
use tokio::{
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep, timeout},
};

use self::{
    actors::{Publisher, Subscriber},
    followed::Followed,
    link::Way,
    listener::Listener,
    proxy::Proxy,
    reader::Reader,
    record::{Progress, Recorder},
    server::{HISTORY, Server, client},
    transport::{Choice, Tally},
    writer::Writer,
};

/// For how long all may take to arrive after the last publication.
const PATIENCE: Duration = Duration::from_secs(60);
/// Who acts on nobody's behalf.
const NOBODY: u32 = 0;

#[derive(Parser)]
#[command(version, about)]
struct Options {
    /// The program under test: `sockeye`
    server: PathBuf,
    /// How often the server is killed
    #[arg(long, default_value_t = 5)]
    kills: u32,
    /// Publications to be acknowledged, at least
    #[arg(long, default_value_t = 20_000)]
    publications: u64,
    #[arg(long, default_value_t = 8)]
    publishers: u32,
    #[arg(long, default_value_t = 4)]
    subscribers: u32,
    #[arg(long, default_value_t = 16)]
    channels: u32,
    /// Publications that each publisher has on their way
    #[arg(long, default_value_t = 16)]
    in_flight: usize,
    /// Milliseconds between two kills, on average
    #[arg(long, default_value_t = 4_000)]
    between: u64,
    /// Have most of them speak the protocol by themselves, over these transports, through a hostile proxy
    #[arg(long, value_delimiter = ',')]
    transports: Vec<Choice>,
    /// Of the moments of the kills, and of all that the proxy does
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Seconds after which it is given up
    #[arg(long, default_value_t = 3_600)]
    limit: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    match timeout(Duration::from_secs(options.limit), run(&options)).await {
        Ok(Ok(true)) => ExitCode::SUCCESS,
        Ok(Ok(false)) => ExitCode::FAILURE,
        Ok(Err(failure)) => {
            eprintln!("sockeye-chaos: {failure}");
            ExitCode::FAILURE
        }
        Err(_) => {
            eprintln!("sockeye-chaos: not done within {} s", options.limit);
            ExitCode::FAILURE
        }
    }
}

/// Whether the promise was kept.
async fn run(options: &Options) -> Result<bool, Box<dyn std::error::Error>> {
    let begun = Instant::now();
    let mut server = Server::start(&options.server).await?;
    let durable = ChannelRules { epochs: Epochs::Fixed, keeps: Some(HISTORY) };
    let (recorder, judging) = Recorder::begin(Rules { channels: durable, ..Rules::default() });
    let mut crowd = Crowd::gather(options, &server, &recorder).await?;
    let mut rng = StdRng::seed_from_u64(options.seed);
    for kill in 1..=options.kills {
        sleep(Duration::from_millis(rng.random_range(options.between / 2..=options.between * 3 / 2))).await;
        let down = Duration::from_millis(rng.random_range(0..500));
        server.kill_and_start_again(down, || recorder.saw(NOBODY, Seen::Restart)).await?;
        println!(
            "{:5.0} s: kill {kill} of {}, {} acknowledged",
            begun.elapsed().as_secs_f64(),
            options.kills,
            crowd.progress.acknowledged()
        );
    }
    while crowd.progress.acknowledged() < options.publications {
        sleep(Duration::from_millis(100)).await;
    }
    let enough = Instant::now();
    crowd.settle().await?;
    println!("everybody had everything after {:.1} s more", enough.elapsed().as_secs_f64());
    recorder.saw(NOBODY, Seen::Settled);
    crowd.listening.shutdown().await;
    drop(recorder);
    server.stop().await;
    let violations = crowd.report();
    drop(crowd);
    let verdict = judging.await?;
    println!("{verdict}");
    println!(
        "{} kills, {} acknowledged in {:.0} s: {} anomalies",
        options.kills,
        verdict.counts.acknowledged,
        begun.elapsed().as_secs_f64(),
        verdict.kinds.values().sum::<u64>()
    );
    Ok(verdict.is_clean() && violations == 0 && verdict.counts.acknowledged >= options.publications)
}

/// Everybody.
struct Crowd {
    recorder: Recorder,
    progress: Arc<Progress>,
    channels: Arc<[String]>,
    /// Those who do not use our client.
    others: Option<(Proxy, Way)>,
    listening: JoinSet<()>,
    /// How far each is.
    arrived: Vec<(String, watch::Receiver<u64>)>,
    publishing: Vec<JoinHandle<()>>,
}

impl Crowd {
    async fn gather(
        options: &Options,
        server: &Server,
        recorder: &Recorder,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let transports = Choice::all_of(&options.transports);
        let others = if transports.is_empty() {
            None
        } else {
            let proxy = Proxy::start(server.address(), options.seed).await?;
            let way = Way { proxy: proxy.address(), transports: transports.into(), tally: Arc::new(Tally::default()) };
            Some((proxy, way))
        };
        let mut crowd = Self {
            recorder: recorder.clone(),
            progress: Arc::default(),
            channels: (0..options.channels).map(|number| format!("chaos-{number}")).collect(),
            others,
            listening: JoinSet::new(),
            arrived: Vec::new(),
            publishing: Vec::new(),
        };
        for actor in 1..=options.subscribers {
            crowd.subscribe(actor, options, server).await?;
        }
        for number in 1..=options.publishers {
            crowd.publish(options.subscribers + number, options, server)?;
        }
        Ok(crowd)
    }

    /// The first is always on our client and in nobody's way, as a witness.
    async fn subscribe(&mut self, actor: u32, options: &Options, server: &Server) -> Result<(), sockeye_client::Error> {
        let (channels, recorder) = (&self.channels, &self.recorder);
        let Some((_, way)) = self.others.as_ref().filter(|_| actor > 1) else {
            let client = client(server.address())?;
            for channel in channels.iter() {
                let subscriber = Subscriber::begin(actor, channel, &client, recorder.clone()).await?;
                self.arrived.push((channel.clone(), subscriber.offset()));
                self.listening.spawn(subscriber.run());
            }
            return Ok(());
        };
        let is_listener = way.only_listens(actor);
        let followed = |followed: &Followed| (followed.channel().to_owned(), followed.offset());
        if is_listener {
            let listener = Listener::new(actor, channels, way, recorder, options.seed);
            self.arrived.extend(listener.channels().iter().map(followed));
            self.listening.spawn(listener.run());
        } else {
            let reader = Reader::new(actor, channels, way, recorder, options.seed);
            self.arrived.extend(reader.channels().iter().map(followed));
            self.listening.spawn(reader.run());
        }
        Ok(())
    }

    /// Every other one on our client, and in nobody's way: a 403 of the proxy would be the end of it.
    fn publish(&mut self, actor: u32, options: &Options, server: &Server) -> Result<(), sockeye_client::Error> {
        let (channels, recorder, progress, in_flight) =
            (&self.channels, &self.recorder, &self.progress, options.in_flight);
        self.publishing.push(if let Some((_, way)) = self.others.as_ref().filter(|_| actor.is_multiple_of(2)) {
            let writer = Writer::new(actor, way, channels, recorder, progress, (in_flight, options.seed));
            tokio::spawn(writer.run())
        } else {
            let client = client(server.address())?;
            let publisher = Publisher::new(actor, client, channels, recorder, progress, in_flight);
            tokio::spawn(publisher.run())
        });
        Ok(())
    }

    /// Nobody publishes any more, and everybody gets what there is.
    async fn settle(&mut self) -> Result<(), Box<dyn std::error::Error>> {
        self.progress.stop();
        if let Some((proxy, _)) = &self.others {
            proxy.calm();
        }
        for publisher in self.publishing.drain(..) {
            timeout(PATIENCE, publisher).await??;
        }
        let ends = self.progress.ends();
        for (channel, offset) in &mut self.arrived {
            let end = ends.get(channel).copied().unwrap_or(0);
            if timeout(PATIENCE, offset.wait_for(|offset| *offset >= end)).await.is_err() {
                eprintln!("a subscriber of {channel} does not get as far as {end}");
            }
        }
        Ok(())
    }

    /// What was seen of each transport; how often the protocol was broken.
    fn report(&self) -> usize {
        let Some((proxy, way)) = &self.others else { return 0 };
        println!("{}\n{}", way.tally, proxy.report());
        way.tally.violations()
    }
}
