//! Which path is what.
use std::fmt;

/// What a server serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Site {
    /// The hub at `/ws`, the pages at `/`, and each demo at its own path.
    Server,
    /// One demo, at every path: what clients of the classic tutorials expect.
    Demo(Demo),
    /// The services that conformance tests of SockJS ask for: `/echo`, `/disabled_websocket_echo`, `/cookie_needed_echo` and
    /// `/close`. Every page may connect, and every transport is there.
    SockJs,
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
    /// It closes at once.
    Close,
}

impl Service {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Hub => "hub",
            Self::Demo(demo) => demo.name(),
            Self::Close => "close",
        }
    }
}

/// Which of its paths a server answers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Routes {
    pub(crate) site: Site,
    /// Whether the front page, on which anybody can try channels, is there.
    pub(crate) page: bool,
    /// Whether the demos are there, beside the hub.
    pub(crate) demos: bool,
}

impl Routes {
    /// What answers WebSocket at this path.
    pub(crate) fn socket(self, path: &str) -> Option<Service> {
        match (self.site, path) {
            (Site::Server, "/ws") => Some(Service::Hub),
            _ => self.demo(path).map(Service::Demo),
        }
    }

    /// The service whose conversations over HTTP this path is for, and which part of them it is: what stands behind the path
    /// of the WebSocket.
    pub(crate) fn beside(self, path: &str) -> Option<(Service, &str)> {
        let (before, part) = path.rsplit_once('/')?;
        let service = self.socket(if before.is_empty() { "/" } else { before })?;
        Some((service, part))
    }

    fn demo(self, path: &str) -> Option<Demo> {
        match self.site {
            Site::Demo(demo) => Some(demo),
            Site::Server if self.demos => {
                Demo::ALL.into_iter().find(|demo| path.strip_prefix('/') == Some(demo.name()))
            }
            Site::Server | Site::SockJs => None,
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
            (None, "/") if self.page && self.site == Site::Server => Some("index.html"),
            (None, "/favicon.ico") => Some("favicon.svg"),
            (None, "/sockeye.js") => Some("sockeye.js"),
            (None, "/sockeye.d.ts") => Some("sockeye.d.ts"),
            // The modules of the client, whose paths in the package are those here.
            (None, _) if path.starts_with("/sockeye/") => path.strip_prefix('/'),
            (None, _) => None,
        }
    }
}
