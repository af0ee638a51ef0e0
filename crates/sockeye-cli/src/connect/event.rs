//! What happens on a connection, in the form of `--json`. Names and types of the fields are a promise to scripts.
use data_encoding::BASE64;
use serde::Serialize;
use sockeye::{CloseOutcome, ControlPayload, Message, Party};

#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub(super) enum Event<'a> {
    Open {
        url: &'a str,
        protocol: Option<&'a str>,
        extensions: &'a str,
        /// The version of HTTP that it was opened by.
        http: &'static str,
    },
    Message(Data<'a>),
    /// Answered already. The payload is in base64.
    Ping {
        data: String,
    },
    /// `ms` is the time since its ping, or null if this end sent none with this payload.
    Pong {
        data: String,
        ms: Option<f64>,
    },
    Close {
        code: u16,
        reason: &'a str,
        clean: bool,
        initiator: &'static str,
    },
    /// `code` is the library's stable name, `status` and `body` what a server said that refused.
    Error {
        code: &'a str,
        message: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        status: Option<u16>,
        #[serde(skip_serializing_if = "Option::is_none")]
        body: Option<&'a str>,
    },
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", content = "data", rename_all = "lowercase")]
pub(super) enum Data<'a> {
    Text(&'a str),
    /// In base64.
    Binary(String),
}

impl<'a> Event<'a> {
    pub(super) fn message(message: &'a Message) -> Self {
        Self::Message(match message {
            Message::Text(text) => Data::Text(text),
            Message::Binary(bytes) => Data::Binary(BASE64.encode(bytes)),
        })
    }

    pub(super) fn ping(payload: &ControlPayload) -> Self {
        Self::Ping { data: BASE64.encode(payload.as_bytes()) }
    }

    pub(super) fn pong(payload: &ControlPayload, ms: Option<f64>) -> Self {
        Self::Pong { data: BASE64.encode(payload.as_bytes()), ms }
    }

    pub(super) fn close(outcome: &'a CloseOutcome) -> Self {
        Self::Close {
            code: outcome.code(),
            reason: outcome.reason(),
            clean: outcome.is_clean(),
            initiator: if outcome.initiator() == Party::Local { "local" } else { "remote" },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_a_promise() {
        let json = |event: Event<'_>| serde_json::to_string(&event).unwrap();
        assert_eq!(
            json(Event::Open { url: "ws://a/", protocol: None, extensions: "", http: "2" }),
            r#"{"event":"open","url":"ws://a/","protocol":null,"extensions":"","http":"2"}"#
        );
        assert_eq!(json(Event::message(&"hi".into())), r#"{"event":"message","type":"text","data":"hi"}"#);
        let binary = Message::binary(vec![0, 255]);
        assert_eq!(json(Event::message(&binary)), r#"{"event":"message","type":"binary","data":"AP8="}"#);
        let payload = ControlPayload::try_from(&b"1"[..]).unwrap();
        assert_eq!(json(Event::ping(&payload)), r#"{"event":"ping","data":"MQ=="}"#);
        assert_eq!(json(Event::pong(&payload, Some(0.25))), r#"{"event":"pong","data":"MQ==","ms":0.25}"#);
        assert_eq!(json(Event::pong(&payload, None)), r#"{"event":"pong","data":"MQ==","ms":null}"#);
        assert_eq!(
            json(Event::Error { code: "io", message: "no", status: None, body: None }),
            r#"{"event":"error","code":"io","message":"no"}"#
        );
    }
}
