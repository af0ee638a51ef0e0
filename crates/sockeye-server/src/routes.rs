//! Which path is what.
use std::fmt;

/// What a server serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Site {
    /// The hub at `/ws`, the pages at `/`, and each demo at its own path.
    Server,
    /// One demo, at every path: what clients of the classic tutorials expect.
    Demo(Demo),
}

/// One of the three demos. Their wires are in docs/demos.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demo {
    /// Every message comes back as it was.
    Echo,
    /// A chat room that remembers its last hundred messages.
    Chat,
    /// Everybody's pointer on everybody's page.
    Cursors,
}

impl Demo {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Echo, Self::Chat, Self::Cursors];

    /// Its name, which is also its path without the slash.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Chat => "chat",
            Self::Cursors => "cursors",
        }
    }
}

impl fmt::Display for Demo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What answers a WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    /// Channels, in our own protocol.
    Hub,
    /// A demo.
    Demo(Demo),
}

impl Site {
    /// What answers WebSocket at this path.
    pub(crate) fn socket(self, path: &str) -> Option<Service> {
        match (self, path) {
            (Self::Server, "/ws") => Some(Service::Hub),
            _ => self.demo(path).map(Service::Demo),
        }
    }

    fn demo(self, path: &str) -> Option<Demo> {
        match self {
            Self::Demo(demo) => Some(demo),
            Self::Server => Demo::ALL.into_iter().find(|demo| path.strip_prefix('/') == Some(demo.name())),
        }
    }

    /// The file that answers a plain GET of this path.
    pub(crate) fn page(self, path: &str) -> Option<&str> {
        if let Some(asset) = path.strip_prefix("/assets/") {
            return Some(asset);
        }
        match (self.demo(path), path) {
            (Some(Demo::Echo), _) => Some("echo.html"),
            (Some(Demo::Chat), _) => Some("chat.html"),
            (Some(Demo::Cursors), _) => Some("cursors.html"),
            (None, "/") => Some("index.html"),
            (None, "/favicon.ico") => Some("favicon.svg"),
            (None, _) => None,
        }
    }
}
