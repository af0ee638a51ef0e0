//! Who gets in: connections in all, and per address, counted before any work is done for them.
use std::{
    collections::HashMap,
    mem,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use sockeye::Rate;
use tokio::sync::Semaphore;

use crate::Admission;

/// Addresses without a connection whose arrivals are remembered, at most.
const MAX_ABSENT: usize = 100_000;

/// The gate that all workers share.
#[derive(Debug)]
pub(crate) struct Gate {
    limits: Admission,
    room: Semaphore,
    visitors: Mutex<Visitors>,
}

/// One connection of an address that has not had its share; over when dropped.
#[derive(Debug)]
pub(crate) struct Visit {
    gate: Arc<Gate>,
    /// `None` for those that are not counted.
    network: Option<Network>,
}

/// The right to be connected, given back when dropped.
#[derive(Debug)]
pub(crate) struct Ticket(Visit);

impl Ticket {
    /// Who comes, as far as limits for each address go; `None` for those that have none.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        self.0.network.map(IpAddr::from)
    }
}

/// There is room for another; that the visit is over its own drop says.
impl Drop for Ticket {
    fn drop(&mut self) {
        self.0.gate.room.add_permits(1);
    }
}

/// Who is here, and who was lately.
#[derive(Debug, Default)]
struct Visitors {
    /// Each with a connection, so there are no more than those.
    present: HashMap<Network, Visitor>,
    absent: Absent,
}

#[derive(Debug)]
struct Visitor {
    connections: u32,
    arrivals: Rate,
}

/// The arrivals of those who have left, in two generations: when the younger is full the older is forgotten as a whole, so
/// no visitor pays for a search through all of them.
#[derive(Debug, Default)]
struct Absent {
    younger: HashMap<Network, Rate>,
    older: HashMap<Network, Rate>,
}

impl Gate {
    pub(crate) fn new(limits: Admission) -> Arc<Self> {
        let room = Semaphore::new(limits.max_connections.min(Semaphore::MAX_PERMITS));
        Arc::new(Self { limits, room, visitors: Mutex::default() })
    }

    /// Lets a connection in, unless its address has had its share.
    pub(crate) fn admit(self: &Arc<Self>, peer: IpAddr, now: Instant) -> Option<Visit> {
        let is_counted = self.limits.limit_loopback || !peer.to_canonical().is_loopback();
        let network = is_counted.then(|| Network::of(peer));
        if network.is_none_or(|network| self.visitors().enter(network, now, &self.limits)) {
            Some(Visit { gate: Arc::clone(self), network })
        } else {
            None
        }
    }

    fn visitors(&self) -> MutexGuard<'_, Visitors> {
        self.visitors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Visit {
    /// Waits until there is room for one more connection.
    pub(crate) async fn wait_for_room(self) -> Ticket {
        match self.gate.room.acquire().await {
            // The ticket gives it back; a permit that does so itself would be two more words for each connection.
            Ok(room) => room.forget(),
            // Nobody closes this semaphore.
            Err(_closed) => std::future::pending().await,
        }
        Ticket(self)
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        if let Some(network) = self.network {
            self.gate.visitors().leave(network);
        }
    }
}

impl Visitors {
    fn enter(&mut self, network: Network, now: Instant, limits: &Admission) -> bool {
        let burst = u32::try_from(limits.per_address).unwrap_or(u32::MAX);
        if let Some(visitor) = self.present.get_mut(&network) {
            let allowed = visitor.connections < burst && visitor.arrivals.take(now, limits.new_per_second, burst);
            visitor.connections += u32::from(allowed);
            return allowed;
        }
        let mut arrivals = self.absent.take(network);
        // A burst of none never gives any.
        let allowed = arrivals.take(now, limits.new_per_second, burst);
        if allowed {
            self.present.insert(network, Visitor { connections: 1, arrivals });
        } else {
            self.absent.put(network, arrivals);
        }
        allowed
    }

    fn leave(&mut self, network: Network) {
        let Some(visitor) = self.present.get_mut(&network) else { return };
        visitor.connections = visitor.connections.saturating_sub(1);
        if visitor.connections == 0
            && let Some(visitor) = self.present.remove(&network)
        {
            self.absent.put(network, visitor.arrivals);
        }
    }
}

impl Absent {
    fn take(&mut self, network: Network) -> Rate {
        self.younger.remove(&network).or_else(|| self.older.remove(&network)).unwrap_or_default()
    }

