//! The command line.
#![expect(clippy::doc_markdown, reason = "the doc comments are the help text, for terminals")]
use std::{fs, net::SocketAddr, num::NonZeroU64, path::PathBuf, time::Duration};

use clap::{Args as ClapArgs, Parser, Subcommand};

/// A realtime server, and tools to talk to any WebSocket server.
///
/// Without a command it serves, as `sockeye serve` does.
#[derive(Parser)]
#[command(name = "sockeye", version, max_term_width = 100, args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) serve: Serve,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Serve channels, their HTTP API and SockJS; and the pages and demos, where the configuration has them
    Serve(Serve),
    /// Serve one demo alone, at every path
    #[command(subcommand)]
    Demo(Demo),
    Connect(Connect),
    Bench(Box<sockeye_bench::Bench>),
    /// Print or check the configuration
    #[command(subcommand)]
    Config(Config),
}

#[derive(Subcommand)]
pub(crate) enum Config {
    /// Print a file with every key, its meaning and its default
    Default,
    /// Name every mistake with its line and key, without starting; the options are those of serve
    Check(Serve),
    /// Print what is in force and where each value comes from, secrets hidden; the options are those of serve
    Show(Serve),
}

#[derive(ClapArgs)]
pub(crate) struct Serve {
    /// Read the configuration from this file (TOML); without it from the one that SOCKEYE_CONFIG names, if any. An option here goes
    /// before the environment, the environment before the file. 'sockeye config default' prints one with every key
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Address and port to listen on; port 0 takes any free one [default: 127.0.0.1:7071]
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<SocketAddr>,
    #[command(flatten)]
    pub(crate) shared: Shared,
}

/// What `serve` and `demo` have in common.
#[derive(ClapArgs)]
pub(crate) struct Shared {
    /// Let web pages of this origin connect, such as `https://example.org`, besides those from this server (repeatable; '*'
    /// for every page). Needed where other machines can reach the address
    #[arg(long, value_name = "ORIGIN")]
    pub(crate) allow_origin: Vec<String>,
    /// Speak TLS with the certificates in this file (PEM, the server's own first). Read again when the file changes, and on
    /// SIGHUP
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// The private key of the certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Threads, each with its own connections [default: one per core]
    #[arg(long, value_name = "N")]
    pub(crate) workers: Option<u16>,
}

#[derive(Subcommand)]
pub(crate) enum Demo {
    /// Every message comes back as it was
    Echo(Echo),
    /// A room that remembers its last hundred messages
    Chat(Chat),
    /// Everybody's pointer on everybody's page
    Cursors(Cursors),
    /// What tests of SockJS ask for: /echo, /disabled_websocket_echo, /cookie_needed_echo and /close
    Sockjs(SockJs),
}

#[derive(ClapArgs)]
pub(crate) struct Echo {
    /// Address and port to listen on; port 0 takes any free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:1337")]
    pub(crate) listen: SocketAddr,
    /// Largest message taken, such as 65536, 64KiB or 16MiB
    #[arg(long, value_name = "SIZE", default_value = "1MiB", value_parser = parse_size)]
    pub(crate) max_message: usize,
    /// Most frames one message may have
    #[arg(long, value_name = "N", default_value_t = 1024)]
    pub(crate) max_fragments: usize,
    /// Compress every echo to clients that offer it (permessage-deflate)
    #[arg(long)]
    pub(crate) deflate: bool,
    /// With context takeover, where the client allows it: better compression, for memory of each connection
    #[arg(long, requires = "deflate")]
    pub(crate) takeover: bool,
    #[command(flatten)]
    pub(crate) shared: Shared,
}

#[derive(ClapArgs)]
pub(crate) struct Chat {
    /// Address and port to listen on; port 0 takes any free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,
    #[command(flatten)]
    pub(crate) shared: Shared,
}

#[derive(ClapArgs)]
pub(crate) struct SockJs {
    /// Address and port to listen on; port 0 takes any free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8081")]
    pub(crate) listen: SocketAddr,
    #[command(flatten)]
    pub(crate) shared: Shared,
}

#[derive(ClapArgs)]
pub(crate) struct Cursors {
    /// Address and port to listen on; port 0 takes any free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7071")]
    pub(crate) listen: SocketAddr,
    #[command(flatten)]
    pub(crate) shared: Shared,
}

