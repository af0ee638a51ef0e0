//! The client under test against other libraries' echo servers: `interop_client URL SIZE…` sends a text and a binary
//! message of each size, expects both back, and closes with 1000.
//!
//! With `--deflate` before the URL it offers compression, compresses every message, and insists that the server agrees;
//! with `--takeover` besides, both sides may keep their context from one message to the next.
use sockeye::{Client, CloseCode, Config, Deflate, Message};

const USAGE: &str = "usage: interop_client [--deflate [--takeover]] URL SIZE…";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (options, args): (Vec<_>, Vec<_>) = std::env::args().skip(1).partition(|arg| arg.starts_with("--"));
    if let Some(unknown) = options.iter().find(|option| !["--deflate", "--takeover"].contains(&option.as_str())) {
        return Err(format!("{unknown}: no such option; {USAGE}").into());
    }
    let has = |name: &str| options.iter().any(|option| option == name);
    let (compress, takeover) = (has("--deflate"), has("--takeover"));
    let mut args = args.into_iter();
    let url = args.next().ok_or(USAGE)?;
    let sizes = args.map(|size| size.parse()).collect::<Result<Vec<usize>, _>>()?;
    let most = sizes.iter().copied().max().unwrap_or(0).max(1 << 20);
    let config = Config::with(|config| {
        config.limits.max_message = most;
        config.limits.max_frame = most;
    });
    let mut client = Client::new(&url)?.config(config);
    if compress {
        client = client.deflate(Deflate::default().server_takeover(takeover).client_takeover(takeover).threshold(0));
    }
    let mut socket = client.connect().await?;
    if compress && !socket.extensions().starts_with("permessage-deflate") {
        return Err(format!("the server agreed to {:?}", socket.extensions()).into());
    }
    for size in sizes {
        let text: String =
            "sockeye ä € 🐟 ".chars().cycle().scan(0, |len, c| fits(len, c, size).then_some(c)).collect();
        let bytes: Vec<u8> = (0..size).map(|i| u8::try_from(i * 31 % 251).unwrap_or(0)).collect();
        for message in [Message::from(text), Message::from(bytes)] {
            socket.send(message.clone()).await?;
            let echo = socket.recv().await?.ok_or("closed without an echo")?;
            if echo != message {
                return Err(format!("{message:?} came back as {echo:?}").into());
            }
        }
    }
    let outcome = socket.close(CloseCode::NORMAL, "done").await?;
    if outcome.is_clean() && outcome.code() == 1000 { Ok(()) } else { Err(format!("closed with {outcome:?}").into()) }
}

/// Whether the text may grow by one more character.
fn fits(len: &mut usize, c: char, size: usize) -> bool {
    *len += c.len_utf8();
    *len <= size
}
