//! A real server with a durable store, killed with SIGKILL at random and started again, under publishers and subscribers on
//! the Rust client, who write down what they see; `sockeye-judge` then says whether the promise was kept.
//!
//! ```text
//! sockeye-chaos target/release/sockeye --kills 50 --publications 1000000
//! ```
//!
//! It ends when there have been so many kills and so many acknowledged publications, everybody has everything, and all is
//! judged; with status 1 if anything is wrong.
mod actors;
mod record;
mod server;

use std::{path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use clap::Parser;
use rand::{Rng, SeedableRng, rngs::StdRng};
use sockeye_judge::{ChannelRules, Epochs, Rules, Seen};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use self::{
    actors::{Publisher, Subscriber},
    record::{Progress, Recorder},
    server::Server,
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
    /// Of the moments of the kills
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
    let fixed = ChannelRules { epochs: Epochs::Fixed, keeps: None };
    let (recorder, judging) = Recorder::begin(Rules { channels: fixed, ..Rules::default() });
    let progress = Arc::new(Progress::default());
    let mut subscribers = JoinSet::new();
    let channels: Arc<[String]> = (0..options.channels).map(|number| format!("chaos-{number}")).collect();

    let mut listening = Vec::new();
    for number in 1..=options.subscribers {
        let client = server.client()?;
        for channel in channels.iter() {
            let subscriber = Subscriber::begin(number, channel, &client, recorder.clone()).await?;
            listening.push((channel.clone(), subscriber.offset()));
            subscribers.spawn(subscriber.run());
        }
    }
    let publishers: Vec<_> = (1..=options.publishers)
        .map(|number| {
            let actor = options.subscribers + number;
            let publisher = Publisher::new(actor, server.client()?, &channels, &recorder, &progress, options.in_flight);
            Ok(tokio::spawn(publisher.run()))
        })
        .collect::<Result<_, sockeye_client::Error>>()?;

    let mut rng = StdRng::seed_from_u64(options.seed);
    for kill in 1..=options.kills {
        sleep(Duration::from_millis(rng.random_range(options.between / 2..=options.between * 3 / 2))).await;
        let down = Duration::from_millis(rng.random_range(0..500));
        server.kill_and_start_again(down, || recorder.saw(NOBODY, Seen::Restart)).await?;
        println!(
            "{:5.0} s: kill {kill} of {}, {} acknowledged",
            begun.elapsed().as_secs_f64(),
            options.kills,
            progress.acknowledged()
        );
    }
    while progress.acknowledged() < options.publications {
        sleep(Duration::from_millis(100)).await;
    }
    progress.stop();
    for publisher in publishers {
        timeout(PATIENCE, publisher).await??;
    }
    let ends = progress.ends();
    for (channel, mut offset) in listening {
        let end = ends.get(&channel).copied().unwrap_or(0);
        if timeout(PATIENCE, offset.wait_for(|offset| *offset >= end)).await.is_err() {
            eprintln!("a subscriber of {channel} does not get as far as {end}");
        }
    }
    recorder.saw(NOBODY, Seen::Settled);
    subscribers.shutdown().await;
    drop(recorder);
    server.stop().await;
    let verdict = judging.await?;
    println!("{verdict}");
    println!(
        "{} kills, {} acknowledged in {:.0} s: {} anomalies",
        options.kills,
        verdict.counts.acknowledged,
        begun.elapsed().as_secs_f64(),
        verdict.kinds.values().sum::<u64>()
    );
    Ok(verdict.is_clean() && verdict.counts.acknowledged >= options.publications)
}
