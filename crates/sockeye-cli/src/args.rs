//! The command line.
#![expect(clippy::doc_markdown, reason = "the doc comments are the help text, for terminals")]
use std::net::SocketAddr;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};

/// A realtime server, and tools to talk to any WebSocket server.
///
/// Without a command it serves on http://127.0.0.1:7071/.
#[derive(Parser)]
#[command(name = "sockeye", version, max_term_width = 100)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Serve the pages and the three demos
    Serve(Serve),
    /// Serve one demo alone, at every path
    Demo(Demo),
    Connect(Connect),
}

impl Default for Command {
    fn default() -> Self {
        Self::Serve(Serve { listen: SocketAddr::from(([127, 0, 0, 1], 7071)), shared: Shared::default() })
    }
}

#[derive(ClapArgs)]
pub(crate) struct Serve {
    /// Address and port to listen on; port 0 takes any free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7071")]
    pub(crate) listen: SocketAddr,
    #[command(flatten)]
    pub(crate) shared: Shared,
}

/// What `serve` and `demo` have in common.
#[derive(ClapArgs, Default)]
pub(crate) struct Shared {
    /// Let web pages of this origin connect, such as https://example.org (repeatable; '*' for every page). Needed where
    /// other machines can reach the address
    #[arg(long, value_name = "ORIGIN")]
    pub(crate) allow_origin: Vec<String>,
    /// Threads, each with its own connections [default: one per core]
    #[arg(long, value_name = "N")]
    pub(crate) workers: Option<u16>,
}

#[derive(ClapArgs)]
pub(crate) struct Demo {
    /// Which
    #[arg(value_enum, value_name = "DEMO")]
    pub(crate) which: DemoName,
    /// Address and port to listen on; port 0 takes any free one [default: 127.0.0.1 with 1337 for echo, 8080 for chat,
    /// 7071 for cursors]
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<SocketAddr>,
    /// Largest message the echo takes, such as 65536, 64KiB or 16MiB
    #[arg(long, value_name = "SIZE", default_value = "1MiB", value_parser = parse_size)]
    pub(crate) max_message: usize,
    /// Most frames one message to the echo may have
    #[arg(long, value_name = "N", default_value_t = 1024)]
    pub(crate) max_fragments: usize,
    /// Compress every echo to clients that offer it (permessage-deflate), with context takeover where they allow it
    #[arg(long)]
    pub(crate) deflate: bool,
    #[command(flatten)]
    pub(crate) shared: Shared,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum DemoName {
    Echo,
    Chat,
    Cursors,
}

/// Talk to a WebSocket server from the terminal or a script
///
/// Lines of the input are sent as messages; messages that come are printed.
///
/// In a terminal, `/ping [TEXT]`, `/close [CODE [REASON]]` and `/help` are commands, and a line that starts with `//` is
/// sent without its first slash. From a pipe every line is a message. The end of the input closes with 1000; what still
/// comes before the server's own Close is printed. The exit status is 0 only after a clean close
/// in which the server did not complain (1000, 1001, or no code).
#[derive(ClapArgs)]
#[command(verbatim_doc_comment)]
pub(crate) struct Connect {
    /// Where to, such as ws://127.0.0.1:7071/echo
    pub(crate) url: String,
    /// Offer a subprotocol (repeatable, those first are preferred)
    #[arg(long, value_name = "NAME")]
    pub(crate) protocol: Vec<String>,
    /// Add a header to the request, as 'Name: value' (repeatable)
    #[arg(long, value_name = "HEADER", value_parser = parse_header)]
    pub(crate) header: Vec<(String, String)>,
    /// Say which web page asks
    #[arg(long, value_name = "ORIGIN")]
    pub(crate) origin: Option<String>,
    /// Stay connected when the input ends, to go on printing what comes
    #[arg(long)]
    pub(crate) no_close: bool,
    /// Send lines as binary messages, and print binary messages as they are
    #[arg(long)]
    pub(crate) binary: bool,
    /// Largest message taken, such as 16MiB
    #[arg(long, value_name = "SIZE", default_value = "16MiB", value_parser = parse_size)]
    pub(crate) max_message: usize,
}

fn parse_size(text: &str) -> Result<usize, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" | "B" => 1,
        "KiB" | "K" => 1024,
        "MiB" | "M" => 1024 * 1024,
        "GiB" | "G" => 1024 * 1024 * 1024,
        other => return Err(format!("unknown unit {other}: use B, KiB, MiB or GiB")),
    };
    let number: usize = digits.parse().map_err(|_| "expected a number with a unit, such as 16MiB".to_owned())?;
    number.checked_mul(unit).ok_or_else(|| "too large".to_owned())
}

fn parse_header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("expected 'Name: value'")?;
    http::HeaderName::try_from(name.trim()).map_err(|error| error.to_string())?;
    http::HeaderValue::try_from(value.trim()).map_err(|error| error.to_string())?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!(parse_size("64MiB"), Ok(64 << 20));
        assert_eq!(parse_size("65536"), Ok(65_536));
        assert!(parse_size("1XiB").is_err() && parse_size("MiB").is_err() && parse_size("99999999999GiB").is_err());
    }
}
