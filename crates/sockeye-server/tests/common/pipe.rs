//! A client of conversations over HTTP that writes requests by hand and takes responses apart.
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{Running, assert_status, header, read_head, within};

/// A connection whose responses are read piece by piece.
pub(crate) struct Http {
    pub(crate) stream: TcpStream,
    /// Of the response that is being read.
    pub(crate) head: String,
    /// What has come of its body, and is not taken.
    text: String,
    is_over: bool,
}

impl Http {
    pub(crate) async fn to(server: &Running) -> Self {
        Self { stream: server.raw().await, head: String::new(), text: String::new(), is_over: false }
    }

    /// Asks, and reads the head of the response.
    pub(crate) async fn ask(&mut self, request: impl AsRef<str>) -> u16 {
        within(self.stream.write_all(request.as_ref().as_bytes())).await.unwrap();
        self.head = read_head(&mut self.stream).await;
        (self.text, self.is_over) = (String::new(), false);
        self.head.split(' ').nth(1).unwrap().parse().unwrap()
    }

    /// The next chunk of the body; `None` at its end, and where it is cut.
    async fn chunk(&mut self) -> Option<String> {
        if self.is_over || header(&self.head, "transfer-encoding").is_none() {
            let length = header(&self.head, "content-length").map_or(0, |length| length.parse::<usize>().unwrap());
            if std::mem::replace(&mut self.is_over, true) || length == 0 {
                return None;
            }
            return self.read(length).await;
        }
        let mut line = String::new();
        while !line.ends_with("\r\n") {
            line += &self.read(1).await?;
        }
        let length = usize::from_str_radix(line.trim_end(), 16).unwrap();
        let chunk = self.read(length + 2).await?;
        self.is_over = length == 0;
        (length > 0).then(|| chunk.strip_suffix("\r\n").unwrap().to_owned())
    }

    async fn read(&mut self, length: usize) -> Option<String> {
        let mut bytes = vec![0; length];
        within(self.stream.read_exact(&mut bytes)).await.ok()?;
        Some(String::from_utf8(bytes).unwrap())
    }

    /// What comes up to this mark; `None` at the end.
    pub(crate) async fn until(&mut self, mark: &str) -> Option<String> {
        loop {
            if let Some((before, after)) = self.text.split_once(mark) {
                let (before, after) = (before.to_owned(), after.to_owned());
                self.text = after;
                return Some(before);
            }
            let chunk = self.chunk().await?;
            self.text += &chunk;
        }
    }

    /// All that is left of it, and whether it has an end.
    pub(crate) async fn rest(&mut self) -> (String, bool) {
        while let Some(chunk) = self.chunk().await {
            self.text += &chunk;
        }
        (std::mem::take(&mut self.text), self.is_over)
    }

    /// The next object on a stream of lines; heartbeats are passed over.
    pub(crate) async fn line(&mut self) -> Option<Value> {
        loop {
            let line = self.until("\n").await?;
            if !line.trim().is_empty() {
                return Some(serde_json::from_str(&line).unwrap());
            }
        }
    }

    /// The next event that has data, and its id; comments are passed over.
    pub(crate) async fn event(&mut self) -> Option<Event> {
        loop {
            let text = self.until("\n\n").await?;
            let field = |name: &str| {
                let mut lines = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
                lines.next().map(str::to_owned)
            };
            if let Some(data) = field("data") {
                let data = serde_json::from_str(&data).unwrap();
                return Some(Event { id: field("id"), name: field("event"), data });
            }
        }
    }
}

/// One server-sent event.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) id: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) data: Value,
}

/// A conversation, and the stream of lines that it is heard by.
pub(crate) struct Pipe<'a> {
    pub(crate) server: &'a Running,
    pub(crate) path: &'static str,
    pub(crate) id: String,
    pub(crate) lines: Http,
}

impl<'a> Pipe<'a> {
    pub(crate) async fn open(server: &'a Running, path: &'static str) -> Self {
        let mut lines = Http::to(server).await;
        assert_eq!(lines.ask(get(&format!("{path}/stream"), "")).await, 200, "{}", lines.head);
        let open = lines.line().await.unwrap();
        let id = open["open"]["id"].as_str().unwrap().to_owned();
        Self { server, path, id, lines }
    }

    /// Comes back on another connection, having got so many messages.
    pub(crate) async fn come_back(&mut self, received: usize) -> u16 {
        self.lines = Http::to(self.server).await;
        self.lines.ask(get(&format!("{}/stream?id={}&received={received}", self.path, self.id), "")).await
    }

    /// The status of a request that brings this array.
    pub(crate) async fn send(&self, query: &str, body: &str) -> String {
        let path = format!("{}/send?id={}{query}", self.path, self.id);
        self.server.ask(post(&path, "Connection: close\r\n", body)).await
    }

    pub(crate) async fn say(&self, message: &Value) {
        assert_status(&self.send("", &json!([message]).to_string()).await, 204);
    }

    /// The next that is heard.
    pub(crate) async fn hear(&mut self) -> Value {
        self.lines.line().await.expect("it goes on")
    }

    /// What becomes of a command.
    pub(crate) async fn ask(&mut self, command: Value) -> Value {
        self.say(&command).await;
        loop {
            let value = self.hear().await;
            if value["id"] == command["id"] {
                return value;
            }
        }
    }

    /// Whether there is still such a conversation.
    pub(crate) async fn is_there(&self) -> bool {
        !self.send("", "[]").await.starts_with("HTTP/1.1 404 ")
    }
}

pub(crate) fn get(path: &str, more: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n{more}\r\n")
}

pub(crate) fn post(path: &str, more: &str, body: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n{more}\r\n{body}", body.len())
}
