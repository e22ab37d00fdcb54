//! Names of pinned links: `link_xdp_<interface>`, `link_tc_<interface>` and `link_tcin_<interface>`.

use std::fmt;

/// Where a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hook {
    /// XDP of an underlay interface.
    Xdp,
    /// Traffic control egress of a tunnel interface.
    TcEgress,
    /// Traffic control ingress of an underlay interface.
    TcIngress,
}

impl Hook {
    const fn prefix(self) -> &'static str {
        match self {
            Self::Xdp => "link_xdp_",
            Self::TcEgress => "link_tc_",
            Self::TcIngress => "link_tcin_",
        }
    }
}

/// One attachment: hook and interface.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkName {
    /// Where on the interface.
    pub hook: Hook,
    /// Name of the interface.
    pub interface: String,
}

impl LinkName {
    /// The link of `hook` on `interface`.
    pub(super) fn new(hook: Hook, interface: &str) -> Self {
        Self { hook, interface: interface.to_owned() }
    }

    /// File name on the BPF file system, where the kernel refuses dots (`eth0.100`): a dot becomes `%2e`, a percent
    /// sign `%25`.
    pub(super) fn file_name(&self) -> String {
        format!("{}{}", self.hook.prefix(), self.interface.replace('%', "%25").replace('.', "%2e"))
    }

    /// Reverses [`file_name`](Self::file_name); `None` for a file that is no link of ours.
    pub(super) fn from_file_name(name: &str) -> Option<Self> {
        [Hook::Xdp, Hook::TcEgress, Hook::TcIngress].into_iter().find_map(|hook| {
            let interface = name.strip_prefix(hook.prefix())?;
            Some(Self { hook, interface: interface.replace("%2e", ".").replace("%25", "%") })
        })
    }
}

impl fmt::Display for LinkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hook = match self.hook {
            Hook::Xdp => "XDP",
            Hook::TcEgress => "TC egress",
            Hook::TcIngress => "TC ingress",
        };
        write!(f, "{hook} of {}", self.interface)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_hook_and_interface() {
        assert_eq!(LinkName::new(Hook::Xdp, "eth0").file_name(), "link_xdp_eth0");
        assert_eq!(LinkName::new(Hook::TcEgress, "dmvpn0").file_name(), "link_tc_dmvpn0");
    }

    #[test]
    fn every_interface_name_survives_the_round_trip() {
        for interface in ["eth0", "eth0.100", "a%b", "%2e", "%25", "xdp_x", "a_b-c:1"] {
            for hook in [Hook::Xdp, Hook::TcEgress, Hook::TcIngress] {
                let name = LinkName::new(hook, interface);
                assert!(!name.file_name().contains('.'), "{name}");
                assert_eq!(LinkName::from_file_name(&name.file_name()), Some(name));
            }
        }
    }

    #[test]
    fn a_map_is_no_link() {
        assert_eq!(LinkName::from_file_name("PEERS"), None);
        assert_eq!(LinkName::from_file_name("link_sk_eth0"), None);
    }
}
