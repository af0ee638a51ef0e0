//! The guide's chapters as documentation, so that `cargo test` compiles and runs their examples.
#![cfg(doctest)]

macro_rules! chapters {
    ($($name:ident = $file:literal),+ $(,)?) => {$(
        #[doc = include_str!($file)]
        pub struct $name;
    )+};
}

chapters! {
    Introduction = "src/introduction.md",
    Tour = "src/tour.md",
    Client = "src/client.md",
    Server = "src/server.md",
    Limits = "src/limits.md",
    Closing = "src/closing.md",
    Backpressure = "src/backpressure.md",
    Splitting = "src/splitting.md",
    Broadcasting = "src/broadcasting.md",
    Compression = "src/compression.md",
    TlsAndProxies = "src/tls-and-proxies.md",
    Http2 = "src/http2.md",
    Reconnecting = "src/reconnecting.md",
    BehindAProxy = "src/behind-a-proxy.md",
    Migrating = "src/migrating.md",
    Security = "src/security.md",
}
