//! The makes of routers that are known, each with how sure that is.

use dmvpn::nhrp::wire::ExtensionKind as Kind;

use super::profile::{
    AuthenticationFailure, Destination, Evidence, Indication, IndicationExtensions, Profile, Retry,
};

const CISCO_ORDER: &[Kind] = &[
    Kind::RESPONDER_ADDRESS,
    Kind::FORWARD_TRANSIT,
    Kind::REVERSE_TRANSIT,
    Kind::AUTHENTICATION,
    Kind::NAT_ADDRESS,
];
/// IOS of 2004 and before: no NAT.
const OLD_CISCO_ORDER: &[Kind] =
    &[Kind::RESPONDER_ADDRESS, Kind::FORWARD_TRANSIT, Kind::REVERSE_TRANSIT, Kind::AUTHENTICATION];
/// FRR has it from there; 10.3 was seen with it.
const OPENNHRP_ORDER: &[Kind] = &[
    Kind::FORWARD_TRANSIT,
    Kind::REVERSE_TRANSIT,
    Kind::RESPONDER_ADDRESS,
    Kind::NAT_ADDRESS,
    Kind::AUTHENTICATION,
];

const CISCO_RETRY: Retry = Retry::Doubling { first: 2.0, longest: 64.0, least: 0.75 };
const CISCO_INDICATION: Indication =
    Indication { head: 28, hops: 255, extensions: IndicationExtensions::AsInRequests };

const IOS: Profile = Profile {
    name: "ios",
    what: "Cisco IOS before NAT support",
    evidence: &[
        ("order of extensions, flags, prefix length 255, MTU 1514, repetition", Evidence::Seen),
        ("two authentication extensions are an error", Evidence::Documented),
        ("resolution and redirects as in later releases, without NAT", Evidence::Inferred),
    ],
    order: OLD_CISCO_ORDER,
    private_extensions: false,
    registration_flags: 0x8000,
    registration_prefix: 255,
    registration_mtu: 1514,
    destination: Destination::Server,
    registration_hops: 255,
    hops: 255,
    registers_twice: true,
    retry: CISCO_RETRY,
    resolution_flags: 0xC800,
    resolution_prefix: 0,
    resolution_mtu: 1514,
    reply_flags: (0xC800, 0x7000),
    ignores_mtu_zero: false,
    authentication_failure: AuthenticationFailure::Error,
    error: (255, usize::MAX),
    refuses_double_authentication: true,
    keeps_unique: true,
    obeys_purge: true,
    indication: CISCO_INDICATION,
};

const IOS_XE: Profile = Profile {
    name: "ios-xe",
    what: "Cisco IOS 15 and IOS-XE",
    evidence: &[
        (
            "order of extensions, flags, prefix length 32, second registration, repetition, redirects",
            Evidence::Seen,
        ),
        ("unique addresses, purge, two authentication extensions", Evidence::Documented),
        ("MTU 9216 in all entries", Evidence::Inferred),
    ],
    order: CISCO_ORDER,
    registration_flags: 0x8002,
    registration_prefix: 32,
    registration_mtu: 9216,
    resolution_flags: 0xC802,
    resolution_mtu: 9216,
    reply_flags: (0xC802, 0x7000),
    ..IOS
};

const HUAWEI_USG: Profile = Profile {
    name: "huawei-usg",
    what: "Huawei USG firewall (DSVPN)",
    evidence: &[
        ("silence when the MTU of an entry is 0; extensions 0x400 to 0x403", Evidence::Documented),
        ("silence when the password is wrong; unique addresses", Evidence::Documented),
        ("order, flags, MTU, repetition, redirects: as Cisco's, for they interoperate", Evidence::Inferred),
        ("0x400 to 0x403 come last and may be ignored by who does not know them", Evidence::Inferred),
    ],
    private_extensions: true,
    registration_mtu: 1500,
    resolution_mtu: 1500,
    registers_twice: false,
    ignores_mtu_zero: true,
    authentication_failure: AuthenticationFailure::Silence,
    refuses_double_authentication: false,
    ..IOS_XE
};

const HUAWEI_AR: Profile = Profile {
    name: "huawei-ar",
    what: "Huawei AR router (DSVPN)",
    evidence: &[
        ("interoperates with a USG hub, Cisco and VyOS spokes", Evidence::Documented),
        ("all of it as the USG, but without the extensions 0x400 to 0x403", Evidence::Inferred),
    ],
    private_extensions: false,
    ..HUAWEI_USG
};

const OPENNHRP: Profile = Profile {
    name: "opennhrp",
    what: "OpenNHRP, also in VyOS up to 1.4 and in Alpine",
    evidence: &[
        ("all of it, by its source", Evidence::Documented),
        ("the broadcast form of registration (dynamic-map) is used always", Evidence::Inferred),
    ],
    order: OPENNHRP_ORDER,
    private_extensions: false,
    registration_flags: 0x8002,
    registration_prefix: 255,
    registration_mtu: 1472,
    destination: Destination::Broadcast,
    registration_hops: 0,
    hops: 16,
    registers_twice: false,
    retry: Retry::Rounds { every: 5.0, times: 6, pause: 60.0 },
    resolution_flags: 0xC002,
    resolution_prefix: 0,
    resolution_mtu: 0,
    reply_flags: (0x9802, 0x6000),
    ignores_mtu_zero: false,
    authentication_failure: AuthenticationFailure::Error,
    error: (0, usize::MAX),
    refuses_double_authentication: false,
    keeps_unique: false,
    obeys_purge: true,
    indication: Indication { head: 68, hops: 0, extensions: IndicationExtensions::ForwardTransit },
};

/// What `vm-frr10-spokes` and `vm-frr10-hub` show of 10.3, with authentication.
const FRR: Profile = Profile {
    name: "frr",
    what: "FRR nhrpd from 10.2 on, also in VyOS from 1.5 on",
    evidence: &[
        (
            "order of extensions and authentication, flags, prefix lengths, MTU 0, hop counts, registration for its own \
             address, repetition, redirects, error 11 with 40 bytes: 10.3",
            Evidence::Seen,
        ),
        ("redirects hold as much as the firewall rule gives, 128 bytes by its manual", Evidence::Documented),
        ("unique addresses are not kept, purges are ignored, by its source", Evidence::Documented),
    ],
    registration_prefix: 32,
    registration_mtu: 0,
    destination: Destination::Own,
    registration_hops: 1,
    hops: 64,
    retry: Retry::Doubling { first: 1.0, longest: 64.0, least: 1.0 },
    resolution_flags: 0xC802,
    resolution_prefix: 32,
    resolution_mtu: 0,
    reply_flags: (0x8800, 0x6000),
    error: (0, 40),
    obeys_purge: false,
    indication: Indication { head: 128, hops: 1, extensions: IndicationExtensions::Nothing },
    ..OPENNHRP
};

/// Every profile.
pub const ALL: [&Profile; 6] = [&IOS, &IOS_XE, &HUAWEI_USG, &HUAWEI_AR, &OPENNHRP, &FRR];

/// The profile of this name.
pub fn find(name: &str) -> Option<&'static Profile> {
    ALL.into_iter().find(|profile| profile.name == name)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_unique_and_say_how_sure_they_are() {
        let names: HashSet<_> = ALL.iter().map(|profile| profile.name).collect();
        assert_eq!(names.len(), ALL.len());
        assert!(ALL.iter().all(|profile| !profile.evidence.is_empty()));
        assert_eq!(find("frr").map(|profile| profile.name), Some("frr"));
        assert!(find("FRR").is_none());
    }
}
