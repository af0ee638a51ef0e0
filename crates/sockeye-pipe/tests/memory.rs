//! What a conversation costs while nothing happens: its own size, and no message.
use std::{sync::Arc, time::Instant};

use sockeye_pipe::{Config, Conversation, Output, ReceiverKind, Resume, sockjs::Transport};

#[test]
fn a_conversation_is_small_and_holds_no_message_when_it_is_idle() {
    assert!(size_of::<Conversation<Transport>>() <= 512, "{} bytes", size_of::<Conversation<Transport>>());
    let now = Instant::now();
    let mut conversation = Conversation::new(now, Arc::new(Config::sockjs()));
    let stream = ReceiverKind::Streaming { limit: 1 << 20 };
    let stream = conversation.attach(now, Transport::XhrStreaming, stream, Resume::Unchecked).unwrap();
    for _ in 0..100 {
        conversation.send("a message".into()).unwrap();
    }
    while conversation.poll_output(stream, now, 1 << 16) != Output::Wait {}
    assert_eq!(conversation.held_out(), (0, 0));
}
