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
    Client = "src/client.md",
    Server = "src/server.md",
    Limits = "src/limits.md",
    Closing = "src/closing.md",
    Backpressure = "src/backpressure.md",
    Broadcasting = "src/broadcasting.md",
    BehindAProxy = "src/behind-a-proxy.md",
    Migrating = "src/migrating.md",
    Security = "src/security.md",
}
