//! What the durable store writes, byte by byte, and how it reads it back without believing it.
//!
//! Every record ends with a checksum, keyed with the store's secret, over its bytes *and the place where it belongs*: a
//! record that changed, or stands where another one should, is not read. Numbers are little endian.
//!
//! ```text
//! state        version=1 | commits 8 | channels 8 | next id 8 | sum 8
//! channel      version=1 | id 8 | epoch 16 | top 8 | first 8 | sum 8, of its name
//! key          version=1 | time in Unix ms 8 | the key | sum 8, of name and offset
//! publication  version=1 | flags 1 | time 8 | epoch 16 | [event] [conflate] [sender] | the payload | sum 8, as of a key
//!              a text: length 4, UTF-8; a sender: session 16 and, if the flag says so, its user as a text
//! ```
use std::{hash::Hasher, sync::Arc};

use bytes::Bytes;
use serde::de::IgnoredAny;
use siphasher::{sip::SipHasher13, sip128::SipHasher24};
use sockeye_hub::{ChannelName, Encoded, Epoch, Kind, Payload, Position, Publication, Sender, SessionId};

const VERSION: u8 = 1;
const SUM: usize = 8;

const KIND: u8 = 0b0000_0011;
const ECHO: u8 = 0b0000_0100;
const EVENT: u8 = 0b0000_1000;
const CONFLATE: u8 = 0b0001_0000;
const FROM: u8 = 0b0010_0000;
const USER: u8 = 0b0100_0000;
const UNUSED: u8 = 0b1000_0000;

/// What no record says: it changed since it was written, it belongs elsewhere, or a newer version wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Damaged;

/// The secret of a store: what its checksums are keyed with, and what its epochs are made of.
#[derive(Clone)]
pub(super) struct Secret([u8; 16]);

/// Where a record belongs, so that none passes for another.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place<'a> {
    State,
    Mark,
    Channel(&'a ChannelName),
    Key(&'a ChannelName, u64),
    Publication(&'a ChannelName, u64),
}

/// What holds for the whole store, as of its newest commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    pub(super) commits: u64,
    pub(super) channels: u64,
    pub(super) next_id: u64,
}

/// What there is of a channel, besides its items and keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// What its items and keys are found by.
    pub(super) id: u64,
    pub(super) epoch: Epoch,
    pub(super) top: u64,
    /// The oldest item there is; `top + 1` if there is none.
    pub(super) first: u64,
}

impl Secret {
    pub(super) fn random() -> Self {
        Self(rand::random())
    }

    /// As bytes, with a checksum of their own.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = self.0.to_vec();
        bytes.extend(SipHasher13::new_with_key(&[0; 16]).hash(&self.0).to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Damaged> {
        let secret = Self(bytes.get(..16).and_then(|secret| secret.try_into().ok()).ok_or(Damaged)?);
        if secret.encode() == bytes { Ok(secret) } else { Err(Damaged) }
    }

    /// The epoch of a channel that has none yet: the same each time, and not to be guessed by who does not know the
    /// secret.
    pub(super) fn epoch(&self, channel: &ChannelName) -> Epoch {
        Epoch(SipHasher24::new_with_key(&self.0).hash(channel.as_str().as_bytes()).as_u128())
    }

    /// A short name of a channel that nobody outside can choose to be another one's.
    pub(super) fn short(&self, channel: &ChannelName) -> u64 {
        self.sum(Place::Channel(channel), b"")
    }

    pub(super) fn seal(&self, place: Place<'_>, mut record: Vec<u8>) -> Vec<u8> {
        let sum = self.sum(place, &record);
        record.extend(sum.to_le_bytes());
        record
    }

    /// The record without its checksum.
    pub(super) fn open<'a>(&self, place: Place<'_>, bytes: &'a [u8]) -> Result<&'a [u8], Damaged> {
        let (record, sum) = bytes.split_last_chunk::<SUM>().ok_or(Damaged)?;
        if self.sum(place, record) == u64::from_le_bytes(*sum) { Ok(record) } else { Err(Damaged) }
    }

    fn sum(&self, place: Place<'_>, record: &[u8]) -> u64 {
        let mut hasher = SipHasher13::new_with_key(&self.0);
        let (tag, name, offset) = match place {
            Place::State => (0, None, 0),
            Place::Mark => (1, None, 0),
            Place::Channel(name) => (2, Some(name), 0),
            Place::Key(name, offset) => (3, Some(name), offset),
            Place::Publication(name, offset) => (4, Some(name), offset),
        };
        hasher.write_u8(tag);
        hasher.write_u64(offset);
        // No name has a zero byte, so it says where the name ends.
        hasher.write(name.map_or(b"".as_slice(), |name| name.as_str().as_bytes()));
        hasher.write_u8(0);
        hasher.write(record);
        hasher.finish()
    }
}

impl State {
    pub(super) fn encode(&self, secret: &Secret) -> Vec<u8> {
        let mut record = vec![VERSION];
        for number in [self.commits, self.channels, self.next_id] {
            record.extend(number.to_le_bytes());
        }
        secret.seal(Place::State, record)
    }

