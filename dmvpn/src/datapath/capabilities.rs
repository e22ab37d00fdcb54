//! Which capabilities the data path needs, and whether this process has them.

use std::{fs, io};

use super::DataPathError;

/// Bit numbers of `linux/capability.h`.
const CAP_NET_ADMIN: u32 = 12;
const CAP_NET_RAW: u32 = 13;
const CAP_SYS_ADMIN: u32 = 21;
const CAP_PERFMON: u32 = 38;
const CAP_BPF: u32 = 39;

/// What is needed, and whether `CAP_SYS_ADMIN` stands in for it: the kernel accepts it for the two capabilities that
/// were once part of it, not for the network ones.
const NEEDED: [(&str, u32, bool); 4] = [
    ("CAP_BPF", CAP_BPF, true),
    ("CAP_PERFMON", CAP_PERFMON, true),
    ("CAP_NET_ADMIN", CAP_NET_ADMIN, false),
    ("CAP_NET_RAW", CAP_NET_RAW, false),
];

/// Fails with the names of the capabilities this thread lacks.
pub fn check() -> Result<(), DataPathError> {
    const STATUS: &str = "/proc/thread-self/status";
    let unreadable =
        |source| DataPathError::File { operation: "read capabilities from", path: STATUS.into(), source };
    let status = fs::read_to_string(STATUS).map_err(unreadable)?;
    let effective = effective(&status)
        .ok_or_else(|| unreadable(io::Error::new(io::ErrorKind::InvalidData, "no CapEff line")))?;
    let missing = missing(effective);
    if missing.is_empty() { Ok(()) } else { Err(DataPathError::MissingCapabilities { missing }) }
}

/// The effective set in the text of `/proc/<pid>/status`.
fn effective(status: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(value.trim(), 16).ok()
}

/// Names of what is not in the set.
fn missing(effective: u64) -> Vec<&'static str> {
    let has = |capability: u32| effective & (1 << capability) != 0;
    NEEDED
        .into_iter()
        .filter(|(_, capability, part_of_sys_admin)| {
            !(has(*capability) || (*part_of_sys_admin && has(CAP_SYS_ADMIN)))
        })
        .map(|(name, ..)| name)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_has_all() {
        let status = "Name:\tdmvpn\nCapPrm:\t0000000000000000\nCapEff:\t000001ffffffffff\nCapBnd:\t0\n";
        assert!(missing(effective(status).unwrap()).is_empty());
    }

    #[test]
    fn names_what_is_missing() {
        assert_eq!(missing(0), ["CAP_BPF", "CAP_PERFMON", "CAP_NET_ADMIN", "CAP_NET_RAW"]);
        assert_eq!(missing(1 << CAP_BPF | 1 << CAP_NET_ADMIN | 1 << CAP_NET_RAW), ["CAP_PERFMON"]);
    }

    #[test]
    fn sys_admin_stands_in_for_what_was_split_from_it() {
        assert_eq!(missing(1 << CAP_SYS_ADMIN), ["CAP_NET_ADMIN", "CAP_NET_RAW"]);
        assert!(missing(1 << CAP_SYS_ADMIN | 1 << CAP_NET_ADMIN | 1 << CAP_NET_RAW).is_empty());
    }

    #[test]
    fn a_status_without_the_line_is_no_capability_set() {
        assert_eq!(effective("Name:\tdmvpn\n"), None);
        assert_eq!(effective("CapEff:\tnonsense\n"), None);
    }
}
