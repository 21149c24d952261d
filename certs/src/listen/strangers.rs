//! Places for peers that have not shown who they are: how many there may be, and who leaves for whom.
//!
//! At the limit, one of the peers must go. Since none of them is known yet, the choice is by origin and by lot:
//! it is one of those from the part of the network that has most of them. Half of the places are safe for
//! peers that have sent a whole ClientHello from those that are silent, and the reverse. Thus a flood pushes
//! out its own peers, and an honest peer may be as slow as its distance requires.

use std::{
    collections::HashMap,
    fmt,
    hash::{BuildHasher as _, RandomState},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

/// The places of a listener.
#[derive(Debug)]
pub struct Strangers {
    limit: usize,
    places: Mutex<Places>,
}

/// A stranger's place, which is returned when dropped.
#[derive(Debug)]
pub struct Place {
    strangers: Arc<Strangers>,
    number: u64,
}

/// The notice to a stranger that it must go.
#[derive(Debug)]
pub struct Shed(oneshot::Receiver<()>);

#[derive(Debug, Default)]
struct Places {
    entered: u64,
    taken: HashMap<u64, Taken>,
    silent: Group,
    greeting: Group,
    random: RandomState,
}

/// Where a stranger comes from, as far as it shares its places with others from there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Neighbourhood {
    /// A part of the network.
    Network(IpAddr),
    /// An account of this host, by its user ID.
    Account(u32),
}

impl Neighbourhood {
    /// Returns the neighbourhood of an address: the part of the network that it is in.
    pub fn of(address: IpAddr) -> Self {
        Self::Network(network(address))
    }
}

impl fmt::Display for Neighbourhood {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(network) => network.fmt(f),
            Self::Account(uid) => write!(f, "uid {uid}"),
        }
    }
}

#[derive(Debug)]
struct Taken {
    from: Neighbourhood,
    has_greeted: bool,
    shed: oneshot::Sender<()>,
}

/// The strangers of one kind, by where they come from.
#[derive(Debug, Default)]
struct Group {
    networks: HashMap<Neighbourhood, Vec<u64>>,
    count: usize,
}

impl Strangers {
    /// Returns `limit` places, at least one.
    pub fn new(limit: usize) -> Self {
        Self { limit: limit.max(1), places: Mutex::default() }
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place for a peer from there. At the limit, another peer must go.
    pub fn enter(self: &Arc<Self>, from: Neighbourhood) -> (Place, Shed) {
        let mut places = self.places();
        while places.taken.len() >= self.limit {
            let silent = places.greeting.count <= self.limit / 2 && places.silent.count > 0;
            places.shed_one(silent);
        }
        places.entered += 1;
        let number = places.entered;
        let (shed, told) = oneshot::channel();
        places.taken.insert(number, Taken { from, has_greeted: false, shed });
        places.silent.add(from, number);
        (Place { strangers: Arc::clone(self), number }, Shed(told))
    }

    /// Sends one stranger away, to free its descriptor. Returns false when there is none.
    pub fn shed(&self) -> bool {
        let mut places = self.places();
        let silent = places.silent.count > 0;
        places.shed_one(silent)
    }
}

impl Place {
    /// Notes that a whole ClientHello has come from this peer.
    pub fn greet(&self) {
        let mut places = self.strangers.places();
        let Some(taken) = places.taken.get_mut(&self.number) else { return };
        if !std::mem::replace(&mut taken.has_greeted, true) {
            let from = taken.from;
            places.silent.remove(from, self.number);
            places.greeting.add(from, self.number);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.strangers.places().remove(self.number);
    }
}

impl Shed {
    /// Waits until the peer must go; for ever once its place is returned.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn wait(&mut self) {
        if (&mut self.0).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Places {
    /// Sends away one of the silent strangers, or one of those that have greeted. Returns false when there is none.
    fn shed_one(&mut self, silent: bool) -> bool {
        let lot = self.random.hash_one(self.entered) as usize;
        let group = if silent { &self.silent } else { &self.greeting };
        let largest = group.networks.values().max_by_key(|numbers| numbers.len());
        let drawn = largest.and_then(|numbers| numbers.get(lot % numbers.len()).copied());
        let Some(taken) = drawn.and_then(|number| self.remove(number)) else { return false };
        // A peer whose task no longer listens is leaving.
        let _ = taken.shed.send(());
        true
    }

    fn remove(&mut self, number: u64) -> Option<Taken> {
        let taken = self.taken.remove(&number)?;
        let group = if taken.has_greeted { &mut self.greeting } else { &mut self.silent };
        group.remove(taken.from, number);
        Some(taken)
    }
}

impl Group {
    fn add(&mut self, from: Neighbourhood, number: u64) {
        self.networks.entry(from).or_default().push(number);
        self.count += 1;
    }