    pub(super) fn decode(secret: &Secret, bytes: &[u8]) -> Result<Self, Damaged> {
        let mut reader = Reader::new(secret.open(Place::State, bytes)?)?;
        let state = Self { commits: reader.u64()?, channels: reader.u64()?, next_id: reader.u64()? };
        reader.end()?;
        Ok(state)
    }
}

impl Row {
    pub(super) fn encode(&self, secret: &Secret, channel: &ChannelName) -> Vec<u8> {
        let mut record = vec![VERSION];
        record.extend(self.id.to_le_bytes());
        record.extend(self.epoch.0.to_le_bytes());
        record.extend(self.top.to_le_bytes());
        record.extend(self.first.to_le_bytes());
        secret.seal(Place::Channel(channel), record)
    }

    pub(super) fn decode(secret: &Secret, channel: &ChannelName, bytes: &[u8]) -> Result<Self, Damaged> {
        let mut reader = Reader::new(secret.open(Place::Channel(channel), bytes)?)?;
        let row = Self { id: reader.u64()?, epoch: Epoch(reader.u128()?), top: reader.u64()?, first: reader.u64()? };
        reader.end()?;
        if row.top == 0 || row.first == 0 || row.first > row.top.saturating_add(1) { Err(Damaged) } else { Ok(row) }
    }
}

pub(super) fn encode_key(secret: &Secret, channel: &ChannelName, offset: u64, at_ms: u64, key: &str) -> Vec<u8> {
    let mut record = vec![VERSION];
    record.extend(at_ms.to_le_bytes());
    record.extend(key.as_bytes());
    secret.seal(Place::Key(channel, offset), record)
}

/// A key and its time.
pub(super) fn decode_key(
    secret: &Secret,
    channel: &ChannelName,
    offset: u64,
    bytes: &[u8],
) -> Result<(Arc<str>, u64), Damaged> {
    let mut reader = Reader::new(secret.open(Place::Key(channel, offset), bytes)?)?;
    let at_ms = reader.u64()?;
    let key = text(reader.rest())?;
    Ok((key, at_ms))
}

pub(super) fn encode_publication(secret: &Secret, position: Position, publication: &Publication) -> Vec<u8> {
    let Publication { channel, payload, event, conflate, from, echo, at_ms, .. } = publication;
    let mut record = Vec::with_capacity(publication.weight());
    let user = from.as_ref().and_then(|from| from.user.as_ref());
    let flag = |set: bool, flag: u8| if set { flag } else { 0 };
    record.push(VERSION);
    record.push(
        kind_to_bits(payload.kind)
            | flag(*echo, ECHO)
            | flag(event.is_some(), EVENT)
            | flag(conflate.is_some(), CONFLATE)
            | flag(from.is_some(), FROM)
            | flag(user.is_some(), USER),
    );
    record.extend(at_ms.to_le_bytes());
    record.extend(position.epoch.0.to_le_bytes());
    for text in [event, conflate].into_iter().flatten() {
        write_text(&mut record, text);
    }
    if let Some(from) = from {
        record.extend(from.session.0.to_le_bytes());
    }
    if let Some(user) = user {
        write_text(&mut record, user);
    }
    record.extend_from_slice(&payload.bytes);
    secret.seal(Place::Publication(channel, position.offset), record)
}

pub(super) fn decode_publication(
    secret: &Secret,
    channel: &ChannelName,
    position: Position,
    bytes: &[u8],
) -> Result<Publication, Damaged> {
    let mut reader = Reader::new(secret.open(Place::Publication(channel, position.offset), bytes)?)?;
    let flags = reader.u8()?;
    let has = |flag: u8| flags & flag != 0;
    let at_ms = reader.u64()?;
    if has(UNUSED) || (has(USER) && !has(FROM)) || reader.u128()? != position.epoch.0 {
        return Err(Damaged);
    }
    let event = has(EVENT).then(|| reader.text()).transpose()?;
    let conflate = has(CONFLATE).then(|| reader.text()).transpose()?;
    let session = has(FROM).then(|| reader.u128()).transpose()?;
    let user = has(USER).then(|| reader.text()).transpose()?;
    Ok(Publication {
        channel: channel.clone(),
        position: Some(position),
        payload: payload(kind_of_bits(flags & KIND)?, reader.rest())?,
        event,
        conflate,
        from: session.map(|session| Sender { session: SessionId(session), user }),
        echo: has(ECHO),
        at_ms,
        encoded: Encoded::default(),
    })
}

/// A checksum is no proof of what a file holds, so the payload has to be what its kind says.
fn payload(kind: Kind, bytes: &[u8]) -> Result<Payload, Damaged> {
    let holds = match kind {
        Kind::Json => serde_json::from_slice::<IgnoredAny>(bytes).is_ok(),
        Kind::Text => std::str::from_utf8(bytes).is_ok(),
        Kind::Binary => true,
    };
    if holds { Ok(Payload { kind, bytes: Bytes::copy_from_slice(bytes) }) } else { Err(Damaged) }
}

fn kind_to_bits(kind: Kind) -> u8 {
    match kind {
        Kind::Json => 0,
        Kind::Text => 1,
        Kind::Binary => 2,
    }
}

fn kind_of_bits(bits: u8) -> Result<Kind, Damaged> {
    match bits {
        0 => Ok(Kind::Json),
        1 => Ok(Kind::Text),
        2 => Ok(Kind::Binary),
        _ => Err(Damaged),
    }
}

fn write_text(record: &mut Vec<u8>, text: &str) {
    // A longer one than this does not get here: `StoreOptions::record_bytes`.
    record.extend(u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
    record.extend_from_slice(text.as_bytes());
}

fn text(bytes: &[u8]) -> Result<Arc<str>, Damaged> {
    std::str::from_utf8(bytes).map(Arc::from).map_err(|_| Damaged)
}

/// Reads a record from its front; what is not there is damage.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Of a record of the version that is understood here.
    fn new(record: &'a [u8]) -> Result<Self, Damaged> {
        let mut reader = Self(record);
        if reader.u8()? == VERSION { Ok(reader) } else { Err(Damaged) }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Damaged> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Damaged)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Damaged> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or(Damaged)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u8(&mut self) -> Result<u8, Damaged> {
        self.array().map(u8::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, Damaged> {
        self.array().map(u64::from_le_bytes)
    }

    fn u128(&mut self) -> Result<u128, Damaged> {
        self.array().map(u128::from_le_bytes)
    }

    fn text(&mut self) -> Result<Arc<str>, Damaged> {
        let len = self.array().map(u32::from_le_bytes)?;
        text(self.take(usize::try_from(len).map_err(|_| Damaged)?)?)
    }

    fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    fn end(&self) -> Result<(), Damaged> {
        if self.0.is_empty() { Ok(()) } else { Err(Damaged) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

    use proptest::{collection::vec, option, prelude::*};

    use super::*;

    fn name(text: &str) -> ChannelName {
        text.parse().unwrap()
    }

    fn secret() -> Secret {
        Secret(*b"0123456789abcdef")
    }

    const AT: Position = Position { epoch: Epoch(7 << 100), offset: 3 };

    fn texts() -> impl Strategy<Value = Option<Arc<str>>> {
        option::of(".{0,20}".prop_map(Arc::from))
    }

    fn payloads() -> impl Strategy<Value = Payload> {
        prop_oneof![
            any::<Vec<u64>>().prop_map(|value| (Kind::Json, serde_json::to_vec(&value).unwrap())),
            ".{0,50}".prop_map(|text| (Kind::Text, text.into_bytes())),
            vec(any::<u8>(), 0..100).prop_map(|bytes| (Kind::Binary, bytes)),
        ]
        .prop_map(|(kind, bytes)| Payload { kind, bytes: bytes.into() })
    }

    prop_compose! {
        fn publications()(
            payload in payloads(), event in texts(), conflate in texts(), user in texts(),
            session in option::of(any::<u128>()), echo: bool, at_ms: u64,
        ) -> Publication {
            let from = session.map(|session| Sender { session: SessionId(session), user });
            let (channel, position, encoded) = (name("chat:a"), Some(AT), Encoded::default());
            Publication { channel, position, payload, event, conflate, from, echo, at_ms, encoded }
        }
    }

    fn fields(p: &Publication) -> impl PartialEq + std::fmt::Debug + use<> {
        let position = p.position.map(|position| (position.epoch, position.offset));
        let head = (p.channel.clone(), position, p.payload.clone(), p.echo, p.at_ms);
        (head, p.event.clone(), p.conflate.clone(), p.from.clone())
    }

    proptest! {
        #[test]
        fn a_publication_comes_back_whole(publication in publications()) {
            let bytes = encode_publication(&secret(), AT, &publication);
            let back = decode_publication(&secret(), &name("chat:a"), AT, &bytes).unwrap();
            prop_assert_eq!(fields(&back), fields(&publication));
        }

        #[test]
        fn any_change_is_seen(publication in publications(), at: prop::sample::Index, bit in 0..8u8) {
            let mut bytes = encode_publication(&secret(), AT, &publication);
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert!(decode_publication(&secret(), &name("chat:a"), AT, &bytes).is_err());
            bytes[at] ^= 1 << bit;
            bytes.truncate(at);
            prop_assert!(decode_publication(&secret(), &name("chat:a"), AT, &bytes).is_err());
        }

        /// Whoever can write the file knows its secret, so a right checksum proves nothing.
        #[test]
        fn bytes_under_a_right_checksum_are_not_believed(mut record in vec(any::<u8>(), 0..80), epoch: bool) {
            if let Some(version) = record.first_mut() {
                *version &= 1;
            }
            if epoch && record.len() >= 26 {
                record[10..26].copy_from_slice(&AT.epoch.0.to_le_bytes());
            }
            let (secret, channel) = (secret(), name("chat:a"));
            let _ = State::decode(&secret, &secret.seal(Place::State, record.clone()));
            let _ = decode_key(&secret, &channel, 3, &secret.seal(Place::Key(&channel, 3), record.clone()));
            if let Ok(row) = Row::decode(&secret, &channel, &secret.seal(Place::Channel(&channel), record.clone())) {
                prop_assert!(row.top > 0 && row.first <= row.top + 1);
            }
            let sealed = secret.seal(Place::Publication(&channel, 3), record);
            if let Ok(publication) = decode_publication(&secret, &channel, AT, &sealed) {
                prop_assert!(publication.payload.bytes.len() < 80);
                prop_assert_eq!(publication.position, Some(AT));
                match publication.payload.kind {
                    Kind::Json => {
                        prop_assert!(serde_json::from_slice::<IgnoredAny>(&publication.payload.bytes).is_ok());
                    }
                    Kind::Text => prop_assert!(std::str::from_utf8(&publication.payload.bytes).is_ok()),
                    Kind::Binary => {}
                }
            }
        }
    }

    #[test]
    fn a_record_is_read_only_where_it_belongs() {
        let (secret, channel) = (secret(), name("chat:a"));
        let bytes = encode_key(&secret, &channel, 3, 1_000, "once");
        assert_eq!(decode_key(&secret, &channel, 3, &bytes), Ok(("once".into(), 1_000)));
        assert_eq!(decode_key(&secret, &channel, 4, &bytes), Err(Damaged));
        assert_eq!(decode_key(&secret, &name("chat:b"), 3, &bytes), Err(Damaged));
        assert_eq!(decode_key(&Secret([0; 16]), &channel, 3, &bytes), Err(Damaged));
        let row = Row { id: 1, epoch: Epoch(2), top: 9, first: 4 };
        let bytes = row.encode(&secret, &channel);
        assert_eq!(Row::decode(&secret, &channel, &bytes), Ok(row));
        assert_eq!(Row::decode(&secret, &name("chat:b"), &bytes), Err(Damaged));
        assert!(State::decode(&secret, &bytes).is_err());
    }

    #[test]
    fn an_epoch_depends_on_the_secret_and_the_name_alone() {
        let epoch = |secret: &Secret, text: &str| secret.epoch(&name(text));
        assert_eq!(epoch(&secret(), "a"), epoch(&secret(), "a"));
        assert_ne!(epoch(&secret(), "a"), epoch(&secret(), "b"));
        assert_ne!(epoch(&secret(), "a"), epoch(&Secret::random(), "a"));
        let bytes = secret().encode();
        assert_eq!(epoch(&Secret::decode(&bytes).unwrap(), "a"), epoch(&secret(), "a"));
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(Secret::decode(&changed).is_err());
        }
    }
}