/// Talk to a WebSocket server from the terminal or a script
///
/// Lines of the input are sent as messages; messages that come are printed, each as a line.
///
/// In a terminal lines can be edited and found again with the arrows, `/ping [TEXT]`, `/close [CODE [REASON]]` and `/help`
/// are commands, and a line that starts with `//` is sent without its first slash. What comes is marked with `<`, and
/// control characters in it are shown, not obeyed; of a message longer than 64 KiB the start is shown. Ctrl-D closes;
/// Ctrl-C leaves with 1001, a second one at once. NO_COLOR is honoured.
///
/// From a pipe every line is a message, and the end of the input closes with 1000; what still comes before the server's own
/// Close is printed. Into a pipe messages go as they are.
#[derive(ClapArgs)]
#[command(after_long_help = CONNECT_MORE)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
pub(crate) struct Connect {
    /// Where to, such as ws://127.0.0.1:7071/echo
    pub(crate) url: String,
    /// Offer a subprotocol (repeatable, those first are preferred)
    #[arg(long, value_name = "NAME")]
    pub(crate) protocol: Vec<String>,
    /// Add a header to the request, as 'Name: value'; or those of a file, a line each, as @FILE, which keeps secrets out of
    /// the process list (repeatable)
    #[arg(short = 'H', long, value_name = "HEADER", value_parser = parse_headers)]
    pub(crate) header: Vec<Headers>,
    /// Say which web page asks
    #[arg(long, value_name = "ORIGIN")]
    pub(crate) origin: Option<String>,
    /// Stay connected when the input ends, to go on printing what comes
    #[arg(long)]
    pub(crate) no_close: bool,
    /// Close after this many messages have come, whether the input has ended or not
    #[arg(long, value_name = "N")]
    pub(crate) count: Option<NonZeroU64>,
    /// End after this time at the latest, with status 124
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds)]
    pub(crate) timeout: Option<Duration>,
    /// Ping at once and then every so often, and show how long each pong took
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds)]
    pub(crate) ping_interval: Option<Duration>,
    /// Send lines as binary messages, and print binary messages as they are, without line ends between them
    #[arg(long)]
    pub(crate) binary: bool,
    /// Print a line of JSON for each event; see below
    #[arg(long)]
    pub(crate) json: bool,
    /// Remember no lines. They are kept in $XDG_STATE_HOME/sockeye (~/.local/state/sockeye), only those typed in a terminal,
    /// and none that starts with a space
    #[arg(long)]
    pub(crate) no_history: bool,
    /// Largest message taken, such as 16MiB
    #[arg(long, value_name = "SIZE", default_value = "16MiB", value_parser = parse_size)]
    pub(crate) max_message: usize,
    #[command(flatten)]
    pub(crate) way: Way,
}

// The way to the server, and what is spoken on it. (A doc comment would become the help's first line.)
#[derive(ClapArgs)]
#[command(next_help_heading = "The way to the server")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
pub(crate) struct Way {
    /// Offer compression (permessage-deflate)
    #[arg(long)]
    pub(crate) deflate: bool,
    /// Prefer HTTP/2 (RFC 8441), which TLS negotiates; to a ws:// URL speak it at once, which the server must understand
    #[arg(long)]
    pub(crate) http2: bool,
    /// Trust the root certificates in this file (PEM) in place of the platform's
    #[arg(long, value_name = "FILE")]
    pub(crate) cacert: Option<PathBuf>,
    /// Accept any certificate, which anybody between here and the server could have made; for trying things out
    #[arg(long, conflicts_with = "cacert")]
    pub(crate) insecure: bool,
    /// Go through this proxy: http://, https://, socks5:// or socks5h:// (names are looked up there). Without it, the
    /// environment is asked: http_proxy for ws, https_proxy for wss, then ALL_PROXY, except for the hosts in NO_PROXY
    #[arg(long, value_name = "URL")]
    pub(crate) proxy: Option<String>,
    /// Go through no proxy, whatever the environment says
    #[arg(long, conflicts_with = "proxy")]
    pub(crate) no_proxy: bool,
    /// Connect to this Unix socket; host and path of the request, and whether there is TLS, still come from the URL
    #[arg(long, value_name = "PATH", conflicts_with_all = ["proxy", "max_redirects"])]
    pub(crate) unix: Option<PathBuf>,
    /// Follow up to so many redirects
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) max_redirects: usize,
}

const CONNECT_MORE: &str = r#"Examples:
  sockeye connect ws://127.0.0.1:7071/echo
  printf 'a\nb\n' | sockeye connect ws://127.0.0.1:7071/echo
  echo '{"subscribe":"news"}' | sockeye connect --count 3 --timeout 10 ws://127.0.0.1:7071/ws
  sockeye connect --header @token.txt --json --no-close ws://127.0.0.1:7071/chat </dev/null | jq .
  sockeye connect --ping-interval 1 --no-close ws://127.0.0.1:7071/echo </dev/null
  sockeye connect --cacert cert.pem --http2 --deflate wss://localhost:7071/echo

Events of --json, one object a line; fields may be added:
  {"event":"open","url":URL,"protocol":NAME or null,"extensions":TEXT,"http":"1.1" or "2"}
  {"event":"message","type":"text","data":TEXT}
  {"event":"message","type":"binary","data":BASE64}
  {"event":"ping","data":BASE64}                  answered already
  {"event":"pong","data":BASE64,"ms":NUMBER}      null if it answers no ping of ours
  {"event":"close","code":NUMBER,"reason":TEXT,"clean":BOOL,"initiator":"local" or "remote"}
  {"event":"error","code":NAME,"message":TEXT}    and "status", "body" if the server refused