    fn remove(&mut self, from: Neighbourhood, number: u64) {
        let Some(numbers) = self.networks.get_mut(&from) else { return };
        if let Some(at) = numbers.iter().position(|&other| other == number) {
            numbers.swap_remove(at);
            self.count -= 1;
        }
        if numbers.is_empty() {
            self.networks.remove(&from);
        }
    }
}

/// Returns the part of the network that an address is in, as mostly belongs to one owner: 256 addresses of IPv4,
/// a site of IPv6 (RFC 6177).
fn network(of: IpAddr) -> IpAddr {
    match of.to_canonical() {
        IpAddr::V4(ip) => Ipv4Addr::from_bits(ip.to_bits() & (u32::MAX << 8)).into(),
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << 80)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn at(text: &str) -> Neighbourhood {
        Neighbourhood::of(ip(text))
    }

    /// Returns whether a stranger was told to go.
    fn is_shed(shed: &mut Shed) -> bool {
        shed.0.try_recv().is_ok()
    }

    /// Returns the number of strangers that were not told to go.
    fn staying(strangers: &mut [(Place, Shed)]) -> usize {
        strangers.iter_mut().filter_map(|(_, shed)| (!is_shed(shed)).then_some(())).count()
    }

    #[test]
    fn a_flood_from_one_network_pushes_out_itself() {
        let strangers = Arc::new(Strangers::new(16));
        let mut honest = strangers.enter(at("192.0.2.1"));
        let mut flood: Vec<_> = (0..10_000_u32)
            .map(|n| {
                strangers
                    .enter(Neighbourhood::of(Ipv4Addr::from_bits(0x0a00_0000 | n & 0xff).into()))
            })
            .collect();
        assert!(!is_shed(&mut honest.1));
        assert_eq!(staying(&mut flood), 15);
        assert_eq!(strangers.places().taken.len(), 16);
    }

    #[test]
    fn who_has_greeted_has_half_of_the_places_safe_from_the_silent_and_the_reverse() {
        let (strangers, from) = (Arc::new(Strangers::new(16)), at("192.0.2.1"));
        let mut greeted: Vec<_> = (0..8).map(|_| strangers.enter(from)).collect();
        greeted.iter().for_each(|(place, _)| place.greet());
        let mut silent: Vec<_> = (0..1000).map(|_| strangers.enter(from)).collect();
        assert_eq!(staying(&mut greeted), 8);
        assert_eq!(staying(&mut silent), 8);
        drop(silent);
        let mut silent: Vec<_> = (0..8).map(|_| strangers.enter(from)).collect();
        for _ in 0..1000 {
            let (place, _) = strangers.enter(from);
            place.greet();
        }
        // Each new peer is silent at first, so that the first of them took a silent one's place.
        assert!(staying(&mut silent) >= 7);
    }

    #[test]
    fn within_a_network_it_goes_by_lot_so_that_not_the_oldest_goes_first() {
        let (strangers, from) = (Arc::new(Strangers::new(64)), at("2001:db8::1"));
        let stays = |_| {
            let mut first = strangers.enter(from);
            let _others: Vec<_> = (0..64).map(|_| strangers.enter(from)).collect();
            !is_shed(&mut first.1)
        };
        let stayed = (0..200).map(stays).filter(|stays| *stays).count();
        // One of 64 went each time. The chance that the first went more than 20 times in 200 is 1e-11.
        assert!(stayed > 180, "{stayed}");
    }

    #[test]
    fn a_place_is_given_back_and_one_can_be_freed() {
        let strangers = Arc::new(Strangers::new(2));
        let (one, _) = strangers.enter(at("192.0.2.1"));
        let (two, mut told) = strangers.enter(at("192.0.2.2"));
        two.greet();
        drop(one);
        assert!(strangers.shed() && is_shed(&mut told));
        assert!(!strangers.shed());
        drop(two);
        let places = strangers.places();
        assert!(places.taken.is_empty() && places.silent.networks.is_empty());
        assert!(places.greeting.networks.is_empty() && places.greeting.count == 0);
    }

    #[test]
    fn a_flood_of_one_account_pushes_out_itself() {
        let strangers = Arc::new(Strangers::new(16));
        let mut others: Vec<_> = [at("192.0.2.1"), Neighbourhood::Account(0)]
            .into_iter()
            .map(|from| strangers.enter(from))
            .collect();
        let mut flood: Vec<_> =
            (0..1000).map(|_| strangers.enter(Neighbourhood::Account(1000))).collect();
        assert_eq!((staying(&mut others), staying(&mut flood)), (2, 14));
    }

    #[test]
    fn addresses_of_one_site_are_one_network() {
        assert_eq!(network(ip("192.0.2.1")), network(ip("::ffff:192.0.2.200")));
        assert_ne!(network(ip("192.0.2.1")), network(ip("192.0.3.1")));
        assert_eq!(network(ip("2001:db8:1:2::3")), network(ip("2001:db8:1:ffff::1")));
        assert_ne!(network(ip("2001:db8:1::")), network(ip("2001:db8:2::")));
    }
}