    fn put(&mut self, network: Network, arrivals: Rate) {
        if self.younger.len() >= MAX_ABSENT / 2 {
            mem::swap(&mut self.younger, &mut self.older);
            self.younger.clear();
        }
        self.younger.insert(network, arrivals);
    }
}

/// What counts as one visitor: an IPv4 address, or the /64 that an IPv6 host usually has to itself. Half the size of an
/// address, as every connection has one, and every visitor in the books.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Network {
    V4([u8; 4]),
    V6([u16; 4]),
}

impl Network {
    fn of(peer: IpAddr) -> Self {
        match peer.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.octets()),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Self::V6([a, b, c, d])
            }
        }
    }
}

/// The first address of the network.
impl From<Network> for IpAddr {
    fn from(network: Network) -> Self {
        match network {
            Network::V4(octets) => octets.into(),
            Network::V6([a, b, c, d]) => [a, b, c, d, 0, 0, 0, 0].into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn enter(gate: &Arc<Gate>, peer: &str, now: Instant) -> Option<Visit> {
        gate.admit(peer.parse().unwrap(), now)
    }

    #[test]
    fn an_address_has_its_share_and_gets_it_back() {
        let gate = Gate::new(Admission { per_address: 2, new_per_second: 1, ..Admission::default() });
        let now = Instant::now();
        let first = enter(&gate, "192.0.2.1", now).expect("the first");
        let _second = enter(&gate, "192.0.2.1", now).expect("the second");
        assert!(enter(&gate, "192.0.2.1", now).is_none());
        assert!(enter(&gate, "192.0.2.2", now).is_some(), "others are not affected");
        drop(first);
        assert!(enter(&gate, "192.0.2.1", now).is_none(), "too soon after the burst");
        assert!(enter(&gate, "192.0.2.1", now + Duration::from_secs(1)).is_some());
    }

    #[test]
    fn who_leaves_is_remembered() {
        let gate = Gate::new(Admission { per_address: 2, new_per_second: 1, ..Admission::default() });
        let now = Instant::now();
        for _ in 0..2 {
            drop(enter(&gate, "192.0.2.1", now).expect("within the burst"));
        }
        for _ in 0..2 {
            assert!(enter(&gate, "192.0.2.1", now).is_none(), "coming and going is no way round the rate");
        }
        let visitors = gate.visitors();
        assert!(visitors.present.is_empty() && visitors.absent.younger.len() == 1);
    }

    #[test]
    fn a_64_network_is_one_visitor_and_loopback_is_none() {
        let gate = Gate::new(Admission { per_address: 1, ..Admission::default() });
        let now = Instant::now();
        let _first = enter(&gate, "2001:db8::1", now).expect("the first");
        assert!(enter(&gate, "2001:db8::2", now).is_none());
        assert!(enter(&gate, "2001:db8:0:1::1", now).is_some());
        let _here = enter(&gate, "::1", now).expect("here");
        assert!(enter(&gate, "127.0.0.1", now).is_some() && enter(&gate, "::1", now).is_some());
    }

    /// However many addresses come by, what is remembered has a bound, and the newest are in it.
    #[test]
    fn memory_of_the_absent_is_bounded_and_forgets_the_oldest() {
        let gate = Gate::new(Admission { per_address: 1, new_per_second: 1, ..Admission::default() });
        let now = Instant::now();
        let visitors = 3 * u32::try_from(MAX_ABSENT).unwrap();
        let address = |i: u32| IpAddr::from((0x0a00_0000 + i).to_be_bytes());
        for i in 0..visitors {
            drop(gate.admit(address(i), now).expect("each comes once"));
            let absent = &gate.visitors().absent;
            assert!(absent.younger.len() + absent.older.len() <= MAX_ABSENT);
        }
        assert!(gate.admit(address(visitors - 1), now).is_none(), "the newest is remembered");
        assert!(gate.admit(address(0), now).is_some(), "the oldest is forgotten");
    }

    /// One that waits for room holds none, so it keeps it from nobody.
    #[tokio::test]
    async fn room_is_taken_when_it_is_there() {
        let gate = Gate::new(Admission { max_connections: 1, ..Admission::default() });
        let now = Instant::now();
        let first = enter(&gate, "127.0.0.1", now).expect("loopback").wait_for_room().await;
        let second = tokio::spawn(enter(&gate, "127.0.0.1", now).expect("loopback").wait_for_room());
        tokio::task::yield_now().await;
        assert!(!second.is_finished());
        drop(first);
        second.await.unwrap();
    }
}
