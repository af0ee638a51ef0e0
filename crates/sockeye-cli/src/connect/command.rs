//! What a typed line asks for.
use sockeye::CloseCode;

pub(super) const HELP: &str = "/ping [TEXT]   /close [CODE [REASON]]   /help   //TEXT sends /TEXT   Ctrl-D closes, \
    Ctrl-C leaves, a second one at once";

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Command<'a> {
    Send(&'a str),
    Ping(&'a str),
    Close(CloseCode, &'a str),
    Help,
    Wrong(String),
}

pub(super) fn parse(line: &str) -> Command<'_> {
    let Some(command) = line.strip_prefix('/') else { return Command::Send(line) };
    if command.starts_with('/') {
        return Command::Send(command);
    }
    let (verb, rest) = command.split_once(' ').unwrap_or((command, ""));
    match verb {
        "ping" => Command::Ping(rest),
        "close" => {
            let (code, reason) = rest.split_once(' ').unwrap_or((rest, ""));
            let number = if code.is_empty() { Ok(1000) } else { code.parse() };
            match number.map(CloseCode::new) {
                Ok(Ok(code)) => Command::Close(code, reason),
                Ok(Err(error)) => Command::Wrong(error.to_string()),
                Err(_) => Command::Wrong(format!("{code} is no close code: use 1000 or 3000 to 4999")),
            }
        }
        "help" => Command::Help,
        _ => Command::Wrong(format!("unknown command /{verb}: /help shows them, and //{verb} sends it as a message")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typed_lines_may_be_commands() {
        assert_eq!(parse("hello"), Command::Send("hello"));
        assert_eq!(parse("//hello"), Command::Send("/hello"));
        assert_eq!(parse("/ping are you there"), Command::Ping("are you there"));
        assert_eq!(parse("/close"), Command::Close(CloseCode::NORMAL, ""));
        let code = CloseCode::new(4100).unwrap();
        assert_eq!(parse("/close 4100 back soon"), Command::Close(code, "back soon"));
        assert!(matches!(parse("/close 1006"), Command::Wrong(_)));
        assert!(matches!(parse("/quit"), Command::Wrong(_)));
    }
}
