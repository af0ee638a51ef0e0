//! The binary `sockeye`.
#![forbid(unsafe_code)]

mod args;
mod config;
mod connect;
mod serve;

use std::{io::IsTerminal, process::ExitCode};

use args::{Args, Command};
use clap::Parser;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let args = Args::parse();
    let filter = EnvFilter::try_from_env("SOCKEYE_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    let result = match args.command {
        None => serve::site(&args.serve),
        Some(Command::Serve(serve)) => serve::site(&serve),
        Some(Command::Demo(demo)) => serve::demo(&demo),
        Some(Command::Bench(bench)) => return sockeye_bench::run(&bench),
        Some(Command::Config(command)) => config::run(&command),
        Some(Command::Connect(connect)) => return connect::run(&connect),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sockeye: {error}");
            ExitCode::FAILURE
        }
    }
}