Exit status:
  0    closed cleanly by 1000, 1001 or no code; --count was reached; or the output's reader has gone
  1    the connection could not be made, was lost, or broke the protocol
  2    the command line is wrong
  3    the server refused the opening handshake
  4    the server closed with another code: a complaint
  124  the time of --timeout is over
  130  a second Ctrl-C, or SIGTERM: the server was not waited for"#;

/// What one `--header` gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Headers(pub(crate) Vec<(String, String)>);

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

fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds
        .filter(|time| *time >= Duration::from_millis(1))
        .ok_or_else(|| "expected seconds, such as 10 or 0.5, and 0.001 at least".to_owned())
}

fn parse_headers(text: &str) -> Result<Headers, String> {
    let Some(path) = text.strip_prefix('@') else { return Ok(Headers(vec![parse_header(text)?])) };
    let lines = fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
    lines.lines().filter(|line| !line.trim().is_empty()).map(parse_header).collect::<Result<_, _>>().map(Headers)
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

    fn parse(line: &str) -> Result<Args, clap::Error> {
        Args::try_parse_from(line.split(' '))
    }

    #[test]
    fn without_a_command_the_options_are_those_of_serve() {
        for line in ["sockeye --listen 127.0.0.1:9 --workers 3", "sockeye serve --listen 127.0.0.1:9 --workers 3"] {
            let args = parse(line).unwrap();
            let serve = if let Some(Command::Serve(serve)) = args.command { serve } else { args.serve };
            assert_eq!((serve.listen.map(|at| at.port()), serve.shared.workers), (Some(9), Some(3)), "{line}");
        }
        assert_eq!(parse("sockeye").unwrap().serve.listen, None, "that is for the configuration to say");
        assert!(parse("sockeye --listen 127.0.0.1:9 demo echo").is_err(), "whose address would that be?");
        assert!(parse("sockeye connect ws://127.0.0.1:9/").is_ok());
    }

    #[test]
    fn loads_are_measured_in_one_way_at_a_time() {
        for options in
            ["echo", "echo --raw --in-flight 16", "fanout --broadcast --paced 20", "fanout --raw 300", "attack pings"]
        {
            assert!(parse(&format!("sockeye bench {options} ws://a/")).is_ok(), "{options}");
        }
        for options in [
            "echo --rate 5 --in-flight 2",
            "fanout --raw 300 --broadcast",
            "echo --raw --deflate",
            "idle --raw --channel a",
        ] {
            assert!(parse(&format!("sockeye bench {options} ws://a/")).is_err(), "{options}");
        }
    }

    #[test]
    fn a_certificate_needs_its_key() {
        assert!(parse("sockeye --tls-cert a.pem --tls-key b.pem").is_ok());
        assert!(parse("sockeye demo chat --tls-cert a.pem --tls-key b.pem").is_ok());
        assert!(parse("sockeye --tls-cert a.pem").is_err() && parse("sockeye serve --tls-key b.pem").is_err());
    }

    #[test]
    fn only_the_echo_has_limits_to_set() {
        assert!(parse("sockeye demo echo --max-message 64MiB --max-fragments 9 --workers 1").is_ok());
        for demo in ["chat", "cursors"] {
            assert!(parse(&format!("sockeye demo {demo} --listen 127.0.0.1:9 --workers 1")).is_ok());
            for option in ["--max-message 64MiB", "--max-fragments 9"] {
                assert!(parse(&format!("sockeye demo {demo} {option}")).is_err(), "{demo} {option}");
            }
        }
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        for options in [
            "--insecure --cacert a.pem",
            "--proxy http://p --no-proxy",
            "--unix /s --proxy http://p",
            "--unix /s --max-redirects 1",
        ] {
            assert!(parse(&format!("sockeye connect ws://a/ {options}")).is_err(), "{options}");
        }
        for options in ["--unix /s --no-proxy --insecure", "--http2 --deflate --cacert a.pem --max-redirects 3"] {
            assert!(parse(&format!("sockeye connect wss://a/ {options}")).is_ok(), "{options}");
        }
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!(parse_size("64MiB"), Ok(64 << 20));
        assert_eq!(parse_size("65536"), Ok(65_536));
        assert!(parse_size("1XiB").is_err() && parse_size("MiB").is_err() && parse_size("99999999999GiB").is_err());
    }

    #[test]
    fn times_are_seconds() {
        assert_eq!(parse_seconds("10"), Ok(Duration::from_secs(10)));
        assert_eq!(parse_seconds("0.25"), Ok(Duration::from_millis(250)));
        for wrong in ["", "0", "-1", "NaN", "inf", "1e300", "5s"] {
            assert!(parse_seconds(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn headers_are_name_and_value() {
        assert_eq!(parse_headers("A: b:c "), Ok(Headers(vec![("A".to_owned(), "b:c".to_owned())])));
        assert!(parse_headers("no colon").is_err() && parse_headers("@/no/such/file").is_err());
    }
}
