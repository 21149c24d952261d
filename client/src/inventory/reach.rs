//! The address and the user of a host by its name.

use std::sync::Arc;

use super::{HostEntry, Inventory};
use crate::target::{InvalidTarget, Target};

impl Inventory {
    /// Returns the entry of a host that is written as `NAME`, or as `NAME:PORT` if only NAME has an entry.
    #[must_use]
    pub fn entry(&self, written: &str) -> Option<&Arc<HostEntry>> {
        self.host(written).or_else(|| self.host(without_port(written)?.0))
    }

    /// Returns the address of the host of this name. A name without an entry is itself the address.
    ///
    /// # Errors
    /// The address is invalid.
    pub fn target(&self, written: &str) -> Result<Target, InvalidTarget> {
        let Some(entry) = self.entry(written) else { return written.parse() };
        // The name is the default for address and port.
        let own = written.parse::<Target>();
        let host = match (&entry.address, &own) {
            (Some(address), _) => address.clone(),
            (None, Ok(own)) => own.host.clone(),
            (None, Err(error)) => return Err(error.clone()),
        };
        let named = if *entry.name == *written { None } else { without_port(written) };
        let port = named.and_then(|(_, port)| port.parse().ok()).or(entry.port);
        let port = port.unwrap_or_else(|| own.as_ref().map_or(Target::PORT, |own| own.port));
        let certificate = entry.certificate.clone().or_else(|| {
            let name = entry.name.parse::<Target>().map(|own| own.host);
            Some(name.unwrap_or_else(|_| entry.name.to_string()))
        });
        Ok(Target { host, port, certificate, name: Some(written.to_owned()) })
    }
}

/// Returns a name without its port, and the port.
fn without_port(written: &str) -> Option<(&str, &str)> {
    let (name, port) = written.rsplit_once(':')?;
    let is_port = port.parse::<u16>().is_ok_and(|port| port > 0);
    // Without brackets, the end of an IPv6 address is not a port.
    let is_whole = !name.contains(':') || name.ends_with(']');
    (is_port && is_whole).then_some((name, port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::hosts_toml;

    fn reached(written: &str) -> (String, u16, Option<String>) {
        let text = "[hosts.a1]\naddress = '10.0.0.1'\nport = 1\ncertificate = 'c'\n\
            [hosts.a2]\naddress = 'fd00::2'\n[hosts.'a3:9']\n[hosts.'x/y']\naddress = 'z'\n[hosts.a4]\n\
            port = 4\n[hosts.'p/q']\n";
        let mut inventory = Inventory::default();
        inventory.add(hosts_toml::parse(text.as_bytes(), "F".as_ref()).unwrap());
        let target = inventory.target(written).unwrap();
        assert_eq!(target.to_string(), written);
        assert!(inventory.target("p/q").is_err());
        (target.host, target.port, target.certificate)
    }

    #[test]
    fn a_known_name_has_its_address_port_and_certificate() {
        let some = |name: &str| Some(name.to_owned());
        assert_eq!(reached("a1"), ("10.0.0.1".into(), 1, some("c")));
        assert_eq!(reached("a1:22"), ("10.0.0.1".into(), 22, some("c")));
        assert_eq!(reached("a2"), ("fd00::2".into(), 7263, some("a2")));
        assert_eq!(reached("a3:9"), ("a3".into(), 9, some("a3")));
        assert_eq!(reached("x/y"), ("z".into(), 7263, some("x/y")));
        assert_eq!(reached("a4"), ("a4".into(), 4, some("a4")));
    }

    #[test]
    fn a_name_that_is_not_known_is_itself_the_address() {
        assert_eq!(reached("b"), ("b".into(), 7263, None));
        assert_eq!(reached("b:22"), ("b".into(), 22, None));
        assert_eq!(reached("[::1]:9"), ("::1".into(), 9, None));
        assert_eq!(reached("::1"), ("::1".into(), 7263, None));
    }
}
