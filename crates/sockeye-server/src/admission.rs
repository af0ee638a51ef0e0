//! Who gets in: connections in all, and per address, counted before any work is done for them.
use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use sockeye::Rate;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::Admission;

/// Addresses remembered at most; beyond that, those without a connection are forgotten.
const MAX_ADDRESSES: usize = 100_000;

/// The gate that all workers share.
#[derive(Debug)]
pub(crate) struct Gate {
    limits: Admission,
    room: Arc<Semaphore>,
    addresses: Mutex<HashMap<IpAddr, Visitor>>,
}

#[derive(Debug, Default)]
struct Visitor {
    connections: usize,
    arrivals: Rate,
}

/// The right to be connected, given back when dropped.
#[derive(Debug)]
pub(crate) struct Ticket {
    gate: Arc<Gate>,
    address: Option<IpAddr>,
    _room: OwnedSemaphorePermit,
}

impl Gate {
    pub(crate) fn new(limits: Admission) -> Arc<Self> {
        let room = Arc::new(Semaphore::new(limits.max_connections.min(Semaphore::MAX_PERMITS)));
        Arc::new(Self { limits, room, addresses: Mutex::default() })
    }

    /// Waits until there is room for one more connection.
    pub(crate) async fn wait_for_room(&self) -> OwnedSemaphorePermit {
        match Arc::clone(&self.room).acquire_owned().await {
            Ok(permit) => permit,
            // Nobody closes this semaphore.
            Err(_closed) => std::future::pending().await,
        }
    }

    /// Lets the owner of `room` in, unless its address has had its share.
    pub(crate) fn admit(self: &Arc<Self>, peer: IpAddr, room: OwnedSemaphorePermit, now: Instant) -> Option<Ticket> {
        let address = (self.limits.limit_loopback || !peer.to_canonical().is_loopback()).then(|| network(peer));
        if let Some(address) = address {
            let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
            if addresses.len() >= MAX_ADDRESSES {
                addresses.retain(|_, visitor| visitor.connections > 0);
            }
            let burst = u32::try_from(self.limits.per_address).unwrap_or(u32::MAX);
            let visitor = addresses.entry(address).or_default();
            let allowed = visitor.connections < self.limits.per_address
                && visitor.arrivals.take(now, self.limits.new_per_second, burst);
            if !allowed {
                return None;
            }
            visitor.connections += 1;
        }
        Some(Ticket { gate: Arc::clone(self), address, _room: room })
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let Some(address) = self.address else { return };
        let mut addresses = self.gate.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(visitor) = addresses.get_mut(&address) {
            visitor.connections = visitor.connections.saturating_sub(1);
        }
    }
}

/// What counts as one visitor: an IPv4 address, or the /64 that an IPv6 host usually has to itself.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    async fn enter(gate: &Arc<Gate>, peer: &str, now: Instant) -> Option<Ticket> {
        gate.admit(peer.parse().unwrap(), gate.wait_for_room().await, now)
    }

    #[tokio::test]
    async fn an_address_has_its_share_and_gets_it_back() {
        let gate = Gate::new(Admission { per_address: 2, new_per_second: 1, ..Admission::default() });
        let now = Instant::now();
        let first = enter(&gate, "192.0.2.1", now).await.expect("the first");
        let _second = enter(&gate, "192.0.2.1", now).await.expect("the second");
        assert!(enter(&gate, "192.0.2.1", now).await.is_none());
        assert!(enter(&gate, "192.0.2.2", now).await.is_some(), "others are not affected");
        drop(first);
        assert!(enter(&gate, "192.0.2.1", now).await.is_none(), "too soon after the burst");
        assert!(enter(&gate, "192.0.2.1", now + Duration::from_secs(1)).await.is_some());
    }

    #[tokio::test]
    async fn a_64_network_is_one_visitor_and_loopback_is_none() {
        let gate = Gate::new(Admission { per_address: 1, ..Admission::default() });
        let now = Instant::now();
        let _first = enter(&gate, "2001:db8::1", now).await.expect("the first");
        assert!(enter(&gate, "2001:db8::2", now).await.is_none());
        assert!(enter(&gate, "2001:db8:0:1::1", now).await.is_some());
        let _here = enter(&gate, "::1", now).await.expect("here");
        assert!(enter(&gate, "127.0.0.1", now).await.is_some() && enter(&gate, "::1", now).await.is_some());
    }
}
